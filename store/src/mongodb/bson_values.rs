//! Values to BSON and back, exactly: what BSON cannot represent is stored as JSON text.

use jiff::Timestamp;
use mongodb::bson::raw::CString;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, DateTime, RawArrayBuf, RawBson, RawBsonRef, RawDocument, RawDocumentBuf};
use serde_json::{Map, Number, Value};
use uuid::Uuid;

use crate::error::Failure;
use crate::mongodb::error::unreadable;

/// How many levels a JSON object may have as a document: servers allow 100, including the levels around it.
const MAX_DEPTH: usize = 64;

const NANOS_PER_MILLI: i128 = 1_000_000;

/// A JSON object as a document, so that the server's own tools can read it; or as JSON text, if BSON cannot represent it:
/// a number beyond 64 bits with a sign, a name that servers do not allow everywhere, too many levels.
pub(crate) fn object(map: &Map<String, Value>) -> Result<RawBson, Failure> {
    match document(map, MAX_DEPTH) {
        Some(document) => Ok(RawBson::Document(document)),
        None => Ok(RawBson::String(serde_json::to_string(map).map_err(unreadable)?)),
    }
}

/// The object that was written with [`object`].
pub(crate) fn object_of(value: RawBsonRef<'_>) -> Result<Map<String, Value>, Failure> {
    match value {
        RawBsonRef::Document(document) => map(document),
        RawBsonRef::String(text) => serde_json::from_str(text).map_err(unreadable),
        other => Err(unreadable(format!("an object that is {:?}", other.element_type()))),
    }
}

/// A time as a date, which has milliseconds, and the remaining nanoseconds.
pub(crate) fn date(at: Timestamp) -> (DateTime, i32) {
    let nanos = at.as_nanosecond();
    let millis = i64::try_from(nanos.div_euclid(NANOS_PER_MILLI)).unwrap_or(i64::MAX);
    (DateTime::from_millis(millis), i32::try_from(nanos.rem_euclid(NANOS_PER_MILLI)).unwrap_or(0))
}

/// The time that was written with [`date`].
pub(crate) fn timestamp(date: DateTime, nanos: i32) -> Result<Timestamp, Failure> {
    let nanos = i128::from(date.timestamp_millis()) * NANOS_PER_MILLI + i128::from(nanos);
    Timestamp::from_nanosecond(nanos).map_err(unreadable)
}

/// An id.
pub(crate) fn uuid(id: Uuid) -> Binary {
    Binary { subtype: BinarySubtype::Uuid, bytes: id.as_bytes().to_vec() }
}

/// Bytes.
pub(crate) fn bytes(bytes: &[u8]) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }
}

/// The bytes of a field, of a fixed length.
pub(crate) fn array<const N: usize>(document: &RawDocument, field: &str) -> Result<[u8; N], Failure> {
    let found = document.get_binary(field).map_err(unreadable)?;
    found.bytes.try_into().map_err(|_| unreadable(format!("{field} has the wrong length")))
}

/// The id in a field.
pub(crate) fn uuid_of(document: &RawDocument, field: &str) -> Result<Uuid, Failure> {
    array(document, field).map(Uuid::from_bytes)
}

/// A whole number in a field, of either size; 0 if there is none.
pub(crate) fn number(document: &RawDocument, field: &str) -> Result<u64, Failure> {
    let found = match document.get(field).map_err(unreadable)? {
        None => return Ok(0),
        Some(RawBsonRef::Int32(number)) => u64::try_from(number),
        Some(RawBsonRef::Int64(number)) => u64::try_from(number),
        Some(other) => {
            return Err(unreadable(format!("{field} is {:?}, no number", other.element_type())));
        }
    };
    found.map_err(unreadable)
}

/// The value that the text of a field represents.
pub(crate) fn parse<T>(document: &RawDocument, field: &str) -> Result<T, Failure>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    document.get_str(field).map_err(unreadable)?.parse().map_err(unreadable)
}

/// A counter or a limit: a value that is too large for the server becomes the largest.
pub(crate) fn at_most(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

fn document(map: &Map<String, Value>, depth: usize) -> Option<RawDocumentBuf> {
    let depth = depth.checked_sub(1)?;
    let mut document = RawDocumentBuf::new();
    for (name, value) in map {
        if name.starts_with('$') || name.contains('.') {
            return None;
        }
        document.append(CString::try_from(name.as_str()).ok()?, bson(value, depth)?);
    }
    Some(document)
}

fn bson(value: &Value, depth: usize) -> Option<RawBson> {
    Some(match value {
        Value::Null => RawBson::Null,
        Value::Bool(yes) => RawBson::Boolean(*yes),
        Value::Number(number) => match (number.as_i64(), number.is_f64()) {
            (Some(whole), _) => RawBson::Int64(whole),
            (None, true) => RawBson::Double(number.as_f64()?),
            (None, false) => return None,
        },
        Value::String(text) => RawBson::String(text.clone()),
        Value::Array(values) => {
            let depth = depth.checked_sub(1)?;
            let mut array = RawArrayBuf::new();
            for value in values {
                array.push(bson(value, depth)?);
            }
            RawBson::Array(array)
        }
        Value::Object(map) => RawBson::Document(document(map, depth)?),
    })
}

fn map(document: &RawDocument) -> Result<Map<String, Value>, Failure> {
    let field = |element: Result<(&mongodb::bson::raw::CStr, RawBsonRef<'_>), _>| {
        let (name, value) = element.map_err(unreadable)?;
        Ok((name.as_str().to_owned(), json(value)?))
    };
    document.iter().map(field).collect()
}

fn json(value: RawBsonRef<'_>) -> Result<Value, Failure> {
    Ok(match value {
        RawBsonRef::Null => Value::Null,
        RawBsonRef::Boolean(yes) => Value::Bool(yes),
        RawBsonRef::Int32(number) => Value::from(number),
        RawBsonRef::Int64(number) => Value::from(number),
        RawBsonRef::Double(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        RawBsonRef::String(text) => Value::String(text.to_owned()),
        RawBsonRef::Document(document) => Value::Object(map(document)?),
        RawBsonRef::Array(values) => {
            let values = values.into_iter().map(|value| json(value.map_err(unreadable)?));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        // JSON has no such type, so this program did not write it
        other => return Err(unreadable(format!("a value that is {:?}", other.element_type()))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stored_as(value: Value) -> &'static str {
        let Value::Object(map) = value else { panic!("an object") };
        let stored = object(&map).unwrap();
        assert_eq!(object_of(stored.as_raw_bson_ref()).unwrap(), map);
        if matches!(stored, RawBson::Document(_)) { "document" } else { "text" }
    }

    #[test]
    fn an_object_is_read_as_it_was_written() {
        let nested = (0..100).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(
            stored_as(json!({"a": [1, -1, 1.5, 1.0, i64::MAX, null, true, {"b": "\u{0}é"}]})),
            "document"
        );
        assert_eq!(stored_as(json!({})), "document");
        assert_eq!(stored_as(json!({"$oid": "507f1f77bcf86cd799439011"})), "text");
        assert_eq!(stored_as(json!({"a": {"b.c": 1}})), "text");
        assert_eq!(stored_as(json!({"a\u{0}": 1})), "text");
        assert_eq!(stored_as(json!({"a": u64::MAX})), "text");
        assert_eq!(stored_as(json!({"a": nested})), "text");
    }

    #[test]
    fn a_time_keeps_its_nanoseconds() {
        for text in
            ["2026-01-02T03:04:05.678901234Z", "1969-12-31T23:59:59.999999999Z", "2026-01-02T03:04:05Z"]
        {
            let at: Timestamp = text.parse().unwrap();
            let (date, nanos) = date(at);
            assert_eq!(timestamp(date, nanos).unwrap(), at);
        }
    }
}
