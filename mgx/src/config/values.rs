//! The types of settings' values. Each has a range, and names it in its error.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole<const MIN: u64, const MAX: u64>(u64);

/// A size from `MIN` to `MAX` bytes, written `"512MiB"`, `"2g"` or as a plain number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size<const MIN: u64, const MAX: u64>(u64);

/// A time from `MIN` to `MAX` milliseconds, written `"250ms"`, `"30s"`, `"5m"`, `"2h"`, `"7d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time<const MIN: u64, const MAX: u64>(u64);

/// An amount of money in the operator's unit, from 0 to 1000000000, written `2`, `0.15` or `"2.5"`; kept in whole
/// millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount(u64);

/// What a process does, written `"api"`, `"scheduler"`, `"oauth2"`, or several of them with commas between; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// It answers requests.
    pub api: bool,
    /// It schedules jobs, unless another process does.
    pub scheduler: bool,
    /// It is the OAuth 2 provider.
    pub oauth2: bool,
}

impl Roles {
    /// Whether the process is the OAuth 2 provider and nothing else.
    pub fn are_the_providers_alone(self) -> bool {
        self.oauth2 && !self.api && !self.scheduler
    }
}

/// A text that is never printed; empty if there is no secret.
#[derive(Clone, Debug)]
pub struct Secret(SecretString);

impl<const MIN: u64, const MAX: u64> Whole<MIN, MAX> {
    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The number as `usize`.
    pub fn count(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// The allowed number that is nearest to `value`.
    pub(crate) fn nearest(value: u64) -> Self {
        Self(value.clamp(MIN, MAX))
    }

    /// The number in 32 bits, for ranges that fit.
    pub fn small(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl<const MIN: u64, const MAX: u64> Size<MIN, MAX> {
    /// Bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// Bytes, as `usize`.
    pub fn len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Whether it is 0 bytes.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl<const MIN: u64, const MAX: u64> Time<MIN, MAX> {
    /// The time.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// The shortest allowed time.
    pub fn shortest() -> Self {
        Self(MIN)
    }

    /// Whole seconds, rounded up.
    pub fn seconds(self) -> u32 {
        u32::try_from(self.0.div_ceil(1000)).unwrap_or(u32::MAX)
    }
}

impl Amount {
    /// Millionths of the unit.
    pub fn micros(self) -> u64 {
        self.0
    }
}

impl Secret {
    /// The secret in this text, without the white space around it.
    pub fn new(text: &str) -> Self {
        Self(text.trim().into())
    }

    /// The secret, if there is one.
    pub fn get(&self) -> Option<&SecretString> {
        (!self.0.expose_secret().is_empty()).then_some(&self.0)
    }

    /// Whether it can be sent in an HTTP header: printable ASCII without spaces.
    pub fn is_plain(&self) -> bool {
        self.0.expose_secret().bytes().all(|byte| byte.is_ascii_graphic())
    }
}

/// The size written as `text`, in bytes: digits and one of b, k, m, g, t (KiB and kb are 1024 too, as in Docker).
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit) = split_unit(text)?;
    let unit = unit.to_ascii_lowercase();
    let shift = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit) {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    digits.checked_mul(1 << shift)
}

/// The amount written as `text`, in millionths: digits, perhaps with a point and up to six more.
fn parse_amount(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 6 {
        return None;
    }
    let micros = whole.parse::<u64>().ok()?.checked_mul(1_000_000)?;
    let amount = micros.checked_add(format!("{part:0<6}").parse().ok()?)?;
    (amount <= MAX_AMOUNT).then_some(amount)
}

/// The largest amount, in millionths.
const MAX_AMOUNT: u64 = 1_000_000_000_000_000;

/// The time written as `text`, in milliseconds.
pub(crate) fn parse_time(text: &str) -> Option<u64> {
    let (digits, unit) = split_unit(text)?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    digits.checked_mul(factor)
}

/// Bytes in the largest unit that keeps them whole.
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

/// Milliseconds in the largest unit that keeps them whole.
pub(crate) fn show_time(ms: u64) -> String {
    match ms {
        0 => "0s".to_owned(),
        _ if ms.is_multiple_of(86_400_000) => format!("{}d", ms / 86_400_000),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        _ => format!("{ms}ms"),
    }
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

/// Implements `Deserialize` for a number with a range and a unit.
macro_rules! deserialize_range {
    ($name:ident, $parse:expr, $plain:expr, |$f:ident| $expecting:expr) => {
        impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for $name<MIN, MAX> {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Reader<const MIN: u64, const MAX: u64>;
                impl<const MIN: u64, const MAX: u64> Visitor<'_> for Reader<MIN, MAX> {
                    type Value = $name<MIN, MAX>;
                    fn expecting(&self, $f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        $expecting
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                        let parse: fn(&str) -> Option<u64> = $parse;
                        parse(text)
                            .filter(|value| (MIN..=MAX).contains(value))
                            .map($name)
                            .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
                    }
                    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
                        let allowed = $plain && (MIN..=MAX).contains(&value);
                        allowed
                            .then_some($name(value))
                            .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(value), &self))
                    }
                    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
                        match u64::try_from(value) {
                            Ok(value) => self.visit_u64(value),
                            Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
                        }
                    }
                }
                from.deserialize_any(Reader::<MIN, MAX>)
            }
        }
    };
}

deserialize_range!(Whole, |_| None, true, |f| write!(f, "a whole number from {MIN} to {MAX}"));
deserialize_range!(Size, parse_size, true, |f| write!(
    f,
    "a size from {} to {}, such as \"512MiB\" or \"2g\"",
    show_size(MIN),
    show_size(MAX)
));
deserialize_range!(Time, parse_time, false, |f| write!(
    f,
    "a time from {} to {}, such as \"250ms\", \"30s\" or \"5m\"",
    show_time(MIN),
    show_time(MAX)
));

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Amount;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount from 0 to 1000000000 with up to 6 decimals, such as 2.5")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                parse_amount(text).map(Amount).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Amount, E> {
                parse_amount(&value.to_string())
                    .map(Amount)
                    .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(value), &self))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Amount, E> {
                parse_amount(&value.to_string())
                    .map(Amount)
                    .ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Amount, E> {
                // the shortest decimal form is the text that was written
                parse_amount(&value.to_string())
                    .map(Amount)
                    .ok_or_else(|| E::invalid_value(Unexpected::Float(value), &self))
            }
        }
        from.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for Roles {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let mut roles = Self { api: false, scheduler: false, oauth2: false };
        for name in text.split(',') {
            let role = match name.trim() {
                "api" => &mut roles.api,
                "scheduler" => &mut roles.scheduler,
                "oauth2" => &mut roles.oauth2,
                _ => {
                    let allowed = "one or more of \"api\", \"scheduler\" and \"oauth2\", with commas between";
                    return Err(de::Error::invalid_value(Unexpected::Str(&text), &allowed));
                }
            };
            *role = true;
        }
        Ok(roles)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self::new(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_in_docker() {
        for (text, bytes) in
            [("2g", 2 << 30), ("512MiB", 512 << 20), ("1kb", 1024), ("7", 7), ("1 GiB", 1 << 30)]
        {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for bad in ["2x", "", "g", "-1g", "1.5g", "99999999999g", "2gg"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn amounts_are_exact() {
        for (text, micros) in [
            ("0", 0),
            ("2", 2_000_000),
            ("0.15", 150_000),
            ("2.000001", 2_000_001),
            ("1000000000", MAX_AMOUNT),
        ] {
            assert_eq!(parse_amount(text), Some(micros), "{text}");
        }
        for bad in ["", ".", ".5", "5.", "-1", "+1", "1e3", "0.0000001", "1000000000.1", "NaN", "inf", "1,5"]
        {
            assert_eq!(parse_amount(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_need_a_unit() {
        for (text, ms) in
            [("30s", 30_000), ("250ms", 250), ("5m", 300_000), ("2h", 7_200_000), ("1d", 86_400_000)]
        {
            assert_eq!(parse_time(text), Some(ms), "{text}");
        }
        for bad in ["soon", "30", "", "-1s", "1e99s", "s"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for value in [0, 1, 1000, 1024, 60_000, 90_000, 1 << 20, 3 << 30, 86_400_000] {
            assert_eq!(parse_size(&show_size(value)), Some(value));
            assert_eq!(parse_time(&show_time(value)), Some(value));
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        assert!(!format!("{:?}", Secret::new("canary")).contains("canary"));
    }
}
