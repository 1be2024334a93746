//! JSON that has one reading only: no duplicate keys, no trailing bytes, no bottomless nesting.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_path_to_error::Segment;

use super::{Problem, Slug};

/// How deep arrays and objects may be nested.
pub(crate) const MAX_DEPTH: u8 = 64;

/// Reads `bytes` as one JSON object of type `T`.
///
/// # Errors
/// `malformed-json` if it is not JSON; `validation`, with a pointer to the place, if it is other JSON than `T`.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    check(bytes).map_err(|error| Problem::new(Slug::MalformedJson, error.to_string()))?;
    shape(bytes)
}

/// Reads a part of what [`parse`] has checked as one JSON object of type `T`.
///
/// # Errors
/// `validation`, with a pointer to the place in this part.
pub(crate) fn shape<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        // without this, an array of the right length would pass for an object
        return Err(Problem::invalid("", "an object is expected"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = pointer(error.path());
        Problem::invalid(pointer, message(error.inner()))
    })
}

/// The syntax alone.
fn check(bytes: &[u8]) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    Checked { depth: 0 }.deserialize(&mut json)?;
    json.end()
}

/// A JSON pointer (RFC 6901) to where something is wrong.
fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        let key = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            Segment::Enum { .. } | Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&key);
    }
    pointer
}

/// What is wrong, without the position: the pointer says it better.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Walks through one value and keeps nothing of it.
#[derive(Clone, Copy)]
struct Checked {
    depth: u8,
}

impl Checked {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Checked {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut seen = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            entries.next_value_seed(inner)?;
            if !seen.insert(key) {
                return Err(A::Error::custom("a key occurs twice"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        name: String,
        #[serde(default)]
        env: BTreeMap<String, String>,
        #[serde(default)]
        parts: Vec<u8>,
    }

    fn refusal(text: impl AsRef<[u8]>) -> String {
        let problem = parse::<Order>(text.as_ref()).unwrap_err();
        format!("{} {:?}", problem.slug().as_str(), problem.errors())
    }

    #[test]
    fn what_is_not_one_json_value_is_malformed() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let cases: [&[u8]; 12] = [
            b"",
            b"  ",
            b"{",
            br#"{"name":"a"} x"#,
            br#"{"name":"a"}{}"#,
            b"\xef\xbb\xbf{\"name\":\"a\"}",
            br#"{"name":"a","name":"b"}"#,
            br#"{"name":"a","env":{"K":"1","K":"2"}}"#,
            br#"{"name":"\ud800"}"#,
            b"{\"name\":\"\xff\"}",
            br"{'name':1}",
            deep.as_bytes(),
        ];
        for case in cases {
            let text = refusal(case);
            assert!(text.starts_with("malformed-json"), "{text} for {:?}", String::from_utf8_lossy(case));
        }
    }

    #[test]
    fn nesting_ends_at_its_limit_exactly() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(check(nested(MAX_DEPTH.into()).as_bytes()).is_ok());
        assert!(check(nested(usize::from(MAX_DEPTH) + 1).as_bytes()).is_err());
    }

    #[test]
    fn other_json_is_pointed_at() {
        let cases = [
            r#"{"name":{"$gt":""}}"#,
            r#"{"name":"a","parts":[1,2,300]}"#,
            r#"{"name":"a","env":{"A/B~C":1}}"#,
            r#"{"name":"a","nmae":"b"}"#,
            "{}",
            r#"["a",{},[]]"#,
            "null",
        ];
        let lines: Vec<String> = cases.iter().map(|case| format!("{case}\n  {}", refusal(case))).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn the_right_json_is_read() {
        let order: Order = parse(br#" {"name":"a","parts":[1]} "#).unwrap();
        assert_eq!(order, Order { name: "a".into(), env: BTreeMap::new(), parts: vec![1] });
    }
}
