//! The accept loop, with connections as clients and attackers make them.

use super::*;
use axum::body::Body;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A server with short timeouts, and its address.
pub(super) async fn start(
    change: impl FnOnce(&mut ServeConfig),
) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/who", get(async |ConnectInfo(from): ConnectInfo<SocketAddr>| from.ip().to_string()))
        .route(
            "/endless",
            get(async || {
                let chunk = axum::body::Bytes::from(vec![b'x'; 65536]);
                Body::from_stream(futures_util::stream::repeat_with(move || {
                    Ok::<_, Infallible>(chunk.clone())
                }))
            }),
        )
        .route(
            "/stream",
            get(async || {
                let chunks = ["retry: 1000\n", "id: 1\n\n"].map(Ok::<_, Infallible>);
                Body::from_stream(futures_util::stream::iter(chunks))
            }),
        )
        .route("/never", get(async || std::future::pending::<()>().await));
    let mut config = ServeConfig::standard();
    config.timeouts = ConnectionTimeouts {
        head: Duration::from_secs(1),
        idle: Duration::from_mins(1),
        stalled: Duration::from_secs(1),
    };
    change(&mut config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve(listener, router, shutdown.clone(), config));
    (address, shutdown, server)
}

/// All that comes until the server closes, at most 10 s.
async fn rest(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut bytes)).await;
    read.expect("the server closes").ok();
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn one_answer(socket: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with("hello") {
        let mut byte = [0; 512];
        let count = socket.read(&mut byte).await.unwrap();
        assert!(count > 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&byte[..count]).unwrap());
    }
    text
}

#[tokio::test]
async fn a_connection_answers_and_waits_for_the_next_request() {
    let (address, _shutdown, _server) = start(|_| {}).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    for _ in 0..2 {
        socket.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(one_answer(&mut socket).await.starts_with("HTTP/1.1 200"));
        // longer than a head may take: between requests the idle timeout counts
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
}

#[tokio::test]
async fn a_head_that_drips_is_cut() {
    let (address, _shutdown, _server) = start(|_| {}).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    one_answer(&mut second).await;
    for socket in [&mut first, &mut second] {
        let drip = async {
            while socket.write_all(b"G").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), drip).await.expect("a byte now and then buys no time");
    }
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut() {
    let (address, shutdown, server) = start(|config| config.drain = Duration::from_mins(1)).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    socket.readable().await.unwrap();
    shutdown.cancel();
    // the endless answer would hold up the shutdown for a minute
    tokio::time::timeout(Duration::from_secs(10), server)
        .await
        .expect("the stalled connection is cut")
        .unwrap();
}

#[tokio::test]
async fn one_address_cannot_take_every_connection() {
    let (address, _shutdown, _server) = start(|config| config.max_per_ip = 2).await;
    let mut sockets = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        one_answer(&mut socket).await;
        sockets.push(socket);
    }
    assert_eq!(rest(&mut TcpStream::connect(address).await.unwrap()).await, "");
    let mut left = sockets.pop().unwrap();
    left.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(rest(&mut left).await.ends_with("hello"));
    // the server notices the end on its own time: until then it refuses
    for _ in 0..100 {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ok();
        if rest(&mut socket).await.ends_with("hello") {
            return;
        }
    }
    panic!("a closed connection makes no room for another");
}

#[tokio::test]
async fn a_proxy_may_take_every_connection_and_its_forwarded_address_is_used() {
    let (address, _shutdown, _server) = start(|config| {
        config.max_per_ip = 1;
        config.proxies = "127.0.0.1".parse().unwrap();
    })
    .await;
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    one_answer(&mut first).await;
    let mut second = TcpStream::connect(address).await.unwrap();
    let head = "GET /who HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 203.0.113.5\r\nconnection: close\r\n\r\n";
    second.write_all(head.as_bytes()).await.unwrap();
    assert!(rest(&mut second).await.ends_with("203.0.113.5"));
}

#[tokio::test]
async fn a_proxy_that_is_not_trusted_is_noted_once() {
    let dir = tempfile::tempdir().unwrap();
    let note = dir.path().join("note");
    let (address, _shutdown, _server) = start(|config| config.note = Some(note.clone())).await;
    let ask = async |fields: &str| {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = format!("GET /who HTTP/1.1\r\nhost: x\r\n{fields}connection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        rest(&mut socket).await
    };
    ask("").await;
    assert!(!note.exists());
    assert!(ask("x-forwarded-for: 203.0.113.5\r\n").await.ends_with("127.0.0.1"), "it is not believed");
    assert_eq!(std::fs::read_to_string(&note).unwrap(), "127.0.0.1");
    std::fs::remove_file(&note).unwrap();
    ask("x-forwarded-for: 203.0.113.5\r\n").await;
    assert!(!note.exists(), "once");
}

#[tokio::test]
async fn an_old_client_gets_a_stream_without_chunks() {
    let (address, _shutdown, _server) = start(|_| {}).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET /stream HTTP/1.0\r\n\r\n").await.unwrap();
    let text = rest(&mut socket).await.to_ascii_lowercase();
    assert!(text.ends_with("\r\n\r\nretry: 1000\nid: 1\n\n"), "{text}");
    assert!(!text.contains("transfer-encoding"), "{text}");
}

#[tokio::test]
async fn too_large_a_head_is_refused() {
    let (address, _shutdown, _server) = start(|_| {}).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(101));
    socket.write_all(head.as_bytes()).await.unwrap();
    assert!(rest(&mut socket).await.starts_with("HTTP/1.1 431"));
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "b".repeat(33 * 1024));
    socket.write_all(head.as_bytes()).await.ok();
    assert!(rest(&mut socket).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn a_connection_during_the_shutdown_is_answered_once() {
    let (address, shutdown, server) = start(|config| config.drain = Duration::from_secs(2)).await;
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    one_answer(&mut idle).await;
    shutdown.cancel();
    assert_eq!(rest(&mut idle).await, "", "an idle connection is closed");
    let mut late = TcpStream::connect(address).await.unwrap();
    late.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let answer = rest(&mut late).await.to_ascii_lowercase();
    assert!(answer.contains("connection: close") && answer.ends_with("hello"), "{answer}");
    tokio::time::timeout(Duration::from_secs(10), server).await.expect("it ends").unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "and then the port is closed");
}

#[tokio::test]
async fn an_answer_that_never_ends_does_not_hold_up_the_shutdown() {
    let (address, shutdown, server) = start(|config| config.drain = Duration::from_millis(200)).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    one_answer(&mut idle).await;
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(10), server).await.expect("it ends").unwrap();
}
