//! Arguments in the types that a tool's schema asks for: models write numbers as strings, null for what is optional, and
//! objects for texts.

use serde_json::{Map, Number, Value};

/// Other names under which models give a parameter.
const ALIASES: [(&str, &[&str]); 5] = [
    ("path", &["file_path", "filepath", "filename", "file", "dir", "directory"]),
    ("content", &["contents", "text", "file_content", "code"]),
    ("old", &["old_string", "old_str", "old_text", "search"]),
    ("new", &["new_string", "new_str", "new_text", "replacement", "replace_with", "replace"]),
    ("pattern", &["query", "regex_pattern"]),
];

/// `arguments` with each value in the type that `schema` (a JSON Schema of an object) gives its property, if its meaning is
/// certain. Null for a property that is not required counts as absent; unknown properties are left out.
pub(crate) fn loosened(arguments: &Value, schema: &Value) -> Value {
    let (Value::Object(given), Some(properties)) = (arguments, schema["properties"].as_object()) else {
        return arguments.clone();
    };
    let mut given = given.clone();
    for (name, others) in ALIASES {
        if properties.contains_key(name) && !given.contains_key(name) {
            let other =
                others.iter().find(|other| !properties.contains_key(**other) && given.contains_key(**other));
            if let Some(value) = other.and_then(|other| given.remove(*other)) {
                given.insert(name.to_owned(), value);
            }
        }
    }
    let mut all = Map::new();
    for (name, property) in properties {
        match given.remove(name) {
            None | Some(Value::Null) => {}
            Some(value) => {
                all.insert(name.clone(), typed(value, property));
            }
        }
    }
    Value::Object(all)
}

fn typed(value: Value, property: &Value) -> Value {
    match (property["type"].as_str(), value) {
        (Some("integer"), Value::String(text)) => {
            text.trim().parse::<f64>().ok().and_then(integer).map_or(Value::String(text), Value::Number)
        }
        (Some("integer"), Value::Number(number)) => {
            let whole = if number.is_f64() { number.as_f64().and_then(integer) } else { None };
            let number = whole.unwrap_or(number);
            // models count from 0, or mean "from the beginning"
            if number.as_i64().is_some_and(|number| number < 1) && property["minimum"] == 1 {
                return Value::from(1);
            }
            Value::Number(number)
        }
        (Some("boolean"), Value::String(text)) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Value::Bool(true),
            "false" | "no" | "0" | "" => Value::Bool(false),
            _ => Value::String(text),
        },
        (Some("boolean"), Value::Number(number)) => match number.as_i64() {
            Some(0) => Value::Bool(false),
            Some(1) => Value::Bool(true),
            _ => Value::Number(number),
        },
        (Some("string"), value @ (Value::Object(_) | Value::Array(_))) => {
            // a file's content, such as that of package.json, given as the value itself
            Value::String(serde_json::to_string_pretty(&value).unwrap_or_default() + "\n")
        }
        (Some("string"), value @ (Value::Number(_) | Value::Bool(_))) => Value::String(value.to_string()),
        (Some("array"), Value::String(text)) => {
            serde_json::from_str(&text).ok().filter(Value::is_array).unwrap_or(Value::String(text))
        }
        (Some("array"), value @ Value::Object(_)) => Value::Array(vec![value]),
        (_, value) => value,
    }
}

fn integer(number: f64) -> Option<Number> {
    // integers up to 2^53 are exact in a double (IEEE 754)
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() < MAX_EXACT)
        .then(|| Number::from_i128(format!("{number:.0}").parse().ok()?))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn types_follow_the_schema() {
        let schema = json!({ "type": "object", "required": ["path"], "properties": {
            "path": { "type": "string" }, "first_line": { "type": "integer", "minimum": 1 },
            "regex": { "type": "boolean" }, "content": { "type": "string" }, "edits": { "type": "array" },
        }});
        for (given, read) in [
            (json!({ "path": null }), json!({})),
            (json!({ "path": "x", "first_line": "1" }), json!({ "path": "x", "first_line": 1 })),
            (json!({ "first_line": 1.0 }), json!({ "first_line": 1 })),
            (json!({ "first_line": 0 }), json!({ "first_line": 1 })),
            (json!({ "first_line": "one" }), json!({ "first_line": "one" })),
            (json!({ "regex": "false" }), json!({ "regex": false })),
            (json!({ "content": { "a": 1 } }), json!({ "content": "{\n  \"a\": 1\n}\n" })),
            (json!({ "content": 5 }), json!({ "content": "5" })),
            (json!({ "file_path": "x", "why": "because" }), json!({ "path": "x" })),
            (json!({ "edits": "[{\"old\":\"a\"}]" }), json!({ "edits": [{ "old": "a" }] })),
            (json!({ "edits": { "old": "a" } }), json!({ "edits": [{ "old": "a" }] })),
        ] {
            assert_eq!(loosened(&given, &schema), read, "{given}");
        }
    }
}
