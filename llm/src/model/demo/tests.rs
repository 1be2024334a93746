//! Tests of the demo model: the whole team at work on the starters.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use futures_util::StreamExt;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::DEMO_MODEL;

type Files = BTreeMap<String, String>;

/// A workspace as it is made of a template.
fn template(name: &str) -> Files {
    fn walk(root: &Path, at: &Path, files: &mut Files) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, files);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                files.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), text);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates").join(name);
    let mut files = Files::new();
    walk(&root, &root, &mut files);
    assert!(!files.is_empty(), "no template {name}");
    files
}

/// Executes a tool call on `files`.
fn execute(files: &mut Files, tool: &str, arguments: &Value) -> String {
    let path = arguments["path"].as_str().unwrap_or_default();
    let text = |name: &str| arguments[name].as_str().unwrap_or_default().to_owned();
    match tool {
        "list_files" => files.iter().fold(String::new(), |mut list, (path, file)| {
            writeln!(list, "{path} ({} bytes)", file.len()).unwrap();
            list
        }),
        "read_file" => files.get(path).cloned().unwrap_or_else(|| format!("error: {path} does not exist")),
        "write_file" => {
            files.insert(path.to_owned(), text("content"));
            "written".to_owned()
        }
        "edit_file" => {
            let (old, new) = (text("old"), text("new"));
            match files.get_mut(path).filter(|file| file.matches(&old).count() == 1) {
                Some(file) => {
                    *file = file.replace(&old, &new);
                    "edited".to_owned()
                }
                None => "error: the old text must occur once".to_owned(),
            }
        }
        "search_files" => {
            let query = text("pattern");
            files.iter().filter(|(_, file)| file.contains(&query)).fold(
                String::new(),
                |mut found, (path, _)| {
                    writeln!(found, "{path}").unwrap();
                    found
                },
            )
        }
        other => panic!("the demo model used {other}, which the request does not offer"),
    }
}

fn tools() -> Value {
    let tool = |name: &str, parameters: &[&str]| {
        let properties: BTreeMap<_, _> = parameters.iter().map(|p| (*p, json!({"type": "string"}))).collect();
        json!({"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}})
    };
    json!([
        tool("list_files", &["path"]),
        tool("read_file", &["path"]),
        tool("write_file", &["path", "content"]),
        tool("edit_file", &["path", "old", "new"]),
        tool("search_files", &["pattern"]),
    ])
}

/// Puts a reply together from its stream, as a client does.
async fn ask(role: &str, messages: &[Value], tools: &Value) -> Value {
    let request = ChatRequest::of(&json!({
        "model": DEMO_MODEL, "stream": true, "messages": messages, "tools": tools,
    }));
    let caller = Caller {
        job: JobId(Uuid::from_u128(7)),
        attempt: mgx_protocol::Attempt(1),
        user: "ann".to_owned(),
        session: "s".parse().unwrap(),
        agent: Some(role.to_owned()),
    };
    let answer = answer(&request, &caller, Duration::ZERO).unwrap();
    assert_eq!(answer.content_type, "text/event-stream");
    let frames: Vec<_> = answer.bytes.map(Result::unwrap).collect().await;
    let mut message = json!({"role": "assistant", "content": ""});
    let (mut reason, mut usage, mut fragments) = (Value::Null, Value::Null, 0);
    let (last, chunks) = frames.split_last().unwrap();
    assert_eq!(last, "data: [DONE]\n\n");
    for frame in chunks {
        let text = std::str::from_utf8(frame).unwrap();
        let chunk: Value = serde_json::from_str(text.strip_prefix("data: ").unwrap().trim_end()).unwrap();
        assert_eq!(chunk["system_fingerprint"], DEMO_MODEL);
        if !chunk["usage"].is_null() {
            usage = chunk["usage"].clone();
        }
        let choice = &chunk["choices"][0];
        if !choice["finish_reason"].is_null() {
            reason = choice["finish_reason"].clone();
        }
        let content = choice["delta"]["content"].as_str().unwrap_or_default();
        message["content"] = format!("{}{content}", message["content"].as_str().unwrap()).into();
        let call = &choice["delta"]["tool_calls"][0];
        if call["id"].is_string() {
            message["tool_calls"] = json!([call]);
        } else if let Some(piece) = call["function"]["arguments"].as_str() {
            fragments += 1;
            let whole = &mut message["tool_calls"][0]["function"]["arguments"];
            *whole = format!("{}{piece}", whole.as_str().unwrap()).into();
        }
    }
    assert!(usage["completion_tokens"].as_u64().unwrap() > 0 && usage["prompt_tokens"].as_u64().unwrap() > 0);
    let is_call = message["tool_calls"].is_array();
    assert_eq!(reason, if is_call { "tool_calls" } else { "stop" });
    let length = message["tool_calls"][0]["function"]["arguments"].as_str().unwrap_or_default().len();
    assert!(length < 200 || fragments > 1, "long arguments come in pieces");
    message
}

/// Runs one role to its end: its tool calls, one a line, and its last message.
async fn run_role(role: &str, prompt: &str, files: &mut Files) -> (String, String) {
    let mut messages = vec![
        json!({"role": "system", "content": "You are a member of a team."}),
        json!({"role": "user", "content": prompt}),
    ];
    let mut log = String::new();
    for _ in 0..20 {
        let message = ask(role, &messages, &tools()).await;
        messages.push(message.clone());
        let Some(call) = message["tool_calls"].get(0) else {
            return (log, message["content"].as_str().unwrap().to_owned());
        };
        let tool = call["function"]["name"].as_str().unwrap();
        let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
        let result = execute(files, tool, &arguments);
        let target = arguments["path"].as_str().or(arguments["pattern"].as_str()).unwrap();
        let first = result.lines().next().unwrap_or_default();
        writeln!(log, "{} {tool} {target} -> {first}", message["content"].as_str().unwrap()).unwrap();
        messages.push(json!({"role": "tool", "tool_call_id": call["id"], "content": result}));
    }
    panic!("{role} does not come to an end:\n{log}");
}

#[tokio::test]
async fn the_engineer_builds_the_page_with_its_tools() {
    let mut files = template("nextjs");
    let (log, reply) =
        run_role("engineer", "Build a landing page for a bakery with opening hours", &mut files).await;
    insta::assert_snapshot!(format!("{log}{reply}"));
    assert!(files["app/layout.tsx"].contains("title: \"Golden Crust Bakery – Bread worth getting up for\""));
    insta::assert_snapshot!("bakery_page", files["app/page.tsx"]);
    insta::assert_snapshot!("bakery_css", files["app/page.css"]);
}

#[tokio::test]
async fn the_whole_team_works_on_both_frameworks() {
    for (framework, page, shell) in [
        ("nextjs", "app/page.tsx", "app/layout.tsx"),
        ("fastapi-vite", "frontend/src/App.tsx", "frontend/index.html"),
    ] {
        let prompt = "Create a shop's home page called Tom & <Jerry>'s \"Cheese\" {100%}";
        let mut files = template(framework);
        let before = files.clone();
        let (_, reply) = run_role("router", prompt, &mut files).await;
        let roles: Value = serde_json::from_str(&reply).unwrap();
        assert_eq!(roles["roles"], json!(["product_manager", "architect", "engineer", "qa"]));
        let (mut transcript, mut handed_over) = (String::new(), String::new());
        for role in roles["roles"].as_array().unwrap() {
            let role = role.as_str().unwrap();
            let prompt = format!("{prompt}{handed_over}");
            let (log, reply) = run_role(role, &prompt, &mut files).await;
            write!(handed_over, "\n\n--- from the {role} ---\n{reply}").unwrap();
            assert!(reply.starts_with("[demo model]"), "{reply}");
            assert!(role != "qa" || reply.contains("Verdict: PASS"), "{reply}");
            writeln!(transcript, "# {role}\n{log}{reply}\n").unwrap();
        }
        insta::assert_snapshot!(format!("team_{framework}"), transcript);
        assert!(files[page].contains(&serde_json::to_string(prompt).unwrap()), "the prompt is on the page");
        assert_ne!(files[shell], before[shell], "the title is set");
        for (path, text) in &before {
            assert!(
                path == page || path == shell || &files[path] == text,
                "{path} was not the team's to change"
            );
        }
    }
}

#[tokio::test]
async fn a_second_prompt_changes_what_is_there() {
    let mut files = template("nextjs");
    run_role("engineer", "Build a landing page for a bakery", &mut files).await;
    let before = files["app/page.css"].clone();
    let (_, reply) =
        run_role("router", "Change the headline to \"Fresh at seven\" and make it green", &mut files).await;
    assert!(reply.contains(r#"["engineer","qa"]"#), "{reply}");
    let (_, reply) =
        run_role("engineer", "Change the headline to \"Fresh at seven\" and make it green", &mut files).await;
    insta::assert_snapshot!("changed", reply);
    assert!(
        files["app/page.tsx"].contains("Fresh at seven") && files["app/page.tsx"].contains("Golden Crust")
    );
    assert_ne!(files["app/page.css"], before);
    let untouched = files.clone();
    let (_, reply) = run_role("engineer", "Make the button bounce", &mut files).await;
    assert!(reply.contains("left the page as it is"), "{reply}");
    assert_eq!(files, untouched);
}

#[tokio::test]
async fn what_cannot_be_done_is_reported() {
    let prompt = json!({"role": "user", "content": "Build a page for a gym"});
    // no tools at all
    let message = ask("product_manager", std::slice::from_ref(&prompt), &json!([])).await;
    insta::assert_snapshot!(message["content"].as_str().unwrap());
    // a tool that refuses
    let mut messages =
        vec![prompt.clone(), ask("product_manager", std::slice::from_ref(&prompt), &tools()).await];
    let id = messages[1]["tool_calls"][0]["id"].clone();
    messages.push(json!({"role": "tool", "tool_call_id": id, "content": "error: the disk is full"}));
    let message = ask("product_manager", &messages, &tools()).await;
    insta::assert_snapshot!(message["content"].as_str().unwrap());
    // a role that the demo model has no script for
    let message = ask("poet", &[prompt], &tools()).await;
    assert!(message["content"].as_str().unwrap().starts_with("[demo model] I am a script"));
    // a page that is not there
    let (_, reply) = run_role("qa", "Build a page", &mut Files::new()).await;
    assert_eq!(reply, "[demo model] I could not read app/page.tsx: app/page.tsx does not exist");
}
