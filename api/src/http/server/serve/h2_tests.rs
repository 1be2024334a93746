//! HTTP/2 with prior knowledge: requests side by side on one connection, within the same limits.

use std::time::Instant;

use axum::body::Body;
use axum::http::{Request, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::client::conn::http2::{SendRequest, handshake};

use super::tests::start;
use super::*;
use crate::testing::server::{ask, test_server};
use crate::testing::socket::listen;

async fn connect(address: SocketAddr) -> (SendRequest<Body>, tokio::task::JoinHandle<()>) {
    let socket = TcpStream::connect(address).await.unwrap();
    let (client, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    (client, tokio::spawn(async move { drop(connection.await) }))
}

fn get(path: &str) -> Request<Body> {
    Request::get(format!("http://a.example{path}")).body(Body::empty()).unwrap()
}

async fn text(answer: hyper::Response<Incoming>) -> String {
    String::from_utf8_lossy(&answer.into_body().collect().await.unwrap().to_bytes()).into_owned()
}

#[tokio::test]
async fn requests_are_answered_side_by_side() {
    let (address, _shutdown, _server) = start(|config| config.proxies = "127.0.0.1".parse().unwrap()).await;
    let (mut client, _connection) = connect(address).await;
    let never = client.send_request(get("/never"));
    tokio::pin!(never);
    let mut who = get("/who");
    who.headers_mut().insert("x-forwarded-for", "203.0.113.5".parse().unwrap());
    let answer = tokio::select! {
        _ = &mut never => panic!("it never answers"),
        answer = client.clone().send_request(who) => answer.unwrap(),
    };
    assert_eq!((answer.version(), answer.status()), (Version::HTTP_2, StatusCode::OK));
    assert_eq!(text(answer).await, "203.0.113.5");
    // longer than a head may take
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(text(client.clone().send_request(get("/")).await.unwrap()).await, "hello");
}

#[tokio::test]
async fn seven_event_streams_and_a_request_share_a_connection() {
    let server = test_server().await;
    server.finished_session().await;
    let (mut client, _connection) = connect(listen(&server).await).await;
    let mut streams = Vec::new();
    for _ in 0..7 {
        let (parts, ()) = ask("GET", "http://a.example/api/sessions/demo/events?follow=true")
            .body(())
            .unwrap()
            .into_parts();
        streams.push(client.send_request(Request::from_parts(parts, Body::empty())).await.unwrap());
    }
    for stream in &mut streams {
        let frame = stream.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(frame.starts_with(b"retry: 1000\n"));
    }
    let answer = client.send_request(get("/healthz")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(!answer.headers().contains_key("connection"));
    let two_hosts =
        Request::get("http://a.example/healthz").header("host", "b.example").body(Body::empty()).unwrap();
    assert_eq!(client.send_request(two_hosts).await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_answer_that_is_not_taken_ends_the_connection() {
    let (address, _shutdown, _server) = start(|_| {}).await;
    let (mut client, connection) = connect(address).await;
    let endless = client.send_request(get("/endless")).await.unwrap();
    let begun = Instant::now();
    tokio::time::timeout(Duration::from_secs(10), connection).await.expect("the connection is cut").unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    drop(endless);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let (address, _shutdown, _server) = start(|config| config.timeouts.idle = Duration::from_secs(1)).await;
    let (mut client, connection) = connect(address).await;
    assert_eq!(text(client.send_request(get("/")).await.unwrap()).await, "hello");
    tokio::time::timeout(Duration::from_secs(10), connection).await.expect("it is closed").unwrap();
    // without a request, the time of a head counts
    let (_client, connection) = connect(address).await;
    tokio::time::timeout(Duration::from_secs(10), connection).await.expect("it is closed").unwrap();
}

#[tokio::test]
async fn too_large_a_head_is_refused() {
    let (address, _shutdown, _server) = start(|_| {}).await;
    let (mut client, _connection) = connect(address).await;
    let mut many = get("/");
    for number in 0..101 {
        many.headers_mut()
            .insert(axum::http::HeaderName::try_from(format!("x-{number}")).unwrap(), "1".parse().unwrap());
    }
    assert_eq!(client.send_request(many).await.unwrap().status(), 431);
    let mut large = get("/");
    large.headers_mut().insert("x-large", "a".repeat(33 * 1024).parse().unwrap());
    assert!(
        client.send_request(large).await.is_ok_and(|answer| answer.status() == 431) || client.is_closed()
    );
    let (mut client, _connection) = connect(address).await;
    assert_eq!(client.send_request(get("/")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_shutdown_ends_connections_when_their_answers_are_sent() {
    let (address, shutdown, server) = start(|_| {}).await;
    let (mut client, connection) = connect(address).await;
    assert_eq!(text(client.send_request(get("/")).await.unwrap()).await, "hello");
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(10), connection).await.expect("it is closed").unwrap();
    tokio::time::timeout(Duration::from_secs(10), server).await.expect("it ends").unwrap();
}
