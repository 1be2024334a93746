//! Values to documents and back, exactly: what BSON cannot hold is kept as JSON text.

use jiff::Timestamp;
use mongodb::bson::raw::CString;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, DateTime, RawArrayBuf, RawBson, RawBsonRef, RawDocument, RawDocumentBuf};
use serde_json::{Map, Number, Value};
use uuid::Uuid;

use super::error::Fault;

/// How deep a document may be: servers allow 100, with what lies around it.
const DEPTH: usize = 64;

const NANOS: i128 = 1_000_000;

/// A JSON object as a document, so that the server's own tools can look into it; or as JSON text, if BSON has no way
/// to say it: a number beyond 64 bits with a sign, a name that servers do not allow everywhere, too deep a value.
pub(super) fn object(map: &Map<String, Value>) -> Result<RawBson, Fault> {
    match document(map, DEPTH) {
        Some(document) => Ok(RawBson::Document(document)),
        None => Ok(RawBson::String(serde_json::to_string(map).map_err(Fault::unreadable)?)),
    }
}

/// The object that was written with [`object`].
pub(super) fn object_of(value: RawBsonRef<'_>) -> Result<Map<String, Value>, Fault> {
    match value {
        RawBsonRef::Document(document) => map(document),
        RawBsonRef::String(text) => serde_json::from_str(text).map_err(Fault::unreadable),
        other => Err(Fault::unreadable(format!("an object that is {:?}", other.element_type()))),
    }
}

/// A moment as a date, which has milliseconds, and the nanoseconds that it leaves out.
pub(super) fn date(at: Timestamp) -> (DateTime, i32) {
    let nanos = at.as_nanosecond();
    let millis = i64::try_from(nanos.div_euclid(NANOS)).unwrap_or(i64::MAX);
    (DateTime::from_millis(millis), i32::try_from(nanos.rem_euclid(NANOS)).unwrap_or(0))
}

/// The moment that was written with [`date`].
pub(super) fn moment(date: DateTime, nanos: i32) -> Result<Timestamp, Fault> {
    let nanos = i128::from(date.timestamp_millis()) * NANOS + i128::from(nanos);
    Timestamp::from_nanosecond(nanos).map_err(Fault::unreadable)
}

/// An id.
pub(super) fn uuid(id: Uuid) -> Binary {
    Binary { subtype: BinarySubtype::Uuid, bytes: id.as_bytes().to_vec() }
}

/// Bytes.
pub(super) fn bytes(bytes: &[u8]) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }
}

/// The bytes of a field, as many as there must be.
pub(super) fn array<const N: usize>(document: &RawDocument, field: &str) -> Result<[u8; N], Fault> {
    let found = document.get_binary(field).map_err(Fault::unreadable)?;
    found.bytes.try_into().map_err(|_| Fault::unreadable(format!("{field} has the wrong length")))
}

/// The id in a field.
pub(super) fn uuid_of(document: &RawDocument, field: &str) -> Result<Uuid, Fault> {
    array(document, field).map(Uuid::from_bytes)
}

/// A whole number in a field, in whichever size the server keeps it; 0 if there is none.
pub(super) fn number(document: &RawDocument, field: &str) -> Result<u64, Fault> {
    let found = match document.get(field).map_err(Fault::unreadable)? {
        None => return Ok(0),
        Some(RawBsonRef::Int32(number)) => u64::try_from(number),
        Some(RawBsonRef::Int64(number)) => u64::try_from(number),
        Some(other) => {
            return Err(Fault::unreadable(format!("{field} is {:?}, no number", other.element_type())));
        }
    };
    found.map_err(Fault::unreadable)
}

/// A text in a field, as what it says.
pub(super) fn parse<T>(document: &RawDocument, field: &str) -> Result<T, Fault>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    document.get_str(field).map_err(Fault::unreadable)?.parse().map_err(Fault::unreadable)
}

/// A counter, a limit: whatever is too large for the server is as good as the largest.
pub(super) fn at_most(value: impl TryInto<i64>) -> i64 {
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

fn map(document: &RawDocument) -> Result<Map<String, Value>, Fault> {
    let field = |element: Result<(&mongodb::bson::raw::CStr, RawBsonRef<'_>), _>| {
        let (name, value) = element.map_err(Fault::unreadable)?;
        Ok((name.as_str().to_owned(), json(value)?))
    };
    document.iter().map(field).collect()
}

fn json(value: RawBsonRef<'_>) -> Result<Value, Fault> {
    Ok(match value {
        RawBsonRef::Null => Value::Null,
        RawBsonRef::Boolean(yes) => Value::Bool(yes),
        RawBsonRef::Int32(number) => Value::from(number),
        RawBsonRef::Int64(number) => Value::from(number),
        RawBsonRef::Double(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        RawBsonRef::String(text) => Value::String(text.to_owned()),
        RawBsonRef::Document(document) => Value::Object(map(document)?),
        RawBsonRef::Array(values) => {
            let values = values.into_iter().map(|value| json(value.map_err(Fault::unreadable)?));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        // not ours: JSON has no such thing
        other => return Err(Fault::unreadable(format!("a value that is {:?}", other.element_type()))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kept_as(value: Value) -> &'static str {
        let Value::Object(map) = value else { panic!("an object") };
        let kept = object(&map).unwrap();
        assert_eq!(object_of(kept.as_raw_bson_ref()).unwrap(), map);
        if matches!(kept, RawBson::Document(_)) { "document" } else { "text" }
    }

    #[test]
    fn what_is_written_comes_back() {
        let nested = (0..100).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(
            kept_as(json!({"a": [1, -1, 1.5, 1.0, i64::MAX, null, true, {"b": "\u{0}é"}]})),
            "document"
        );
        assert_eq!(kept_as(json!({})), "document");
        assert_eq!(kept_as(json!({"$oid": "507f1f77bcf86cd799439011"})), "text");
        assert_eq!(kept_as(json!({"a": {"b.c": 1}})), "text");
        assert_eq!(kept_as(json!({"a\u{0}": 1})), "text");
        assert_eq!(kept_as(json!({"a": u64::MAX})), "text");
        assert_eq!(kept_as(json!({"a": nested})), "text");
    }

    #[test]
    fn a_moment_keeps_its_nanoseconds() {
        for text in
            ["2026-01-02T03:04:05.678901234Z", "1969-12-31T23:59:59.999999999Z", "2026-01-02T03:04:05Z"]
        {
            let at: Timestamp = text.parse().unwrap();
            let (date, nanos) = date(at);
            assert_eq!(moment(date, nanos).unwrap(), at);
        }
    }
}
