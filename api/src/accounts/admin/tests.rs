//! Accounts, as an administrator changes them through the API.

use axum::body::Body;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::testing::server::{TestServer, ask, ask_as, test_server};

async fn put(server: &TestServer, path: &str, body: Value) -> (u16, String, Value) {
    server.code(ask("PUT", path).header("content-type", "application/json"), body.to_string()).await
}

async fn delete(server: &TestServer, path: &str) -> u16 {
    server.code(ask("DELETE", path), Body::empty()).await.0
}

#[tokio::test]
async fn a_user_is_added_found_changed_and_disabled() {
    let server = test_server().await;
    let (status, _, anna) = server.post("/api/admin/users", json!({ "name": "anna" })).await;
    assert_eq!((status, &anna["display_name"]), (201, &json!("anna")));
    assert!(anna["password"].as_str().unwrap().len() >= 22, "a random password is shown once: {anna}");
    let (status, code, _) = server.post("/api/admin/users", json!({ "name": "anna" })).await;
    assert_eq!((status, &*code), (409, "conflict"));
    let (_, _, found) = server.get("/api/admin/users/anna").await;
    assert_eq!((&found["id"], &found["password"]), (&anna["id"], &Value::Null));

    let chosen = json!({ "name": "bert", "display_name": "Bert B.", "groups": ["admin"], "password": "nine red lamps glow" });
    let (status, _, bert) = server.post("/api/admin/users", chosen).await;
    assert_eq!((status, &bert["password"]), (201, &Value::Null), "a chosen password is not shown");
    let (_, _, page) = server.get("/api/admin/users?limit=1").await;
    assert_eq!((&page["users"][0]["name"], &page["next"]), (&json!("anna"), &json!("anna")));
    let (_, _, page) = server.get("/api/admin/users?cursor=anna").await;
    assert_eq!((&page["users"][0]["name"], &page["next"]), (&json!("bert"), &Value::Null));

    let (status, _, anna) =
        put(&server, "/api/admin/users/anna", json!({ "email": "a@b.example", "groups": ["crew"] })).await;
    assert_eq!((status, &anna["email"], &anna["groups"]), (200, &json!("a@b.example"), &json!(["crew"])));
    let (_, _, anna) = put(&server, "/api/admin/users/anna", json!({ "disabled": true, "email": "" })).await;
    assert_eq!(
        (&anna["disabled"], &anna["email"], &anna["groups"]),
        (&json!(true), &Value::Null, &json!(["crew"]))
    );
    let (status, _, given) = server.post("/api/admin/users/anna/password", json!({})).await;
    assert!(status == 200 && given["password"].is_string(), "{given}");
    for (path, body, pointer) in [
        ("/api/admin/users", json!({ "name": "Änna" }), "/name"),
        ("/api/admin/users", json!({ "name": "carl", "password": "short" }), "/password"),
        ("/api/admin/users", json!({ "name": "carl", "groups": ["a b"] }), "/groups"),
        ("/api/admin/users", json!({ "name": "carl", "display_name": "a\nb" }), "/display_name"),
        ("/api/admin/users/anna/password", json!({ "password": "passwordpassword" }), "/password"),
    ] {
        let (status, code, problem) = server.post(path, body).await;
        assert_eq!((status, &*code, &problem["errors"][0]["pointer"]), (422, "validation", &json!(pointer)));
    }
    assert_eq!(server.get("/api/admin/users/nobody").await.0, 404);
    assert_eq!(server.get("/api/admin/users/..%2fx").await.0, 404);
    assert_eq!(server.get("/api/admin/users/nobody/browsers").await.0, 404);
}

#[tokio::test]
async fn an_administrator_vouches_for_an_address_and_for_no_other() {
    let server = test_server().await;
    let put = async |body: Value| {
        let (status, _, shown) = put(&server, "/api/admin/users/anna", body).await;
        (status, shown)
    };
    let new = json!({ "name": "anna", "email": "anna@example.org" });
    assert_eq!(server.post("/api/admin/users", new).await.2["email_verified"], false);
    assert_eq!(put(json!({ "email_verified": true })).await.1["email_verified"], true);
    assert_eq!(put(json!({ "display_name": "Anna" })).await.1["email_verified"], true, "it stays");
    assert_eq!(put(json!({ "email": "anna@example.org" })).await.1["email_verified"], true, "the same");
    assert_eq!(put(json!({ "email": "a@example.org" })).await.1["email_verified"], false, "another address");
    let both = json!({ "email": "b@example.org", "email_verified": true });
    assert_eq!(put(both).await.1["email_verified"], true);
    assert_eq!(put(json!({ "email": "" })).await.1["email_verified"], false);
    let (status, problem) = put(json!({ "email_verified": true })).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/email_verified")));
    let new = json!({ "name": "bert", "email": "bert@example.org", "email_verified": true });
    assert_eq!(server.post("/api/admin/users", new).await.2["email_verified"], true);
    let new = json!({ "name": "carl", "email_verified": true });
    assert_eq!(server.post("/api/admin/users", new).await.0, 422);
}

#[tokio::test]
async fn a_client_is_registered_and_its_secret_shown_once() {
    let server = test_server().await;
    let new = json!({ "client_id": "reports", "name": "Reports", "confidential": true,
        "redirect_uris": ["https://reports.example/callback"] });
    let (status, _, made) = server.post("/api/admin/clients", new.clone()).await;
    assert_eq!((status, &made["audience"]), (201, &json!("reports")), "{made}");
    assert_eq!(made["scope"], "email offline_access openid profile", "what clients ask for as they come");
    assert_eq!(made["id_token_signed_response_alg"], "RS256");
    let secret = made["client_secret"].as_str().unwrap();
    assert!(secret.starts_with("mgx_cs_"), "{secret}");
    assert_eq!(server.post("/api/admin/clients", new).await.1, "conflict");
    let (_, _, found) = server.get("/api/admin/clients/reports").await;
    assert_eq!(
        (&found["client_secret"], &found["grant_types"][0]),
        (&Value::Null, &json!("authorization_code"))
    );
    let (_, _, renewed) = server.post("/api/admin/clients/reports/secret", json!({})).await;
    assert_ne!(renewed["client_secret"].as_str().unwrap(), secret);
    for (body, pointer) in [
        (json!({ "name": "x", "grant_types": ["password"] }), "/grant_types"),
        (json!({ "name": "x", "client_id": "a b" }), "/client_id"),
        (json!({ "name": "x", "client_id": "app-demo" }), "/client_id"),
        (json!({ "name": "x", "redirect_uris": ["https://*.example/"] }), "/redirect_uris"),
        (json!({ "name": "x", "redirect_uris": ["https://a.example/"], "scope": "ä" }), "/scope"),
        (json!({ "name": "x" }), ""),
        (json!({ "name": "x", "id_token_signed_response_alg": "HS256" }), "/id_token_signed_response_alg"),
    ] {
        let (status, _, problem) = server.post("/api/admin/clients", body).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{problem}");
    }
    let short = json!({ "client_id": "short", "name": "Short", "redirect_uris": ["https://a.example/"],
        "id_token_signed_response_alg": "ES256" });
    assert_eq!(server.post("/api/admin/clients", short).await.2["id_token_signed_response_alg"], "ES256");
    assert_eq!(delete(&server, "/api/admin/clients/reports").await, 204);
    assert_eq!(delete(&server, "/api/admin/clients/reports").await, 404);
    let (_, _, log) = server.get("/api/admin/audit?limit=1").await;
    assert_eq!(
        (&log["entries"][0]["event"], &log["entries"][0]["client"], &log["entries"][0]["by"]),
        (&json!("client_removed"), &json!("reports"), &json!("admin"))
    );
    let (_, _, older) = server.get(&format!("/api/admin/audit?cursor={}", log["next"])).await;
    assert!(
        older["entries"].as_array().unwrap().iter().all(|entry| entry["event"] != "client_removed"),
        "{older}"
    );
    assert!(!format!("{log}{older}").contains("mgx_cs_"), "no secret is in the log");
}

#[tokio::test]
async fn a_client_is_changed_and_keeps_its_secret() {
    let server = test_server().await;
    let new = json!({ "client_id": "reports", "name": "Reports", "confidential": true,
        "redirect_uris": ["https://reports.example/callback"] });
    let (_, _, made) = server.post("/api/admin/clients", new).await;
    let patch = async |id: &str, body: Value| {
        let request = ask("PATCH", &format!("/api/admin/clients/{id}"));
        let request = request.header("content-type", "application/json");
        let (status, _, shown) = server.code(request, body.to_string()).await;
        (status, shown)
    };
    let both = json!(["https://reports.example/callback", "myapp://callback"]);
    let change =
        json!({ "redirect_uris": both, "post_logout_redirect_uris": ["https://reports.example/bye"] });
    let (status, shown) = patch("reports", change).await;
    assert_eq!((status, &shown["redirect_uris"]), (200, &both), "{shown}");
    let (_, shown) = patch(
        "reports",
        json!({ "name": "The reports", "scope": "openid read",
        "audience": "mgx", "id_token_signed_response_alg": "ES256", "grant_types": ["authorization_code"] }),
    )
    .await;
    let mut expected = made.clone();
    for (name, value) in [
        ("name", json!("The reports")),
        ("redirect_uris", both),
        ("post_logout_redirect_uris", json!(["https://reports.example/bye"])),
        ("scope", json!("openid read")),
        ("audience", json!("mgx")),
        ("id_token_signed_response_alg", json!("ES256")),
        ("grant_types", json!(["authorization_code"])),
    ] {
        expected[name] = value;
    }
    expected.as_object_mut().unwrap().remove("client_secret");
    assert_eq!(shown, expected);
    assert_eq!(patch("reports", json!({})).await, (200, expected.clone()), "nothing is changed");
    let stored = server.provider.client(&"reports".parse().unwrap()).await.unwrap().unwrap();
    assert!(stored.proves(made["client_secret"].as_str().unwrap()));
    for (body, pointer) in [
        (json!({ "redirect_uris": ["javascript://x"] }), "/redirect_uris"),
        (json!({ "redirect_uris": [] }), ""),
        (json!({ "redirect_uris": vec!["https://a.example/"; 33] }), "/redirect_uris"),
        (json!({ "grant_types": ["password"] }), "/grant_types"),
        (json!({ "scope": "ä" }), "/scope"),
        (json!({ "id_token_signed_response_alg": "none" }), "/id_token_signed_response_alg"),
        (json!({ "name": "" }), ""),
    ] {
        let (status, problem) = patch("reports", body).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{problem}");
    }
    assert_eq!(patch("reports", json!({ "client_id": "other" })).await.0, 422, "the id is for ever");
    assert_eq!(server.get("/api/admin/clients/reports").await.2, expected, "what is refused changes nothing");
    assert_eq!(patch("nobody", json!({})).await.0, 404);
    let (_, _, log) = server.get("/api/admin/audit?limit=1").await;
    assert_eq!(
        (&log["entries"][0]["event"], &log["entries"][0]["by"]),
        (&json!("client_changed"), &json!("admin"))
    );
    server.post("/api/sessions", json!({ "session_id": "shop" })).await;
    assert_eq!(patch("app-shop", json!({ "name": "x" })).await.0, 409, "it is registered with its session");
}

#[tokio::test]
async fn an_api_token_gives_no_more_than_it_was_asked_with() {
    let server = test_server().await;
    let anna = server.user("anna", &[]).await;
    let writes = server.api_token(&anna, "read write").await;
    let asked = async |token: &str, query: &str, body: Value| {
        let request = ask_as(token, "POST", &format!("/api/tokens{query}"));
        server.code(request.header("content-type", "application/json"), body.to_string()).await
    };
    let (status, _, made) = asked(&writes, "", json!({ "name": "ci", "scope": "read" })).await;
    assert_eq!((status, &made["scope"]), (201, &json!("read")));
    let (_, _, me) =
        server.code(ask_as(made["token"].as_str().unwrap(), "GET", "/api/me"), Body::empty()).await;
    assert_eq!(me, json!({ "user": "anna", "scopes": ["read"], "is_admin": false }));
    for scope in ["read admin", "admin", "openid", "", "read\twrite"] {
        let (status, _, problem) = asked(&writes, "", json!({ "name": "ci", "scope": scope })).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/scope")), "{scope}");
    }
    let past = json!({ "name": "ci", "scope": "read", "expires_at": "2020-01-01T00:00:00Z" });
    assert_eq!(asked(&writes, "", past).await.0, 422);
    // an administrator sees other users' tokens
    server.user("bert", &[]).await;
    assert_eq!(asked(&writes, "?user=bert", json!({ "name": "ci", "scope": "read" })).await.0, 404);
    let (status, _, berts) =
        server.post("/api/tokens?user=bert", json!({ "name": "ci", "scope": "read" })).await;
    assert_eq!(status, 201, "{berts}");
    let (_, _, list) = server.get("/api/tokens?user=anna").await;
    assert_eq!((list["tokens"].as_array().unwrap().len(), &list["tokens"][0]["token"]), (2, &Value::Null));
    let id = list["tokens"][0]["id"].as_str().unwrap();
    assert_eq!(delete(&server, &format!("/api/tokens/{id}?user=anna")).await, 204);
    // an answer with a secret is not kept, so it cannot be given again
    let keyed = ask("POST", "/api/tokens?user=bert").header("content-type", "application/json");
    let keyed = keyed.header("idempotency-key", "once");
    let (status, code, _) = server.code(keyed, json!({ "name": "ci", "scope": "read" }).to_string()).await;
    assert_eq!((status, &*code), (400, "invalid-idempotency-key"));
}

#[tokio::test]
async fn an_app_is_a_client_as_long_as_its_session_is_there() {
    let server = test_server().await;
    let made = json!({ "session_id": "shop", "name": "Teapots", "prompt": "fail" });
    let (status, _, shown) = server.post("/api/sessions", made).await;
    assert_eq!(status, 201, "{shown}");
    let (_, _, client) = server.get("/api/admin/clients/app-shop").await;
    assert_eq!(
        (&client["name"], &client["audience"], &client["first_party"]),
        (&json!("Teapots"), &json!("app-shop"), &json!(false))
    );
    assert_eq!(client["redirect_uris"][0], "http://127.0.0.1:8765/apps/shop/dev/auth/callback");
    // its containers get this secret, and no route shows it
    let session = server.sessions.get(&"shop".parse().unwrap(), None).await.unwrap();
    let app = crate::testing::server::identities().client(&session);
    let id = app.id.parse().unwrap();
    assert!(server.provider.client(&id).await.unwrap().unwrap().proves(app.secret.expose_secret()));
    for path in ["/api/sessions/shop", "/api/sessions/shop/jobs", "/api/admin/clients", "/api/admin/audit"] {
        let (_, _, shown) = server.get(path).await;
        assert!(!shown.to_string().contains("mgx_cs_"), "{path}: {shown}");
    }
    let mut bell = server.scheduler.log().subscribe(&session.id);
    while server.scheduler.log().head(&session.id).await.unwrap().live_jobs > 0 {
        bell.changed().await.unwrap();
    }
    assert_eq!(delete(&server, "/api/sessions/shop").await, 204);
    assert_eq!(server.get("/api/admin/clients/app-shop").await.0, 404);
    // a session of the same id is another one, with another secret
    server.post("/api/sessions", json!({ "session_id": "shop" })).await;
    let again = server.provider.client(&id).await.unwrap().unwrap();
    assert!(!again.proves(app.secret.expose_secret()));
}
