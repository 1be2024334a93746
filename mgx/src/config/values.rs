//! The types of settings' values. Each has a range, and names it in its error.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole<const MIN: u64, const MAX: u64>(u64);

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
#[derive(Clone, Debug, Default)]
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

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader<const MIN: u64, const MAX: u64>;
        impl<const MIN: u64, const MAX: u64> Visitor<'_> for Reader<MIN, MAX> {
            type Value = Whole<MIN, MAX>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from {MIN} to {MAX}")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Err(E::invalid_value(Unexpected::Str(text), &self))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
                let whole = (MIN..=MAX).contains(&value).then_some(Whole(value));
                whole.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(value), &self))
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
    fn a_secret_is_never_printed() {
        assert!(!format!("{:?}", Secret::new("canary")).contains("canary"));
    }
}
