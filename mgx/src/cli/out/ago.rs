//! Times and sizes as people say them: how long ago, how long until, and how much.

use jiff::Timestamp;

/// `3 h ago`, or `in 5 d`; a date if that is more than two months away.
pub(crate) fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs();
    let is_far = seconds.unsigned_abs() > 60 * 86_400;
    match (is_far, seconds) {
        (true, _) => at.to_string().chars().take(10).collect(),
        (false, 0..=4) => "now".to_owned(),
        (false, 5..) => format!("{} ago", span(seconds.unsigned_abs())),
        (false, ..0) => format!("in {}", span(seconds.unsigned_abs())),
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        172_800.. => format!("{} d", seconds / 86_400),
    }
}

/// An age in one unit and without a space: `45s`, `3h`.
pub(crate) fn age(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{}s", seconds.max(0)),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        86_400.. => format!("{}d", seconds / 86_400),
    }
}

/// A size in bytes with one decimal at most: `812 B`, `4.2 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut tenths, mut unit) = (bytes.saturating_mul(10) / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_one_unit() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let of = |seconds: i64| relative(Timestamp::from_second(1_700_000_000 - seconds).unwrap(), now);
        for (seconds, said) in [
            (0, "now"),
            (4, "now"),
            (-1, "in 1 s"),
            (59, "59 s ago"),
            (61, "1 min ago"),
            (7_199, "1 h ago"),
            (100_000, "27 h ago"),
            (200_000, "2 d ago"),
            (-90 * 3600, "in 3 d"),
            (100 * 86_400, "2023-08-06"),
            (-100 * 86_400, "2024-02-22"),
        ] {
            assert_eq!(of(seconds), said, "{seconds}");
        }
        assert_eq!([size(0), size(1023), size(4300), size(3 << 40)], ["0 B", "1023 B", "4.1 KiB", "3.0 TiB"]);
        assert_eq!([age(-5), age(59), age(60), age(90_000)], ["0s", "59s", "1m", "1d"]);
    }
}
