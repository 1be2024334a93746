//! Every reader of a session is given the same encoded bytes.

use super::*;
use crate::testing::server::test_server;
use serde_json::json;

#[tokio::test]
async fn every_reader_is_given_the_same_bytes() {
    let server = test_server().await;
    server.post("/api/sessions", json!({ "session_id": "demo" })).await;
    let tail = Tail::start(
        server.scheduler.log().clone(),
        "demo".parse().unwrap(),
        Head::default(),
        FrameForm::Nested,
    );
    assert_eq!(tail.after(0, 9), Found::Nothing { finished: false });
    server.post("/api/sessions/demo/jobs", json!({ "prompt": "fail" })).await;
    let last = tail.edge().wait_for(|edge| edge.finished).await.unwrap().seq;
    let part = |after| match tail.after(after, 256) {
        Found::Part(part) => part,
        other => panic!("{other:?}"),
    };
    assert_eq!(part(0).bytes.as_ptr(), part(0).bytes.as_ptr(), "encoded once");
    let mut after = 0;
    while after < last {
        after = part(after).last;
    }
    assert_eq!(tail.after(last, 9), Found::Nothing { finished: true });
}
