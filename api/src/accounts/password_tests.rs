//! Users change their own password at `/api/me/password`.

use axum::http::header;
use serde_json::{Value, json};

use crate::testing::server::{PASSWORD, TestServer, ask, ask_as, test_server};

const NEW: &str = "four small boats drift";

async fn change(server: &TestServer, token: &str, body: Value) -> (u16, Value) {
    let request = ask_as(token, "POST", "/api/me/password").header(header::CONTENT_TYPE, "application/json");
    let (status, _, problem) = server.code(request, body.to_string()).await;
    (status, problem)
}

#[tokio::test]
async fn a_user_who_is_no_administrator_changes_the_own_password() {
    let server = test_server().await;
    let anna = server.user("anna", &[]).await;
    let (writes, reads) = (server.api_token(&anna, "write").await, server.api_token(&anna, "read").await);
    let right = json!({ "current_password": PASSWORD, "password": NEW });
    assert_eq!(change(&server, &reads, right.clone()).await.0, 403, "it is a change");
    for (body, pointer) in [
        (json!({ "current_password": "wrong", "password": NEW }), "/current_password"),
        (json!({ "current_password": "", "password": NEW }), "/current_password"),
        (json!({ "current_password": PASSWORD, "password": "short" }), "/password"),
        (json!({ "current_password": PASSWORD, "password": "passwordpassword" }), "/password"),
    ] {
        let (status, problem) = change(&server, &writes, body).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{problem}");
        assert!(!problem.to_string().contains(PASSWORD), "{problem}");
    }
    assert_eq!(
        change(&server, &writes, json!({ "password": NEW })).await.0,
        422,
        "the current one is needed"
    );
    assert_eq!(change(&server, &writes, right.clone()).await.0, 204);
    let from = [127, 0, 0, 9].into();
    assert!(server.provider.check_password("anna", &NEW.into(), from).await.is_ok());
    assert!(server.provider.check_password("anna", &PASSWORD.into(), from).await.is_err());
    let (status, problem) = change(&server, &writes, right).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/current_password")));
    let (_, _, log) = server.get("/api/admin/audit?limit=10").await;
    assert!(log.to_string().contains("password_set") && !log.to_string().contains(NEW), "{log}");
}

#[tokio::test]
async fn guesses_of_the_current_password_are_throttled_and_no_request_is_kept() {
    let server = test_server().await;
    let anna = server.user("anna", &[]).await;
    let token = server.api_token(&anna, "write").await;
    for _ in 0..5 {
        let guess = json!({ "current_password": "a guess", "password": NEW });
        assert_eq!(change(&server, &token, guess).await.0, 422);
    }
    let right = json!({ "current_password": PASSWORD, "password": NEW });
    let (status, problem) = change(&server, &token, right.clone()).await;
    assert_eq!((status, &problem["code"]), (429, &json!("too-many-sign-ins")));
    assert!(problem["retry_after_ms"].as_u64() > Some(50_000), "{problem}");
    let keyed = ask("POST", "/api/me/password").header("content-type", "application/json");
    let keyed = keyed.header("idempotency-key", "once");
    assert_eq!(server.code(keyed, right.to_string()).await.1, "invalid-idempotency-key");
}
