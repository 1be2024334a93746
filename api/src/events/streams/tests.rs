//! Streams are counted per session, per user and in all, and forgotten when they close.

use super::*;
use crate::testing::server::test_server;

#[tokio::test]
async fn a_closed_stream_makes_room() {
    let server = test_server().await;
    let streams = Streams::new(StreamBounds { per_session: 2, per_user: 3, in_all: 3 });
    let open =
        |session| streams.open(session, "ann", server.scheduler.log(), Head::default(), FrameForm::Nested);
    let [a, b]: [SessionId; 2] = ["a", "b"].map(|id| id.parse().unwrap());
    let first = open(&a).unwrap();
    let _second = open(&a).unwrap();
    assert_eq!(open(&a).unwrap_err().slug(), Slug::TooManyStreams);
    let third = open(&b).unwrap();
    assert_eq!(open(&b).unwrap_err().slug(), Slug::TooManyStreams, "three in all");
    drop((first, third));
    let _fourth = open(&a).unwrap();
    assert_eq!(streams.open.lock().unwrap().sessions.len(), 1, "nothing is kept of closed streams");
}

#[tokio::test]
async fn one_user_leaves_room_for_the_others() {
    let server = test_server().await;
    let streams = Streams::new(StreamBounds { per_session: 9, per_user: 2, in_all: 9 });
    let session = "a".parse().unwrap();
    let open =
        |user| streams.open(&session, user, server.scheduler.log(), Head::default(), FrameForm::Nested);
    let first = open("ann").unwrap();
    let _second = open("ann").unwrap();
    assert_eq!(open("ann").unwrap_err().slug(), Slug::TooManyStreams);
    let bert = open("bert").unwrap();
    drop(first);
    let _third = open("ann").unwrap();
    drop(bert);
    assert_eq!(streams.open.lock().unwrap().users.len(), 1, "users without streams are forgotten");
}
