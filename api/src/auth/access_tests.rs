//! Every route of the description answers for another user's resources as if they did not exist.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::testing::server::{TestServer, ask_as, test_server};

/// Routes without a resource of a user, or only with the caller's own.
const WITHOUT_OWNER: [&str; 12] = [
    "get /api/me",
    "post /api/me/password",
    "get /api/tokens",
    "post /api/tokens",
    "get /healthz",
    "get /readyz",
    "get /api/pools",
    "get /api/sessions",
    "post /api/sessions",
    "post /api/sessions:import",
    "get /api/jobs",
    "post /api/agent/generate",
];

/// Ids of resources that exist, or of none.
struct Ids {
    session: &'static str,
    job: String,
    token: String,
    workspace: &'static str,
    file: &'static str,
}

impl Ids {
    /// A route of the description with ids in it. A new kind of resource needs a branch here.
    fn fill(&self, path: &str) -> String {
        let id = if path.starts_with("/api/sessions/{id}") || path.starts_with("/api/apps/{id}") {
            self.session
        } else if path.starts_with("/api/jobs/{id}") {
            &self.job
        } else if path.starts_with("/api/workspaces/{id}/") {
            self.workspace
        } else if path.starts_with("/api/tokens/{id}") {
            &self.token
        } else {
            panic!("{path} has an id, and this test does not know its resource: add it here, with its owner")
        };
        path.replace("{id}", id).replace("{path}", self.file).replace("{task}", &self.job)
    }
}

/// A body that the route accepts.
fn body(route: &str) -> Value {
    match route {
        "post /api/sessions/{id}/jobs" | "post /api/apps/{id}/agent/generate" => json!({ "prompt": "x" }),
        "post /api/sessions/{id}/jobs:batch" => json!({ "jobs": [{ "prompt": "x" }] }),
        "put /api/workspaces/{id}/files" => json!({ "content": "x" }),
        _ => Value::Null,
    }
}

/// Every route of the description, those that remove something last, with the query that it must have.
async fn routes(server: &TestServer) -> Vec<(String, String, String)> {
    let (_, _, api) = server.code(Request::get("/openapi.json"), Body::empty()).await;
    let mut routes = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let needed =
                parameters.filter(|parameter| parameter["in"] == "query" && parameter["required"] == true);
            let query: Vec<_> = needed
                .map(|parameter| match parameter["name"].as_str().unwrap() {
                    "path" => "path=README.md",
                    name => panic!("{method} {path} needs {name}: add a value for it here"),
                })
                .collect();
            routes.push((method.clone(), path.clone(), query.join("&")));
        }
    }
    routes.sort_by_key(|(method, path, _)| {
        (method == "delete", path.contains("cancel") || path.contains("stop"), path.clone())
    });
    routes
}

/// Status, headers and body of an answer, without the request id, which differs every time.
async fn answer(
    server: &TestServer,
    token: &str,
    method: &str,
    uri: &str,
    body: &Value,
) -> (StatusCode, String, String) {
    let mut request = ask_as(token, &method.to_uppercase(), uri);
    if !body.is_null() {
        request = request.header("content-type", "application/json");
    }
    let body = if body.is_null() { Body::empty() } else { body.to_string().into() };
    let (mut head, stream) = server.send(request, body).await.into_parts();
    head.headers.remove("x-request-id");
    // a stream does not end: its status and headers are enough
    let text = if head.status == 200 && head.headers["content-type"] == "text/event-stream" {
        String::new()
    } else {
        String::from_utf8_lossy(&stream.collect().await.unwrap().to_bytes()).into_owned()
    };
    (head.status, format!("{:?}", head.headers), text)
}

#[tokio::test]
async fn every_route_hides_other_users_resources_and_no_route_is_forgotten() {
    let server = test_server().await;
    let (anna, bert) = (server.user("anna", &[]).await, server.user("bert", &["admin"]).await);
    let annas = server.api_token(&anna, "read write").await;
    // a member of `admin` whose token lacks the scope has the rights of any other user
    let berts = server.api_token(&bert, "read write").await;
    let new = json!({ "session_id": "hers", "prompt": "x" });
    let (status, _, made) = answer(&server, &annas, "post", "/api/sessions", &new).await;
    assert_eq!(status, 201, "{made}");
    let made: Value = serde_json::from_str(
        &answer(&server, &annas, "get", "/api/sessions/hers/jobs", &Value::Null).await.2,
    )
    .unwrap();
    let job = made["jobs"][0]["job_id"].as_str().unwrap().to_owned();
    let (_, _, made) =
        answer(&server, &annas, "post", "/api/tokens", &json!({ "name": "x", "scope": "read" })).await;
    let token = serde_json::from_str::<Value>(&made).unwrap()["id"].as_str().unwrap().to_owned();
    let hers = Ids { session: "hers", job, token, workspace: "hers", file: "README.md" };
    let none = "00000000-0000-7000-8000-000000000000".to_owned();
    let nothing =
        Ids { session: "nothing", job: none.clone(), token: none, workspace: "nothing", file: "README.md" };

    let mut known: BTreeSet<&str> = WITHOUT_OWNER.into();
    let mut checked = 0;
    for (method, path, query) in routes(&server).await {
        let route = format!("{method} {path}");
        if path.starts_with("/api/admin/") {
            let path = path.replace("{name}", "anna").replace("{id}", &nothing.job);
            for token in [&annas, &berts] {
                let refused = answer(&server, token, &method, &path, &Value::Null).await;
                assert_eq!(refused.0, StatusCode::FORBIDDEN, "{route} is for administrators");
            }
            continue;
        }
        if !path.contains('{') {
            assert!(
                known.remove(route.as_str()),
                "{route} is new: add it to the routes without an owner, or give it an id"
            );
            continue;
        }
        let (body, query) = (body(&route), if query.is_empty() { query } else { format!("?{query}") });
        let (there, nowhere) = (hers.fill(&path) + &query, nothing.fill(&path) + &query);
        let refused = answer(&server, &berts, &method, &there, &body).await;
        assert_eq!(refused.0, StatusCode::NOT_FOUND, "{route}: {}", refused.2);
        assert_eq!(
            refused,
            answer(&server, &berts, &method, &nowhere, &body).await,
            "{route} reveals that the resource exists"
        );
        let own = answer(&server, &annas, &method, &there, &body).await;
        assert_ne!(own.0, StatusCode::NOT_FOUND, "{route} is hidden from its owner too: {}", own.2);
        checked += 1;
    }
    assert!(known.is_empty(), "there are no such routes any more: {known:?}");
    assert!(checked >= 14, "{checked} routes are too few to be all");
}

#[tokio::test]
async fn lists_show_the_callers_resources_and_an_administrator_all() {
    let server = test_server().await;
    let (anna, bert) = (server.user("anna", &[]).await, server.user("bert", &["admin"]).await);
    let annas = server.api_token(&anna, "read write").await;
    let (status, _, text) =
        answer(&server, &annas, "post", "/api/sessions", &json!({ "session_id": "hers", "prompt": "x" }))
            .await;
    assert_eq!(status, 201, "{text}");
    assert!(text.contains(r#""user":"anna""#), "{text}");
    let berts = server.api_token(&bert, "read write").await;
    let admins = server.api_token(&bert, "read write admin").await;
    for list in ["/api/sessions", "/api/jobs", "/api/jobs?session=hers", "/api/jobs?state=queued"] {
        let shown = async |token: &str| answer(&server, token, "get", list, &Value::Null).await.2;
        assert!(!shown(&berts).await.contains("hers"), "{list}");
        if list != "/api/jobs?state=queued" {
            assert!(shown(&annas).await.contains("hers"), "{list}");
            assert!(shown(&admins).await.contains("hers"), "{list}");
        }
    }
    // ids of another user's resources in a request's body are refused too
    for (path, new) in [
        ("/api/sessions", json!({ "session_id": "hers", "prompt": "x" })),
        ("/api/sessions", json!({ "session_id": "his", "workspace_id": "hers" })),
        ("/api/agent/generate", json!({ "session_id": "hers", "prompt": "x" })),
        ("/api/agent/generate", json!({ "session_id": "his", "workspace_id": "hers", "prompt": "x" })),
    ] {
        assert_eq!(answer(&server, &berts, "post", path, &new).await.0, StatusCode::CONFLICT, "{path} {new}");
    }
    let jobs = answer(&server, &annas, "get", "/api/sessions/hers/jobs", &Value::Null).await.2;
    assert_eq!(jobs.matches("job_id").count(), 1, "{jobs}");
    // a job that an administrator submits to another user's session belongs to that user
    let (status, _, job) =
        answer(&server, &admins, "post", "/api/sessions/hers/jobs", &json!({ "prompt": "y" })).await;
    assert_eq!(status, 202, "{job}");
    let jobs = answer(&server, &annas, "get", "/api/sessions/hers/jobs", &Value::Null).await.2;
    assert_eq!(jobs.matches("job_id").count(), 2, "{jobs}");
}
