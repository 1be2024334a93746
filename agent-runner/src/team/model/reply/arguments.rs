//! The arguments of a tool call: read as JSON, and mended where their meaning is certain.
//!
//! Valid JSON objects are never changed. What is mended otherwise, in this order: an empty text means no arguments; a code
//! fence around the object is taken off; a JSON string that holds the object is unwrapped; empty objects before the object
//! are left out, and so is what follows it if that is only closing brackets or markup of a chat format (`<|…|>`); then, in
//! one pass: raw control characters in strings are escaped, a backslash that escapes nothing is kept as a character, commas
//! before a closing bracket are left out, Python's `True`, `False` and `None` are understood, and brackets that are open at
//! the end are closed, unless the reply was cut off.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

/// How often a string that holds JSON is unwrapped.
const MAX_WRAPS: usize = 3;

/// The arguments of a tool call.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Arguments {
    /// A JSON object.
    Object {
        /// The object.
        value: Value,
        /// The text of the model.
        as_written: String,
        /// What was mended in it.
        repairs: Vec<&'static str>,
    },
    /// No JSON object, and the meaning is not certain.
    Invalid {
        /// The text of the model.
        as_written: String,
        /// What is wrong with it.
        why: String,
    },
    /// The reply ended in the middle of them.
    Cut {
        /// The text of the model.
        as_written: String,
    },
}

impl Arguments {
    /// Reads the arguments; `is_cut`: the reply ended before the model had finished.
    pub(crate) fn read(as_written: &str, is_cut: bool) -> Self {
        let mut repairs = Vec::new();
        match object(as_written, is_cut, &mut repairs) {
            Ok(value) => Self::Object { value, as_written: as_written.to_owned(), repairs },
            Err(_) if is_cut => Self::Cut { as_written: as_written.to_owned() },
            Err(why) => Self::Invalid { as_written: as_written.to_owned(), why },
        }
    }

    /// The arguments, for events; an empty object if they could not be read.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Object { value, .. } => value.clone(),
            Self::Invalid { .. } | Self::Cut { .. } => Value::Object(serde_json::Map::new()),
        }
    }
}

fn object(text: &str, is_cut: bool, repairs: &mut Vec<&'static str>) -> Result<Value, String> {
    let why = match serde_json::from_str::<Value>(text) {
        Ok(value) if value.is_object() => return Ok(value),
        Ok(other) => format!("they are no JSON object: {}", kind(&other)),
        Err(error) => error.to_string(),
    };
    if text.trim().is_empty() {
        repairs.push("no arguments");
        return Ok(Value::Object(serde_json::Map::new()));
    }
    let mut text = text.trim().to_owned();
    if let Some(inner) = unfenced(&text) {
        repairs.push("code fence");
        text = inner.to_owned();
    }
    for _ in 0..MAX_WRAPS {
        match serde_json::from_str::<Value>(&text) {
            Ok(Value::String(inner)) => {
                repairs.push("encoded twice");
                inner.trim().clone_into(&mut text);
            }
            Ok(value) if value.is_object() => return Ok(value),
            Ok(_) => return Err(why),
            Err(_) => break,
        }
    }
    let (first, rest) = split(&text);
    if let Some(first) = first
        && first.is_object()
    {
        let rest = rest.trim();
        if first.as_object().is_some_and(serde_json::Map::is_empty) && rest.starts_with(['{', '"']) {
            repairs.push("empty object before");
            return object(rest, is_cut, repairs).map_err(|_| why);
        }
        if is_harmless_end(rest) {
            repairs.push("text after the object");
            return Ok(first);
        }
        return Err(why);
    }
    let mended = mended(&text, is_cut, repairs);
    match serde_json::from_str::<Value>(&mended) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) | Err(_) => Err(why),
    }
}

/// The first JSON value of `text`, and what follows it.
fn split(text: &str) -> (Option<Value>, &str) {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    match values.next() {
        Some(Ok(first)) => {
            let end = values.byte_offset();
            (Some(first), &text[end..])
        }
        Some(Err(_)) | None => (None, text),
    }
}

/// Whether what follows an object can only be a slip: closing brackets, or markup of a chat format.
fn is_harmless_end(rest: &str) -> bool {
    let markup = rest.trim_start_matches(['}', ']', ')', ';', '`', ' ', '\n']);
    markup.is_empty() || markup.starts_with("<|") || markup.starts_with("</")
}

/// The text inside a code fence that surrounds all of `text`.
fn unfenced(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("```")?.strip_suffix("```")?;
    let (language, inner) = inner.split_once('\n')?;
    language.trim().chars().all(char::is_alphanumeric).then(|| inner.trim())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// One pass over text that is not valid JSON; see the head of this file.
fn mended(text: &str, is_cut: bool, repairs: &mut Vec<&'static str>) -> String {
    let mut note = |what: &'static str| {
        if !repairs.contains(&what) {
            repairs.push(what);
        }
    };
    let mut out = String::with_capacity(text.len() + 16);
    let mut open = Vec::new();
    let mut is_in_string = false;
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        if is_in_string {
            match c {
                '"' => {
                    is_in_string = false;
                    out.push(c);
                }
                '\\' => match rest.peek().map(|(_, next)| *next) {
                    Some(next @ ('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't')) => {
                        out.extend([c, next]);
                        rest.next();
                    }
                    Some('u') if text[at..].len() >= 6 && is_hex(&text.as_bytes()[at + 2..at + 6]) => {
                        out.push(c);
                    }
                    Some('\'') => note("escaped quote"),
                    _ => {
                        note("backslash");
                        out.push_str("\\\\");
                    }
                },
                c if u32::from(c) < 0x20 => {
                    note("raw control character");
                    // writing into a String cannot fail
                    write!(out, "\\u{:04x}", u32::from(c)).ok();
                }
                c => out.push(c),
            }
            continue;
        }
        match c {
            '"' => {
                is_in_string = true;
                out.push(c);
            }
            '{' | '[' => {
                open.push(if c == '{' { '}' } else { ']' });
                out.push(c);
            }
            '}' | ']' => {
                without_comma(&mut out, &mut note);
                if open.last() == Some(&c) {
                    open.pop();
                }
                out.push(c);
            }
            'T' | 'F' | 'N' => {
                let words = [("True", "true"), ("False", "false"), ("None", "null")];
                match words.into_iter().find(|(python, _)| text[at..].starts_with(python)) {
                    Some((python, json)) => {
                        note("Python literal");
                        out.push_str(json);
                        for _ in 1..python.len() {
                            rest.next();
                        }
                    }
                    None => out.push(c),
                }
            }
            c => out.push(c),
        }
    }
    if !is_cut && !is_in_string && !open.is_empty() {
        without_comma(&mut out, &mut note);
        note("open bracket");
        out.extend(open.into_iter().rev());
    }
    out
}

/// Takes off a comma that stands before a closing bracket.
fn without_comma(out: &mut String, note: &mut impl FnMut(&'static str)) {
    let kept = out.trim_end();
    if kept.ends_with(',') {
        let length = kept.len() - 1;
        note("comma before a bracket");
        out.truncate(length);
    }
}

fn is_hex(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(text: &str) -> Option<(Value, Vec<&'static str>)> {
        match Arguments::read(text, false) {
            Arguments::Object { value, repairs, .. } => Some((value, repairs)),
            Arguments::Invalid { .. } | Arguments::Cut { .. } => None,
        }
    }

    #[test]
    fn what_is_certain_is_mended() {
        for (text, value, repair) in [
            ("", json!({}), "no arguments"),
            ("```json\n{\"a\":1}\n```", json!({ "a": 1 }), "code fence"),
            (r#""{\"a\":1}""#, json!({ "a": 1 }), "encoded twice"),
            (r#"{}{"a":1}"#, json!({ "a": 1 }), "empty object before"),
            (r#"{"a":1}<|im_end|>"#, json!({ "a": 1 }), "text after the object"),
            (r#"{"a":1}}"#, json!({ "a": 1 }), "text after the object"),
            ("{\"a\":\"x\ny\tz\"}", json!({ "a": "x\ny\tz" }), "raw control character"),
            (r#"{"a":"\d and \'"}"#, json!({ "a": r"\d and '" }), "backslash"),
            (r#"{"a":[1,2,],}"#, json!({ "a": [1, 2] }), "comma before a bracket"),
            (r#"{"a":True,"b":None}"#, json!({ "a": true, "b": null }), "Python literal"),
            (r#"{"a":{"b":[1]"#, json!({ "a": { "b": [1] } }), "open bracket"),
            ("\"{\\\"a\\\": \\\"x\\ny\\\"}\"", json!({ "a": "x\ny" }), "raw control character"),
        ] {
            let (read, repairs) = read(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(read, value, "{text}");
            assert!(repairs.contains(&repair), "{text}: {repairs:?}");
        }
    }

    #[test]
    fn what_is_not_certain_is_not() {
        for text in ["[1]", "null", "path: x", r#"{"a":"#, r#"{"a":1}{"a":2}"#, r#"{"a":"x"#, r#"{"a" 1}"#] {
            assert_eq!(read(text), None, "{text}");
        }
        let cut = Arguments::read(r#"{"a":{"b":1}"#, true);
        assert!(matches!(cut, Arguments::Cut { .. }), "{cut:?}");
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,12}|[\\\\\"{}\\[\\],\n\t]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("\\PC{0,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn object_json() -> impl Strategy<Value = Value> {
        prop::collection::btree_map("\\PC{0,6}", json(), 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_valid_object_is_never_changed(value in object_json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            prop_assert_eq!(read(&text.unwrap()), Some((value, Vec::new())));
        }

        #[test]
        fn an_object_survives_every_wrapping(value in object_json(), wraps in 1..=3_usize) {
            let mut text = value.to_string();
            for _ in 0..wraps {
                text = serde_json::to_string(&text).unwrap();
            }
            let (read, repairs) = read(&text).unwrap();
            prop_assert_eq!(read, value);
            prop_assert!(!repairs.is_empty());
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,40}|[\\\\\"{}\\[\\],:TFNu0-9\n]{0,40}", cut in any::<bool>()) {
            let _ = Arguments::read(&text, cut);
        }
    }
}
