//! What counts as an error in a chunk of a model's reply: the proxy and the runner have to agree.

use serde_json::Value;

/// Whether `error`, the field of that name, reports an error. Some services send one that says nothing beside every choice
/// (`null`, `""`, `{"code": 0}`): that is none.
pub fn is_reported(error: &Value, has_choice: bool) -> bool {
    let has_words = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let is_told = has_words(error) || has_words(&error["message"]) || has_words(&error["type"]);
    is_told || !(has_choice || error.is_null() || error == false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_error_without_words_beside_a_choice_is_none() {
        for said in [json!("no"), json!({ "message": "m" }), json!({ "type": "overloaded" })] {
            assert!(is_reported(&said, true) && is_reported(&said, false), "{said}");
        }
        for silent in [json!(""), json!({}), json!([]), json!({ "code": 0 })] {
            assert!(!is_reported(&silent, true) && is_reported(&silent, false), "{silent}");
        }
        for none in [Value::Null, json!(false)] {
            assert!(!is_reported(&none, true) && !is_reported(&none, false), "{none}");
        }
    }
}
