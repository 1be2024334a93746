//! Calls that a model writes into its text, because the server before it has no parser for the model's chat format.
//!
//! Read only if the reply has no other call, and only if one of the calls is of a tool that was offered. The formats: Hermes and Qwen
//! (`<tool_call>{"name": …, "arguments": …}</tool_call>`), Qwen3-Coder (`<function=NAME><parameter=KEY>…`), GLM
//! (`<arg_key>`/`<arg_value>`), Anthropic (`<invoke name="…"><parameter name="…">`), `DeepSeek` (`<｜tool▁call▁begin｜>`), Mistral
//! (`[TOOL_CALLS]`), Llama (`<|python_tag|>`), and JSON with `name` and `arguments` alone or in code fences.

use serde_json::{Map, Value};

use super::thoughts::is_quoted;

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

/// The calls in `content`, and the text before the first; `None` if there is none that can be read. If one is of a tool that
/// was offered, the others count too: the model has to hear that they do not exist.
pub(super) fn read(content: &str, tools: &[String]) -> Option<(String, Vec<TextCall>)> {
    let found = marks(content).into_iter().map(|(at, _)| (&content[..at], marked(&content[at..])));
    let (text, mut calls) =
        found.chain(bare(content)).find(|(_, calls)| calls.iter().any(|call| tools.contains(&call.name)))?;
    calls.truncate(MAX_CALLS);
    let text = text.trim_end();
    // what a fence holds is a call: the fence is no text
    let text = text.strip_suffix("```xml").or_else(|| text.strip_suffix("```")).unwrap_or(text);
    Some((text.trim_end().to_owned(), calls))
}

/// Whether `content` holds the beginning of a call in a chat format, and does not only speak of it.
pub(super) fn is_like_a_call(content: &str) -> bool {
    marks(content).into_iter().any(|(at, mark)| mark != "<tools>" && !is_quoted(content, at, mark.len()))
}

/// Where marks stand in `content`, the first one first, with those after it that may begin the calls instead.
fn marks(content: &str) -> Vec<(usize, &'static str)> {
    const MAX_MARKS: usize = 16;
    let mut all: Vec<_> = MARKS
        .iter()
        .flat_map(|mark| content.match_indices(mark).take(MAX_MARKS).map(|(at, _)| (at, *mark)))
        .collect();
    all.sort_unstable();
    all.truncate(MAX_MARKS);
    all
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

/// Calls without a mark: all of the content is JSON, or it ends with code fences of JSON.
fn bare(content: &str) -> Option<(&str, Vec<TextCall>)> {
    let trimmed = content.trim();
    let mut calls = Vec::new();
    if trimmed.starts_with(['{', '[']) {
        add(&serde_json::from_str(trimmed).ok()?, &mut calls);
        return (!calls.is_empty()).then_some(("", calls));
    }
    let (mut before, mut rest) = content.split_once("```")?;
    loop {
        let (language, inner) = rest.split_once('\n')?;
        let (json, after) = inner.split_once("```")?;
        let is_json = matches!(language.trim(), "json" | "" | "tool_call" | "tool_code");
        match serde_json::from_str(json.trim()) {
            Ok(value) if is_json => add(&value, &mut calls),
            Ok(_) | Err(_) => {}
        }
        match after.split_once("```") {
            Some((between, next)) if calls.is_empty() || between.trim().is_empty() => {
                if calls.is_empty() {
                    before = &content[..content.len() - next.len() - "```".len()];
                }
                rest = next;
            }
            Some(_) => return None,
            None => return (!calls.is_empty() && after.trim().is_empty()).then_some((before, calls)),
        }
    }
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
        let (body, after) = split_at_end(body, close, &["</tool_call>", "</function_calls>", "<", "```"]);
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
        let (value, after) = split_at_end(after, "</parameter>", &["<parameter"]);
        // the format puts each value between line ends of its own
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        all.insert(key.to_owned(), Value::from(value));
        rest = after;
    }
    all
}

/// `text` before and after the first `close` that ends an element: nothing follows it, or one of `next` does. A value may
/// hold the same text itself, such as that of an HTML file.
fn split_at_end<'a>(text: &'a str, close: &str, next: &[&str]) -> (&'a str, &'a str) {
    let ends = |at: usize| {
        let after = text[at + close.len()..].trim_start();
        after.is_empty() || next.iter().any(|next| after.starts_with(next))
    };
    let end = text.match_indices(close).map(|(at, _)| at).find(|at| ends(*at));
    let end = end.or_else(|| text.find(close));
    end.map_or((text, ""), |at| (&text[..at], &text[at + close.len()..]))
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
        let fences = "Both.\n```json\n{\"name\":\"list_files\",\"arguments\":{}}\n```\n```json\n{\"name\":\"rm\",\"arguments\":{}}\n```";
        let (text, calls) = read(fences, &tools).unwrap();
        assert_eq!((text.as_str(), calls.len()), ("Both.", 2));
        let after_prose =
            "I use <tool_call> now: <tool_call>{\"name\":\"list_files\",\"arguments\":{}}</tool_call>";
        assert_eq!(read(after_prose, &tools).unwrap().1.len(), 1);
        let markup = "<function=write_file><parameter=content>\n<a></parameter> b\n</parameter>\n<parameter=path>x</parameter></function>";
        assert_eq!(
            read(markup, &tools).unwrap().1[0].arguments,
            r#"{"content":"<a></parameter> b","path":"x"}"#
        );
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
        for spoken_of in [
            "a <b>",
            "It writes `<tool_call>` first.",
            "The list is in <tools> now.",
            "```\n<tool_call>\n```",
        ] {
            assert!(!is_like_a_call(spoken_of), "{spoken_of}");
        }
    }
}
