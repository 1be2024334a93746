//! Calls that a model writes into its text, because the server before it has no parser for the model's chat format.
//!
//! Read only if the reply has no other call, and only calls of tools that were offered. The formats: Hermes and Qwen
//! (`<tool_call>{"name": …, "arguments": …}</tool_call>`), Qwen3-Coder (`<function=NAME><parameter=KEY>…`), GLM
//! (`<arg_key>`/`<arg_value>`), Anthropic (`<invoke name="…"><parameter name="…">`), `DeepSeek` (`<｜tool▁call▁begin｜>`), Mistral
//! (`[TOOL_CALLS]`), Llama (`<|python_tag|>`), and JSON with `name` and `arguments` alone or in a code fence.

use serde_json::{Map, Value};

/// The beginnings of calls in chat formats.
const MARKS: [&str; 10] = [
    "<tool_call>",
    "<function=",
    "<function_call",
    "<invoke name=",
    "<|python_tag|>",
    "<|tool_call",
    "[TOOL_CALLS]",
    "<｜tool▁call",
    "<tools>",
    "<|tool▁call",
];

/// The most calls that are read.
const MAX_CALLS: usize = 64;

/// A call that stood in the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TextCall {
    pub(super) name: String,
    /// Its arguments as JSON.
    pub(super) arguments: String,
}

/// The calls in `content`, and the text before the first; `None` if there is none that can be read.
pub(super) fn read(content: &str, tools: &[String]) -> Option<(String, Vec<TextCall>)> {
    let first = MARKS.iter().filter_map(|mark| content.find(mark)).min();
    let (text, calls) = match first {
        Some(at) => (&content[..at], marked(&content[at..])),
        None => bare(content)?,
    };
    let calls: Vec<_> = calls.into_iter().filter(|call| tools.contains(&call.name)).take(MAX_CALLS).collect();
    (!calls.is_empty()).then(|| (text.trim_end().to_owned(), calls))
}

/// Whether `content` holds the beginning of a call in a chat format.
pub(super) fn is_like_a_call(content: &str) -> bool {
    MARKS.iter().any(|mark| content.contains(mark))
}

/// The calls in text that begins with a mark.
fn marked(text: &str) -> Vec<TextCall> {
    let xml = elements(text);
    if !xml.is_empty() {
        return xml;
    }
    // DeepSeek: `function<｜tool▁sep｜>NAME`, then the arguments in a code fence
    if let Some((_, rest)) = text.split_once("tool▁sep") {
        let rest = rest.trim_start_matches(['｜', '|', '>']);
        let (name, rest) = rest.split_once(['\n', '{']).unwrap_or((rest, ""));
        let arguments = text[text.len() - rest.len()..].find('{').map(|at| &rest[at..]);
        let arguments = arguments.or_else(|| text.find('{').map(|at| &text[at..])).unwrap_or("{}");
        return first_json(arguments)
            .map(|value| vec![TextCall { name: name.trim().to_owned(), arguments: value.to_string() }])
            .unwrap_or_default();
    }
    json_calls(text)
}

/// The calls of JSON values in `text`, one after the other.
fn json_calls(text: &str) -> Vec<TextCall> {
    let mut calls = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '[']) {
        rest = &rest[at..];
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                let end = values.byte_offset();
                add(&value, &mut calls);
                rest = &rest[end..];
            }
            Some(Err(_)) | None => match mended(rest) {
                Some((value, end)) => {
                    add(&value, &mut calls);
                    rest = &rest[end..];
                }
                None => rest = &rest[1..],
            },
        }
        if calls.len() >= MAX_CALLS {
            break;
        }
    }
    calls
}

/// An object that ends at a closing mark and is valid once it is mended.
fn mended(text: &str) -> Option<(Value, usize)> {
    let end = ["</tool_call>", "<|", "```"].iter().filter_map(|mark| text.find(mark)).min()?;
    match super::arguments::Arguments::read(text[..end].trim(), false) {
        super::arguments::Arguments::Object { value, .. } => Some((value, end)),
        super::arguments::Arguments::Invalid { .. } | super::arguments::Arguments::Cut { .. } => None,
    }
}

/// The call that `value` describes, or the calls if it is a list.
fn add(value: &Value, calls: &mut Vec<TextCall>) {
    if let Value::Array(values) = value {
        for value in values {
            add(value, calls);
        }
        return;
    }
    let call = value.get("function").filter(|function| function.is_object()).unwrap_or(value);
    let name = ["name", "tool", "tool_name"].iter().find_map(|key| call.get(*key)?.as_str());
    let arguments = ["arguments", "parameters", "args", "input"].iter().find_map(|key| call.get(*key));
    if let (Some(name), Some(arguments)) = (name, arguments) {
        let arguments = arguments.as_str().map_or_else(|| arguments.to_string(), str::to_owned);
        calls.push(TextCall { name: name.to_owned(), arguments });
    }
}

fn first_json(text: &str) -> Option<Value> {
    serde_json::Deserializer::from_str(text).into_iter::<Value>().next()?.ok()
}

/// Calls without a mark: all of the content, or one code fence of it, is JSON.
fn bare(content: &str) -> Option<(&str, Vec<TextCall>)> {
    let trimmed = content.trim();
    let (before, json) = if trimmed.starts_with(['{', '[']) {
        ("", trimmed)
    } else {
        let (before, rest) = content.split_once("```")?;
        let (language, rest) = rest.split_once('\n')?;
        let (json, after) = rest.split_once("```")?;
        let is_json = matches!(language.trim(), "json" | "" | "tool_call" | "tool_code");
        (is_json && after.trim().is_empty()).then_some((before, json.trim()))?
    };
    let value: Value = serde_json::from_str(json).ok()?;
    let mut calls = Vec::new();
    add(&value, &mut calls);
    (!calls.is_empty()).then_some((before, calls))
}

/// The calls written with one element for each parameter.
fn elements(text: &str) -> Vec<TextCall> {
    let mut calls = Vec::new();
    let mut rest = text;
    loop {
        let qwen = rest.find("<function=").map(|at| (at, "<function=", ">", "</function>"));
        let anthropic = rest.find("<invoke name=").map(|at| (at, "<invoke name=", ">", "</invoke>"));
        let Some((at, open, end_of_name, close)) =
            [qwen, anthropic].into_iter().flatten().min_by_key(|(at, ..)| *at)
        else {
            break;
        };
        let Some((name, body)) = rest[at + open.len()..].split_once(end_of_name) else { break };
        let (body, after) = body.split_once(close).unwrap_or((body, ""));
        let name = name.trim().trim_matches(['"', '\'']).to_owned();
        let parameters = parameters(body);
        let arguments = match first_json(body.trim()) {
            Some(value) if parameters.is_empty() && value.is_object() => value,
            Some(_) | None => Value::Object(parameters),
        };
        calls.push(TextCall { name, arguments: arguments.to_string() });
        rest = after;
    }
    if calls.is_empty() && text.contains("<arg_key>") {
        for block in text.split("<tool_call>").skip(1) {
            let name = block.split(['\n', '<']).next().unwrap_or_default().trim().to_owned();
            let mut arguments = Map::new();
            for pair in block.split("<arg_key>").skip(1) {
                let Some((key, rest)) = pair.split_once("</arg_key>") else { continue };
                let Some((_, value)) = rest.split_once("<arg_value>") else { continue };
                let value = value.split_once("</arg_value>").map_or(value, |(value, _)| value);
                arguments.insert(key.trim().to_owned(), Value::from(value));
            }
            calls.push(TextCall { name, arguments: Value::Object(arguments).to_string() });
        }
    }
    calls
}

/// The parameters `<parameter=KEY>VALUE</parameter>` or `<parameter name="KEY">VALUE</parameter>`.
fn parameters(body: &str) -> Map<String, Value> {
    let mut all = Map::new();
    let mut rest = body;
    while let Some(at) = rest.find("<parameter") {
        let Some((key, after)) = rest[at + "<parameter".len()..].split_once('>') else { break };
        let key = key.trim().trim_start_matches("name=").trim_start_matches('=').trim_matches(['"', '\'']);
        let (value, after) = after.split_once("</parameter>").unwrap_or((after, ""));
        // the format puts each value between line ends of its own
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        all.insert(key.to_owned(), Value::from(value));
        rest = after;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_in_every_format_are_read() {
        let tools = ["write_file".to_owned(), "list_files".to_owned()];
        let arguments = r#"{"content":"a\nb","path":"x"}"#;
        for content in [
            "I write.\n<tool_call>\n{\"name\": \"write_file\", \"arguments\": {\"content\": \"a\\nb\", \"path\": \"x\"}}\n</tool_call>",
            "I write.\n<tool_call>\n<function=write_file>\n<parameter=content>\na\nb\n</parameter>\n<parameter=path>\nx\n</parameter>\n</function>\n</tool_call>",
            "I write.\n<function=write_file>{\"content\": \"a\\nb\", \"path\": \"x\"}</function>",
            "I write. <invoke name=\"write_file\"><parameter name=\"content\">a\nb</parameter><parameter name=\"path\">x</parameter></invoke>",
            "I write. <|python_tag|>{\"name\": \"write_file\", \"parameters\": {\"content\": \"a\\nb\", \"path\": \"x\"}}",
            "I write. [TOOL_CALLS][{\"name\": \"write_file\", \"arguments\": {\"content\": \"a\\nb\", \"path\": \"x\"}}]",
            "I write. <tool_call>write_file\n<arg_key>content</arg_key>\n<arg_value>a\nb</arg_value>\n<arg_key>path</arg_key>\n<arg_value>x</arg_value>\n</tool_call>",
            "I write.\n```json\n{\"name\": \"write_file\", \"arguments\": {\"content\": \"a\\nb\", \"path\": \"x\"}}\n```",
            "I write. <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>write_file\n```json\n{\"content\": \"a\\nb\", \"path\": \"x\"}\n```<｜tool▁call▁end｜>",
            "I write.\n<tool_call>\n{\"name\": \"write_file\", \"arguments\": {\"content\": \"a\nb\", \"path\": \"x\"}}\n</tool_call>",
        ] {
            let (text, calls) = read(content, &tools).unwrap_or_else(|| panic!("{content}"));
            assert_eq!(text, "I write.", "{content}");
            assert_eq!(calls.len(), 1, "{content}");
            let value: Value = serde_json::from_str(&calls[0].arguments).unwrap();
            assert_eq!(
                (calls[0].name.as_str(), value.to_string().as_str()),
                ("write_file", arguments),
                "{content}"
            );
        }
        let two = "<tool_call>{\"name\":\"list_files\",\"arguments\":{}}</tool_call>\n<tool_call>{\"name\":\"list_files\",\"arguments\":{}}</tool_call>";
        assert_eq!(read(two, &tools).unwrap().1.len(), 2);
    }

    #[test]
    fn other_text_is_no_call() {
        let tools = ["write_file".to_owned()];
        for content in [
            "Done.",
            "{\"roles\": [\"engineer\"]}",
            "```json\n{\"name\": \"my-app\", \"version\": \"1.0.0\"}\n```",
            "```json\n{\"name\": \"rm\", \"arguments\": {}}\n```",
            "<tool_call>{\"name\": \"rm\", \"arguments\": {}}</tool_call>",
        ] {
            assert_eq!(read(content, &tools), None, "{content}");
        }
        assert!(is_like_a_call("<tool_call>{"));
        assert!(!is_like_a_call("a <b>"));
    }
}
