//! Byte sizes and durations as people write them in `mgx.toml`, in the environment and in requests.
//!
//! A size is digits and a unit: none or `b`, `k`, `m`, `g`, `t`, each also as `kb` or `KiB`, in any case. All units are
//! powers of 1024, as in Docker. A duration is digits and one of `ms`, `s`, `m` (or `min`), `h`, `d`; a duration without
//! a unit is refused. Spaces may stand before the unit, and nowhere else; signs and fractions are refused.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};

/// A size from `MIN` to `MAX` bytes, written `"512MiB"`, `"2g"` or as a plain number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize<const MIN: u64 = 0, const MAX: u64 = { u64::MAX }>(u64);

/// A duration from `MIN` to `MAX` milliseconds, written `"250ms"`, `"30s"`, `"5m"`, `"2h"`, `"7d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSpan<const MIN: u64 = 0, const MAX: u64 = { u64::MAX }>(u64);

/// A text that is no size or duration, or one out of its range. The message says what is expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is expected")]
pub struct InvalidQuantity(String);

impl<const MIN: u64, const MAX: u64> ByteSize<MIN, MAX> {
    /// Bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// Bytes, for what is held in memory.
    pub fn len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Whether it is 0 bytes.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl<const MIN: u64, const MAX: u64> TimeSpan<MIN, MAX> {
    /// The duration.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// The shortest that is allowed.
    pub fn shortest() -> Self {
        Self(MIN)
    }

    /// Whole seconds, rounded up.
    pub fn seconds(self) -> u32 {
        u32::try_from(self.0.div_ceil(1000)).unwrap_or(u32::MAX)
    }

    /// Seconds, if the duration is a whole number of them that fits in 32 bits.
    pub fn whole_seconds(self) -> Option<u32> {
        u32::try_from(self.0 / 1000).ok().filter(|_| self.0.is_multiple_of(1000))
    }
}

/// `bytes` with the largest unit that needs no fraction: `512MiB`, `1000`.
pub fn show_size(bytes: u64) -> String {
    match bytes.trailing_zeros() {
        _ if bytes == 0 => "0".to_owned(),
        40.. => format!("{}TiB", bytes >> 40),
        30..=39 => format!("{}GiB", bytes >> 30),
        20..=29 => format!("{}MiB", bytes >> 20),
        10..=19 => format!("{}KiB", bytes >> 10),
        0..=9 => bytes.to_string(),
    }
}

/// `ms` milliseconds with the largest unit that needs no fraction: `30s`, `250ms`.
pub fn show_duration(ms: u64) -> String {
    match ms {
        0 => "0s".to_owned(),
        _ if ms.is_multiple_of(86_400_000) => format!("{}d", ms / 86_400_000),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        _ => format!("{ms}ms"),
    }
}

/// What the two quantities have in common.
trait Quantity: Sized {
    /// Whether a number without a unit is one.
    const TAKES_NUMBER: bool;

    /// The value in its smallest unit, whatever its range.
    fn parse(text: &str) -> Option<u64>;

    /// The quantity, if `value` is in its range.
    fn in_range(value: u64) -> Option<Self>;

    /// What is expected, for messages.
    fn expected() -> String;
}

impl<const MIN: u64, const MAX: u64> Quantity for ByteSize<MIN, MAX> {
    const TAKES_NUMBER: bool = true;

    fn parse(text: &str) -> Option<u64> {
        let (number, unit) = split_unit(text)?;
        let unit = unit.to_ascii_lowercase();
        let shift = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit) {
            "" => 0,
            "k" => 10,
            "m" => 20,
            "g" => 30,
            "t" => 40,
            _ => return None,
        };
        number.checked_mul(1 << shift)
    }

    fn in_range(value: u64) -> Option<Self> {
        (MIN..=MAX).contains(&value).then_some(Self(value))
    }

    fn expected() -> String {
        if (MIN, MAX) == (0, u64::MAX) {
            return "a size such as \"512MiB\" or \"2g\", or a number of bytes".to_owned();
        }
        format!("a size from {} to {}, such as \"512MiB\" or \"2g\"", show_size(MIN), show_size(MAX))
    }
}

impl<const MIN: u64, const MAX: u64> Quantity for TimeSpan<MIN, MAX> {
    const TAKES_NUMBER: bool = false;

    fn parse(text: &str) -> Option<u64> {
        let (number, unit) = split_unit(text)?;
        let factor = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        number.checked_mul(factor)
    }

    fn in_range(value: u64) -> Option<Self> {
        (MIN..=MAX).contains(&value).then_some(Self(value))
    }

    fn expected() -> String {
        if (MIN, MAX) == (0, u64::MAX) {
            return "a time such as \"250ms\", \"30s\" or \"5m\"".to_owned();
        }
        let (min, max) = (show_duration(MIN), show_duration(MAX));
        format!("a time from {min} to {max}, such as \"250ms\", \"30s\" or \"5m\"")
    }
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start_matches(' ')))
}

fn read<Q: Quantity>(text: &str) -> Result<Q, InvalidQuantity> {
    Q::parse(text).and_then(Q::in_range).ok_or_else(|| InvalidQuantity(Q::expected()))
}

impl<const MIN: u64, const MAX: u64> FromStr for ByteSize<MIN, MAX> {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        read(text)
    }
}

impl<const MIN: u64, const MAX: u64> FromStr for TimeSpan<MIN, MAX> {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        read(text)
    }
}

impl<const MIN: u64, const MAX: u64> fmt::Display for ByteSize<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_size(self.0))
    }
}

impl<const MIN: u64, const MAX: u64> fmt::Display for TimeSpan<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_duration(self.0))
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for ByteSize<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(QuantityVisitor(PhantomData))
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for TimeSpan<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(QuantityVisitor(PhantomData))
    }
}

struct QuantityVisitor<Q>(PhantomData<Q>);

impl<Q: Quantity> Visitor<'_> for QuantityVisitor<Q> {
    type Value = Q;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Q::expected())
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Q, E> {
        read(text).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Q, E> {
        let number = Q::in_range(value).filter(|_| Q::TAKES_NUMBER);
        number.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(value), &self))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Q, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Size = ByteSize;
    type Time = TimeSpan;

    fn size(text: &str) -> Option<u64> {
        text.parse::<Size>().ok().map(Size::bytes)
    }

    fn millis(text: &str) -> Option<u128> {
        text.parse::<Time>().ok().map(|time| time.duration().as_millis())
    }

    #[test]
    fn sizes_are_written_as_in_docker() {
        for (text, bytes) in [
            ("0", 0),
            ("7", 7),
            ("7b", 7),
            ("1K", 1024),
            ("1kb", 1024),
            ("512m", 512 << 20),
            ("512MiB", 512 << 20),
            ("2g", 2 << 30),
            ("1 GiB", 1 << 30),
            ("3TiB", 3 << 40),
            ("17179869183g", u64::MAX - (1 << 30) + 1),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for bad in [
            "",
            "g",
            "2x",
            "-1",
            "+1",
            "-1g",
            "1.5g",
            "2gg",
            "é",
            " 2g",
            "2g ",
            "2\tg",
            "17179869184g",
            "1_000",
        ] {
            assert_eq!(size(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        for (text, ms) in [
            ("30s", 30_000),
            ("250ms", 250),
            ("5m", 300_000),
            ("5 min", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(millis(text), Some(ms), "{text}");
        }
        for bad in ["soon", "30", "", "-1s", "1e99s", "s", "1S", "1.5h", "99999999999999999999d"] {
            assert_eq!(millis(bad), None, "{bad}");
        }
        assert_eq!("90s".parse::<Time>().unwrap().whole_seconds(), Some(90));
        assert_eq!("1500ms".parse::<Time>().unwrap().whole_seconds(), None);
        assert_eq!("1500ms".parse::<Time>().unwrap().seconds(), 2);
    }

    #[test]
    fn errors_say_what_is_expected() {
        let size =
            |json: &str| serde_json::from_str::<ByteSize<1024, { 1 << 30 }>>(json).unwrap_err().to_string();
        assert_eq!(
            size("\"2x\""),
            "invalid value: string \"2x\", expected a size from 1KiB to 1GiB, such as \"512MiB\" or \"2g\" \
             at line 1 column 4"
        );
        assert!(size("1").starts_with("invalid value: integer `1`, expected a size from 1KiB to 1GiB"));
        assert!(size("-1").starts_with("invalid value: integer `-1`, expected a size from"));
        assert_eq!(
            "2x".parse::<Size>().unwrap_err().to_string(),
            "a size such as \"512MiB\" or \"2g\", or a number of bytes is expected"
        );
        let time = serde_json::from_str::<TimeSpan<0, 60_000>>("30").unwrap_err().to_string();
        assert!(
            time.starts_with("invalid value: integer `30`, expected a time from 0s to 1m, such as \"250ms\""),
            "{time}"
        );
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(value: u64) {
            prop_assert_eq!(size(&show_size(value)), Some(value));
            prop_assert_eq!(millis(&show_duration(value)), Some(value.into()));
        }

        #[test]
        fn a_number_in_json_is_bytes(bytes: u64) {
            prop_assert_eq!(serde_json::from_str::<Size>(&bytes.to_string()).unwrap().bytes(), bytes);
        }

        #[test]
        fn a_size_is_its_number_times_its_unit(number in 0..1u64 << 20, unit in 0..5usize, form in 0..3usize) {
            let name = ["", "k", "M", "g", "T"][unit];
            let text = format!("{number}{name}{}", ["", "b", "iB"][form]);
            prop_assert_eq!(size(&text), Some(number << (10 * unit)), "{}", text);
        }

        #[test]
        fn no_text_panics_and_ranges_hold(text in ".{0,12}") {
            if let Ok(small) = text.parse::<ByteSize<10, 20>>() {
                prop_assert!((10..=20).contains(&small.bytes()));
            }
            let _ = text.parse::<Time>();
        }
    }
}
