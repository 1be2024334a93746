//! An event stream ends when the credential that opened it is revoked or loses a right.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use mgx_oauth2::User;
use serde_json::json;
use tokio::time::Instant;

use super::stream_access::RECHECK_INTERVAL;
use crate::events::event_view::PING;
use crate::testing::server::{TestServer, ask, ask_as, test_server};

const EVENTS: &str = "/api/sessions/demo/events?follow=true";

/// How long the stream `body` stays open; at most a minute.
async fn open_for(body: &mut Body) -> Duration {
    let begin = Instant::now();
    while let Some(frame) = body.frame().await {
        let frame = frame.unwrap().into_data().unwrap();
        if frame == PING && begin.elapsed() > Duration::from_secs(55) {
            break;
        }
    }
    begin.elapsed()
}

async fn anna(server: &TestServer) -> (User, String) {
    let anna = server.user("anna", &[]).await;
    let token = server.api_token(&anna, "read write").await;
    let make = ask_as(&token, "POST", "/api/sessions").header("content-type", "application/json");
    assert_eq!(server.code(make, json!({ "session_id": "demo" }).to_string()).await.0, 201);
    (anna, token)
}

#[tokio::test]
async fn a_stream_ends_when_its_reader_loses_a_right() {
    let server = test_server().await;
    let boss = server.user("boss", &["admin"]).await;
    let token = server.api_token(&boss, "read admin").await;
    anna(&server).await;
    let answer = server.send(ask_as(&token, "GET", EVENTS), Body::empty()).await;
    assert_eq!(answer.status(), 200, "an administrator sees all sessions");
    let user = User { groups: std::collections::BTreeSet::new(), ..boss };
    server.provider.administration(None).change_user(&user).await.unwrap();
    tokio::time::pause();
    assert!(open_for(&mut answer.into_body()).await <= RECHECK_INTERVAL + Duration::from_secs(1));
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_revoked_and_no_other_does() {
    let server = test_server().await;
    let (anna, token) = anna(&server).await;
    let other = server.api_token(&anna, "read").await;
    let mut open = Vec::new();
    for request in [ask_as(&token, "GET", EVENTS), ask_as(&other, "GET", EVENTS), ask("GET", EVENTS)] {
        let answer = server.send(request, Body::empty()).await;
        assert_eq!(answer.status(), 200);
        open.push(answer.into_body());
    }
    let revoked = server.provider.api_token(&token).await.unwrap().unwrap().1;
    server.provider.administration(None).remove_api_token(anna.id, revoked.id).await.unwrap();
    tokio::time::pause();
    assert!(open_for(&mut open[0]).await <= RECHECK_INTERVAL + Duration::from_secs(1));
    assert!(open_for(&mut open[1]).await >= Duration::from_secs(55), "another token of hers");
    // the store writes in real time
    tokio::time::resume();
    let disabled = User { disabled: true, ..anna };
    server.provider.administration(None).change_user(&disabled).await.unwrap();
    tokio::time::pause();
    assert!(open_for(&mut open[1]).await <= RECHECK_INTERVAL + Duration::from_secs(1), "but she is disabled");
    assert!(open_for(&mut open[2]).await >= Duration::from_secs(55), "the administrator's");
}
