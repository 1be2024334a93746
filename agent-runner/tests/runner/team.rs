//! The agent team, with a scripted model behind the link.

use mgx_protocol::{
    AgentEvent, Conversation, EventKind, Exit, ExitCause, Invocation, Message, ReportedResult, RetryPolicy,
    Role, Team,
};
use serde_json::{Value, json};

use crate::model::{Asked, Model, Scripted, end, fragment, text};
use crate::platform::{Platform, RunnerProcess};

fn role(name: &str, tools: &[&str]) -> Role {
    Role {
        name: name.into(),
        model: format!("model-of-{name}"),
        temperature: None,
        effort: None,
        prompt: format!("You are the {name}."),
        tools: tools.iter().map(|&tool| tool.into()).collect(),
    }
}

fn reply(chunks: &[Value], reason: &str) -> Scripted {
    Scripted::Stream(chunks.iter().cloned().chain(end(reason)).collect())
}

/// Runs a team of `roles` on a workspace, with a model that follows `script`.
async fn run(roles: Vec<Role>, script: Vec<Scripted>) -> (RunnerProcess, Vec<AgentEvent>, Exit, Vec<Asked>) {
    run_with(roles, script, |_| {}).await
}

/// The same with another invocation.
async fn run_with(
    roles: Vec<Role>,
    script: Vec<Scripted>,
    change: impl FnOnce(&mut Invocation),
) -> (RunnerProcess, Vec<AgentEvent>, Exit, Vec<Asked>) {
    let runner = RunnerProcess::start(&[]);
    let model = Model::serve(script).await;
    let mut platform = Platform::listen(runner.dir.path(), Some(model.address));
    let mut control = platform.control().await;
    let mut invocation = runner.invocation(None);
    invocation.team = Team { roles, max_turns: 4, max_exchanges: 1, ..Team::default() };
    change(&mut invocation);
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
    let event_lines: Vec<_> = events.iter().filter(|event| !is_of_chance(event)).map(line).collect();
    event_lines.join("\n")
}

/// Events whose number or data depends on time and chance.
fn is_of_chance(event: &AgentEvent) -> bool {
    matches!(event.kind, EventKind::MessageDelta | EventKind::ToolDelta | EventKind::ProviderWait)
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
    engineer agent_error: {"error":"this token is spent","error_type":"llm_refused"}
    "#);
    assert_eq!(exit.code, Some(1));
    insta::assert_snapshot!(exit.reported.unwrap().error.unwrap(), @"the engineer could not finish: this token is spent");
}

#[tokio::test]
async fn a_role_that_does_not_finish_is_stopped_and_reports_it() {
    let reading = |path: &str| {
        let arguments = json!({ "path": path }).to_string();
        reply(&[fragment(0, Some("x"), Some("list_files"), &arguments)], "tool_calls")
    };
    let script = ["a", "b", "c", "d"].map(reading).to_vec();
    let (_, events, exit, asked) = run(vec![role("engineer", &["list_files"])], script).await;
    assert_eq!(asked.len(), 4);
    let last = events.last().unwrap();
    assert_eq!((last.kind.as_str(), &last.data["error_type"]), ("agent_error", &json!("max_turns")));
    insta::assert_snapshot!(exit.reported.unwrap().error.unwrap(), @"the engineer could not finish: it did not finish within 4 model calls (agents.max_turns); what it has written is kept");
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

/// A call of `write_file`.
fn writing(path: &str) -> Value {
    fragment(0, Some("w"), Some("write_file"), &json!({ "path": path, "content": "x" }).to_string())
}

/// The stored messages of a job, made of the events of its first attempt.
fn stored(events: &[AgentEvent]) -> Vec<Message> {
    let of = |event: &AgentEvent| {
        let mut message = json!({ "job": mgx_protocol::JobId::new(), "at": event.at, "agent": event.agent });
        for (key, value) in &event.data {
            message[key] = value.clone();
        }
        serde_json::from_value(message).unwrap()
    };
    events.iter().filter(|event| event.kind == EventKind::MessageComplete).map(of).collect()
}

#[tokio::test]
async fn a_provider_that_stays_away_ends_the_attempt_and_the_next_one_goes_on_without_a_call_made_twice() {
    let roles = || vec![role("router", &[]), role("architect", &[]), role("engineer", &["write_file"])];
    let away =
        || Scripted::Refusal(503, "", json!({ "error": { "message": "overloaded", "retryable": true } }));
    let script = vec![
        reply(&[text(r#"{"roles":["architect","engineer"]}"#)], "stop"),
        reply(&[text("One page.")], "stop"),
        reply(&[writing("a.txt")], "tool_calls"),
        away(),
    ];
    let impatient = |invocation: &mut Invocation| {
        invocation.team.retry = RetryPolicy { hold_ms: 0, ..RetryPolicy::default() };
    };
    let (_, events, exit, _) = run_with(roles(), script, impatient).await;
    let error = Some("overloaded".to_owned());
    assert_eq!(exit.reported, Some(ReportedResult { success: false, error, resume_after_s: Some(1) }));
    let wait = events.iter().find(|event| event.kind == EventKind::ProviderWait).unwrap();
    assert_eq!((wait.agent.as_deref(), &wait.data["reason"]), (Some("engineer"), &json!("overloaded")));

    let script = vec![reply(&[text("It is done.")], "stop")];
    let begun = stored(&events);
    let (_, events, exit, asked) = run_with(roles(), script, |invocation| {
        invocation.conversation = Conversation { begun, ..Conversation::default() };
    })
    .await;
    assert_eq!(exit.reported, Some(ReportedResult { success: true, error: None, resume_after_s: None }));
    assert_eq!(asked.len(), 1, "only the reply that was missing is asked for");
    insta::assert_json_snapshot!("the_request_after_a_wait", asked[0].body["messages"]);
    let ends: Vec<_> = events.iter().filter(|event| event.kind == EventKind::AgentEnd).collect();
    assert_eq!(ends.len(), 3, "every role ends in this attempt too");
}

#[tokio::test]
async fn a_model_that_says_nothing_is_asked_once_more_and_then_the_run_fails() {
    let nothing = reply(&[], "stop");
    let (_, events, exit, asked) = run(vec![role("engineer", &["write_file"])], vec![nothing; 2]).await;
    assert_eq!(asked.len(), 2);
    assert_eq!(events.last().unwrap().data["error_type"], "empty_reply");
    assert!(exit.reported.unwrap().error.unwrap().contains("an empty reply, also when it was asked again"));
}

#[tokio::test]
async fn the_same_call_again_and_again_is_stopped() {
    let again = reply(&[fragment(0, Some("x"), Some("list_files"), "{}")], "tool_calls");
    let (_, events, exit, asked) =
        run_with(vec![role("engineer", &["list_files"])], vec![again; 5], |invocation| {
            invocation.team.max_turns = 40;
        })
        .await;
    assert_eq!(asked.len(), 5);
    assert_eq!(events.last().unwrap().data["error_type"], "stuck");
    assert!(exit.reported.unwrap().error.unwrap().contains("the same call 5 times"));
}

#[tokio::test]
async fn a_context_that_the_provider_names_is_respected() {
    let mut script: Vec<_> = (0..3)
        .map(|number| {
            let arguments =
                json!({ "path": format!("f{number}"), "content": "x".repeat(30_000) }).to_string();
            reply(&[fragment(0, Some(&format!("c{number}")), Some("write_file"), &arguments)], "tool_calls")
        })
        .collect();
    script.push(Scripted::Refusal(
        400,
        "",
        json!({ "error": { "message": "maximum context length is 16000 tokens", "code": "context_length_exceeded",
            "retryable": false } }),
    ));
    script.push(reply(&[text("It is done.")], "stop"));
    let (_, events, exit, asked) = run_with(vec![role("engineer", &["write_file"])], script, |invocation| {
        invocation.team.max_turns = 10;
    })
    .await;
    assert!(exit.reported.unwrap().success);
    let size = |asked: &Asked| asked.body["messages"].to_string().len();
    assert!(size(&asked[3]) > 90_000 && size(&asked[4]) < 45_000, "{} {}", size(&asked[3]), size(&asked[4]));
    assert!(events.iter().any(|event| event.kind == EventKind::ContextShortened));
}

#[tokio::test]
async fn the_next_job_of_a_session_knows_what_was_said() {
    let at = "2026-01-01T00:00:00Z";
    let job = mgx_protocol::JobId::new();
    let said: Vec<Message> = serde_json::from_value(json!([
        { "job": job, "at": at, "role": "user", "content": "a page for the bakery Sol" },
        { "job": job, "at": at, "role": "assistant", "agent": "engineer", "content": "I read.", "tool_calls": [
            { "type": "tool_call", "id": "1", "name": "list_files", "args": {} }] },
        { "job": job, "at": at, "role": "assistant", "agent": "engineer", "content": "The page is written.",
            "metadata": { "final": true } },
    ]))
    .unwrap();
    let script = vec![reply(&[writing("a.txt")], "tool_calls"), reply(&[text("It is blue.")], "stop")];
    let (_, _, exit, asked) = run_with(vec![role("engineer", &["write_file"])], script, |invocation| {
        invocation.conversation = Conversation { earlier: said, ..Conversation::default() };
    })
    .await;
    assert!(exit.reported.unwrap().success);
    insta::assert_snapshot!(asked[0].body["messages"][1]["content"].as_str().unwrap(), @r"
    # The conversation so far
    user: a page for the bakery Sol

    engineer: The page is written.

    # The request
    make a page
    ");
}

#[tokio::test]
async fn a_long_conversation_is_summarised_and_keeps_the_users_words() {
    let at = "2026-01-01T00:00:00Z";
    let said: Vec<Message> = (0..30)
        .flat_map(|number| {
            let job = mgx_protocol::JobId::new();
            let prompt = if number == 0 { "the bakery is called Sol".to_owned() } else { format!("request {number}") };
            [
                json!({ "job": job, "at": at, "role": "user", "content": prompt }),
                json!({ "job": job, "at": at, "role": "assistant", "agent": "engineer", "metadata": { "final": true },
                    "content": "I have changed something. ".repeat(40) }),
            ]
        })
        .map(|message| serde_json::from_value(message).unwrap())
        .collect();
    let script = vec![
        reply(&[text("They build a page.")], "stop"),
        reply(&[writing("a.txt")], "tool_calls"),
        reply(&[text("It is done.")], "stop"),
    ];
    let (_, events, exit, asked) = run_with(vec![role("engineer", &["write_file"])], script, |invocation| {
        invocation.team.context_tokens = 16_000;
        invocation.conversation = Conversation { earlier: said, ..Conversation::default() };
    })
    .await;
    assert!(exit.reported.unwrap().success);
    let summary = events.iter().find(|event| event.data.get("role") == Some(&json!("system"))).unwrap();
    assert!(summary.data["content"].as_str().unwrap().starts_with("They build a page."));
    let told = asked[1].body["messages"][1]["content"].as_str().unwrap();
    assert!(told.contains("- the bakery is called Sol") && told.contains("user: request 29"), "{told}");
    assert!(told.len() < 16_000, "{}", told.len());
}

#[tokio::test]
async fn qa_sends_work_back_once_and_a_question_ends_the_run() {
    let back = |findings: &str| {
        reply(
            &[fragment(0, Some("b"), Some("send_back"), &json!({ "findings": findings }).to_string())],
            "tool_calls",
        )
    };
    let roles = || vec![role("engineer", &["write_file", "ask_user"]), role("qa", &["send_back"])];
    let built = || [reply(&[writing("a.txt")], "tool_calls"), reply(&[text("It is done.")], "stop")];
    let script: Vec<_> = built().into_iter().chain([back("the title is missing")]).chain(built()).collect();
    let passed = script.iter().cloned().chain([reply(&[text("All is well.")], "stop")]).collect();
    let (_, _, exit, asked) = run(roles(), passed).await;
    assert!(exit.reported.unwrap().success);
    assert!(asked[3].body["messages"][1]["content"].as_str().unwrap().contains("the title is missing"));
    let failed = script.into_iter().chain([back("still missing")]).collect();
    let (_, _, exit, _) = run(roles(), failed).await;
    assert!(exit.reported.unwrap().error.unwrap().contains("not mended after 1 exchanges"));

    let asks =
        reply(&[fragment(0, Some("q"), Some("ask_user"), r#"{"question":"Which colour?"}"#)], "tool_calls");
    let (_, events, exit, _) = run(roles(), vec![asks]).await;
    assert!(exit.reported.unwrap().success);
    assert_eq!(events.last().unwrap().data["question"], "Which colour?");
}
