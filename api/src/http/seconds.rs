//! Times and sizes in requests: numbers as they always were, or the texts that the configuration takes.

use std::borrow::Cow;
use std::fmt;

use mgx_protocol::TimeSpan;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Whole seconds, as a number or as a text such as `"90s"` or `"5m"` (see [`TimeSpan`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seconds(u32);

impl Seconds {
    /// The number of seconds.
    pub(crate) fn get(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(SecondsVisitor)
    }
}

struct SecondsVisitor;

impl Visitor<'_> for SecondsVisitor {
    type Value = Seconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of seconds, or a time such as \"90s\" or \"5m\"")
    }
    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Seconds, E> {
        let seconds =
            u32::try_from(seconds).map_err(|_| E::invalid_value(Unexpected::Unsigned(seconds), &self));
        seconds.map(Seconds)
    }
    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Seconds, E> {
        match u64::try_from(seconds) {
            Ok(seconds) => self.visit_u64(seconds),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(seconds), &self)),
        }
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Seconds, E> {
        let seconds = text.parse::<TimeSpan>().ok().and_then(TimeSpan::whole_seconds);
        seconds.map(Seconds).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// How OpenAPI describes [`Seconds`].
pub(crate) struct SecondsSchema;

impl PartialSchema for SecondsSchema {
    fn schema() -> RefOr<Schema> {
        number_or_text("^[0-9]+ *(ms|s|m|min|h|d)$")
    }
}

impl ToSchema for SecondsSchema {
    fn name() -> Cow<'static, str> {
        "Seconds".into()
    }
}

/// How OpenAPI describes a [`mgx_protocol::ByteSize`].
pub(crate) struct SizeSchema;

impl PartialSchema for SizeSchema {
    fn schema() -> RefOr<Schema> {
        number_or_text("^[0-9]+ *([kKmMgGtT]?([iI]?[bB])?)$")
    }
}

impl ToSchema for SizeSchema {
    fn name() -> Cow<'static, str> {
        "ByteSize".into()
    }
}

fn number_or_text(pattern: &str) -> RefOr<Schema> {
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    OneOfBuilder::new().item(number).item(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_a_number_or_a_text_of_whole_seconds() {
        let read = |json: &str| serde_json::from_str::<Seconds>(json).ok().map(Seconds::get);
        for (json, seconds) in [("0", 0), ("90", 90), ("\"90s\"", 90), ("\"5m\"", 300), ("\"2000ms\"", 2)] {
            assert_eq!(read(json), Some(seconds), "{json}");
        }
        for bad in
            ["-1", "1.5", "1e99", "4294967296", "\"90\"", "\"250ms\"", "\"\"", "\"9999999d\"", "true", "null"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
        let error = serde_json::from_str::<Seconds>("\"soon\"").unwrap_err().to_string();
        assert!(
            error.contains("expected a whole number of seconds, or a time such as \"90s\" or \"5m\""),
            "{error}"
        );
    }
}
