//! The calls of the original platform's own client, in the order in which it makes them: answered, or refused on purpose.

use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::testing::server::{PASSWORD, TestServer, ask_as, test_server};

/// The client: it is built with the address of the server and `/original`, and has a token after it has signed in.
struct Client {
    server: TestServer,
    token: String,
}

impl Client {
    /// Signs in with a form of `FormData`.
    async fn sign_in() -> Self {
        let server = test_server().await;
        server.user("anna", &["admins"]).await;
        let field = |name: &str, value: &str| {
            format!("--x7\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let form = format!("{}{}--x7--\r\n", field("username", "anna"), field("password", PASSWORD));
        let request = http::Request::post("/original/oauth2/token")
            .header("content-type", "multipart/form-data; boundary=x7");
        let answer = server.send(request, form).await;
        assert_eq!(answer.status(), 200, "signed in");
        let tokens: Value =
            serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
        Self { server, token: tokens["access_token"].as_str().unwrap().to_owned() }
    }

    /// As its `request` does: with the media type of JSON also on a GET.
    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, String, Value) {
        let request = ask_as(&self.token, method, &format!("/original{path}"));
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.server.code(request.header("content-type", "application/json"), body).await
    }

    async fn get(&self, path: &str) -> Value {
        let (status, _, json) = self.ask("GET", path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {json}");
        json
    }

    /// The events of a stream, read as the client reads them: the first `data: ` of each block.
    async fn stream(&self, method: &str, path: &str, body: Value) -> Vec<Value> {
        let request = ask_as(&self.token, method, &format!("/original{path}"));
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let answer = self.server.send(request.header("content-type", "application/json"), body).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let data = |block: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix("data: "))?;
            Some(serde_json::from_str(line).unwrap())
        };
        text.split("\n\n").filter_map(data).collect()
    }
}

#[tokio::test]
async fn sessions_and_files_have_the_shapes_that_it_reads() {
    let client = Client::sign_in().await;
    let body = json!({ "name": "Bakery", "framework": "fastapi_vite" });
    let (status, _, made) = client.ask("POST", "/api/sessions", body).await;
    assert_eq!((status, &made["framework"]), (201, &json!("fastapi-vite")), "{made}");
    let id = made["session_id"].as_str().unwrap();
    let list = client.get("/api/sessions").await;
    assert_eq!(list.as_array().map(Vec::len), Some(1), "an array: {list}");
    for session in [&made, &list[0], &client.get(&format!("/api/sessions/{id}")).await] {
        for text in ["session_id", "name", "framework", "workspace_id", "workspace_path", "creator"] {
            assert!(session[text].is_string(), "{text}: {session}");
        }
        assert!(session["created_at"].as_f64() > Some(1.7e9) && session["updated_at"].is_f64());
        assert_eq!((&session["creator"], &session["is_running"]), (&json!("anna"), &json!(false)));
    }

    let workspace = format!("/api/workspaces/{}", made["workspace_id"].as_str().unwrap());
    let file = format!("{workspace}/files?path=src%2Fa%20b.txt");
    let (status, _, written) = client.ask("PUT", &file, json!({ "content": "hello" })).await;
    assert_eq!((status, &written["path"], &written["size"]), (201, &json!("src/a b.txt"), &json!(5)));
    assert_eq!(client.get(&file).await["content"], "hello");
    let tree = client.get(&format!("{workspace}/entries")).await;
    let src = tree["entries"].as_array().unwrap().iter().find(|entry| entry["path"] == "src").unwrap();
    let children = src["children"].as_array().unwrap();
    assert!(children.iter().any(|entry| entry["path"] == "src/a b.txt" && entry["is_dir"] == false), "{src}");
    assert_eq!(tree["is_cut"], false);
    let level = client.get(&format!("{workspace}/entries?dir=src")).await;
    let entry = &level["entries"][0];
    assert_eq!((&entry["name"], &entry["size"]), (&json!("a b.txt"), &json!(5)), "{level}");
    assert!(entry.get("children").is_none());
    let top = client.get(&format!("{workspace}/entries?dir=")).await;
    assert!(top["entries"].as_array().unwrap().iter().all(|entry| entry.get("children").is_none()));
}

#[tokio::test]
async fn the_agents_are_followed_stopped_and_remembered() {
    let client = Client::sign_in().await;
    client
        .ask("POST", "/api/sessions", json!({ "session_id": "demo", "name": "x", "framework": "nextjs" }))
        .await;
    let app = "/api/apps/demo/agent";
    let events = client.stream("POST", &format!("{app}/generate"), json!({ "prompt": "fail" })).await;
    let types: Vec<_> = events.iter().map(|event| event["event_type"].as_str().unwrap()).collect();
    assert_eq!((types[0], *types.last().unwrap()), ("job_queued", "finish"), "{types:?}");
    let said = events.iter().find(|event| event["event_type"] == "message_complete").unwrap();
    assert_eq!(
        (&said["role"], &said["content"], &said["message_id"]),
        (&json!("user"), &json!("fail"), &json!("demo-2"))
    );
    assert!(events.iter().all(|event| event["timestamp"].is_f64() && event["session_id"] == "demo"));
    assert_eq!(events.last().unwrap()["status"], "error");

    let again = client.stream("GET", &format!("{app}/stream-continue"), Value::Null).await;
    assert_eq!(again, events, "without a time, everything");
    for (at, event) in events.iter().enumerate() {
        let since = format!("{app}/stream-continue?since_timestamp={}", event["timestamp"]);
        let rest = client.stream("GET", &since, Value::Null).await;
        let expected: Vec<_> =
            events.iter().filter(|later| later["timestamp"].as_f64() > event["timestamp"].as_f64()).collect();
        assert_eq!(rest.iter().collect::<Vec<_>>(), expected, "after number {at}");
    }
    let history = client.get(&format!("{app}/history?limit=1000")).await;
    let message = &history["messages"][0];
    assert_eq!(
        (&message["role"], &message["content"], &message["send_to"]),
        (&json!("user"), &json!("fail"), &json!([]))
    );
    assert_eq!((&message["message_id"], &message["timestamp"]), (&said["message_id"], &said["timestamp"]));

    let job = events[0]["run_id"].as_str().unwrap();
    assert_eq!(client.get(&format!("{app}/tasks/{job}")).await["status"], "failed");
    let (status, _, stopped) = client.ask("POST", &format!("{app}/stop"), Value::Null).await;
    assert_eq!((status, &stopped), (200, &json!({ "success": true, "exited": true })), "nothing runs");
    let mut waiting = Value::Null;
    for _ in 0..2 {
        waiting =
            client.ask("POST", "/api/sessions/demo/jobs", json!({ "prompt": "x" })).await.2["job_id"].clone();
    }
    let (_, _, stopped) = client.ask("POST", &format!("{app}/stop"), Value::Null).await;
    assert_eq!(stopped["success"], true);
    assert_eq!(
        client.get(&format!("{app}/tasks/{}", waiting.as_str().unwrap())).await["status"],
        "cancelled"
    );
    let refused = client.ask("POST", &format!("{app}/generate"), json!({ "prompt": "" })).await;
    assert_eq!((refused.0, &*refused.1), (422, "validation"));
}

#[tokio::test]
async fn what_does_not_exist_here_says_so() {
    let client = Client::sign_in().await;
    client
        .ask("POST", "/api/sessions", json!({ "session_id": "demo", "name": "x", "framework": "nextjs" }))
        .await;
    for (method, path, word) in [
        ("POST", "dev/start", "development server"),
        ("POST", "dev/stop", "development server"),
        ("GET", "dev/status", "development server"),
        ("GET", "dev/server/logs?tail=100", "development server"),
        ("POST", "prod/build", "deployed"),
        ("POST", "prod/deploy", "deployed"),
        ("POST", "prod/stop", "deployed"),
        ("GET", "prod/status", "deployed"),
        ("GET", "logs?target=dev&tail=100", "logs"),
        ("GET", "database/collections", "database"),
        ("POST", "database/query", "database"),
    ] {
        let (status, code, problem) =
            client.ask(method, &format!("/api/apps/demo/{path}"), Value::Null).await;
        assert_eq!((status, &*code), (404, "not-found"), "{method} {path}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{method} {path}: {problem}");
    }
}

#[tokio::test]
async fn nothing_under_the_prefix_answers_without_a_token() {
    let server = test_server().await;
    for path in
        ["/original/api/sessions", "/original/api/apps/demo/agent/history", "/original/api/admin/users"]
    {
        let (status, code, _) = server.code(http::Request::get(path), Body::empty()).await;
        assert_eq!((status, &*code), (401, "unauthorized"), "{path}");
    }
    let user = server.user("bert", &[]).await;
    let token = server.api_token(&user, "read").await;
    let (_, code, _) = server.code(ask_as(&token, "GET", "/original/api/admin/users"), Body::empty()).await;
    assert_eq!(code, "forbidden");
    let (status, _, page) = server.get("/api/sessions").await;
    assert_eq!((status, page["sessions"].is_array()), (200, true), "elsewhere the shapes are this API's own");
}
