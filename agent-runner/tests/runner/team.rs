//! The agent team, with a scripted model behind the link.

use mgx_protocol::{AgentEvent, EventKind, Exit, ExitCause, ReportedResult, Role, Team};
use serde_json::{Value, json};

use crate::model::{Asked, Model, Scripted, end, fragment, text};
use crate::platform::{Platform, RunnerProcess};

fn role(name: &str, tools: &[&str]) -> Role {
    Role {
        name: name.into(),
        model: format!("model-of-{name}"),
        temperature: None,
        prompt: format!("You are the {name}."),
        tools: tools.iter().map(|&tool| tool.into()).collect(),
    }
}

fn reply(chunks: &[Value], reason: &str) -> Scripted {
    Scripted::Stream(chunks.iter().cloned().chain(end(reason)).collect())
}

/// Runs a team of `roles` on a workspace, with a model that follows `script`.
async fn run(roles: Vec<Role>, script: Vec<Scripted>) -> (RunnerProcess, Vec<AgentEvent>, Exit, Vec<Asked>) {
    let runner = RunnerProcess::start(&[]);
    let model = Model::serve(script).await;
    let mut platform = Platform::listen(runner.dir.path(), Some(model.address));
    let mut control = platform.control().await;
    let mut invocation = runner.invocation(None);
    invocation.team = Team { roles, max_turns: 4 };
    invocation.env.insert("MGX_WORKSPACE_DIR".into(), runner.workspace().display().to_string());
    control.invoke(&invocation).await;
    let (events, exit) = control.finish().await;
    (runner, events, exit, model.asked())
}

/// The events as text, without times and pieces of messages, which vary.
fn event_lines(events: &[AgentEvent]) -> String {
    let line = |event: &AgentEvent| {
        let mut data = event.data.clone();
        data.remove("duration_ms");
        format!("{} {}: {}", event.agent.as_deref().unwrap_or("-"), event.kind, Value::from(data))
    };
    let event_lines: Vec<_> =
        events.iter().filter(|event| event.kind != EventKind::MessageDelta).map(line).collect();
    event_lines.join("\n")
}

fn streamed(events: &[AgentEvent], agent: &str) -> String {
    let deltas =
        events.iter().filter(|e| e.kind == EventKind::MessageDelta && e.agent.as_deref() == Some(agent));
    deltas.map(|event| event.data["delta"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_team_builds_a_page_through_its_tools_although_the_service_fails_at_times() {
    let roles = vec![
        role("router", &[]),
        role("architect", &["list_files"]),
        role("poet", &[]),
        role("engineer", &["write_file", "read_file", "fly"]),
    ];
    let script = vec![
        reply(&[text(r#"{"roles":["architect","#), text(r#""engineer"]}"#)], "stop"),
        Scripted::Refusal(429, "0", json!({ "error": { "message": "slow down" } })),
        reply(&[text("One page"), text(" will do.")], ""),
        reply(
            &[
                text("I write it."),
                fragment(0, Some("a"), Some("write_file"), "{\"path\":\"index.html\","),
                fragment(1, Some("b"), Some("read_file"), "{\"path\":"),
                fragment(0, None, None, "\"content\":\"<h1>Hi</h1>\"}"),
                fragment(1, None, None, "\"missing.txt\"}"),
            ],
            "tool_calls",
        ),
        Scripted::Cut(vec![text(&"It is a lie. ".repeat(100))]),
        reply(&[text("It is done.")], "stop"),
    ];
    let (runner, events, exit, asked) = run(roles, script).await;

    insta::assert_snapshot!("the_events_of_a_team", event_lines(&events));
    assert_eq!(streamed(&events, "architect"), "One page will do.");
    assert!(streamed(&events, "engineer").ends_with("It is a lie. It is done."), "and a reset between");
    assert_eq!(streamed(&events, "router"), "", "the reply of the router is not shown");
    let page = std::fs::read_to_string(runner.workspace().join("index.html")).unwrap();
    assert_eq!(page, "<h1>Hi</h1>");
    assert_eq!((exit.code, exit.cause), (Some(0), ExitCause::Ended));
    assert_eq!(exit.reported, Some(ReportedResult { success: true, error: None, resume_after_s: None }));

    let agents: Vec<_> = asked.iter().map(|asked| asked.agent.as_str()).collect();
    assert_eq!(agents, ["router", "architect", "architect", "engineer", "engineer", "engineer"]);
    assert!(asked.iter().all(|asked| asked.authorization == "Bearer attempt-token"));
    assert_eq!(asked[4].body, asked[5].body, "a turn that was cut off is asked for again");
    insta::assert_json_snapshot!("the_last_request_of_a_team", asked[5].body["messages"]);
    assert!(runner.exits().await);
}

#[tokio::test]
async fn a_refused_key_ends_the_run_with_the_services_message() {
    let refusal = Scripted::Refusal(401, "", json!({ "error": { "message": "this token is spent" } }));
    let (_, events, exit, asked) = run(vec![role("engineer", &[])], vec![refusal]).await;
    assert_eq!(asked.len(), 1, "a refusal is not asked for again");
    insta::assert_snapshot!(event_lines(&events), @r#"
    engineer agent_start: {"framework":"","model":"model-of-engineer","prompt":"make a page"}
    engineer agent_error: {"error":"the model service answered 401: this token is spent","error_type":"llm_refused"}
    "#);
    assert_eq!(exit.code, Some(1));
    insta::assert_snapshot!(exit.reported.unwrap().error.unwrap(), @"the engineer could not finish: the model service answered 401: this token is spent");
}

#[tokio::test]
async fn a_role_that_does_not_finish_is_stopped_and_reports_it() {
    let again = reply(&[fragment(0, Some("x"), Some("list_files"), "{}")], "tool_calls");
    let (_, events, exit, asked) = run(vec![role("engineer", &["list_files"])], vec![again; 4]).await;
    assert_eq!(asked.len(), 4);
    let last = events.last().unwrap();
    assert_eq!((last.kind.as_str(), &last.data["error_type"]), ("agent_error", &json!("max_turns")));
    insta::assert_snapshot!(exit.reported.unwrap().error.unwrap(), @"the engineer could not finish: it did not finish within 4 model calls");
}

#[tokio::test]
async fn a_team_without_roles_reports_it() {
    let (_, events, exit, _) = run(Vec::new(), Vec::new()).await;
    assert_eq!(events, []);
    let error = Some("the team has no roles".into());
    assert_eq!(
        (exit.code, exit.reported),
        (Some(1), Some(ReportedResult { success: false, error, resume_after_s: None }))
    );
}
