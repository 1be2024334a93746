//! Tests of the proxy on tunnels: bytes as they arrive out of a container.

use futures_util::stream;
use mgx_protocol::SlotId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::support::{ScriptedAnswer, TestProxy};
use super::*;

struct Tunnels {
    send: mpsc::Sender<(SlotId, UnixStream)>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Tunnels {
    fn of(proxy: &TestProxy, limits: TunnelLimits) -> Self {
        let (send, mut tunnels) = mpsc::channel(4);
        let tunnels = stream::poll_fn(move |cx| tunnels.poll_recv(cx));
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve_tunnels(tunnels, proxy.llm.clone(), limits, shutdown.clone()));
        Self { send, shutdown, task }
    }

    async fn open(&self, slot: &str) -> UnixStream {
        let (near, far) = UnixStream::pair().unwrap();
        self.send.send((slot.parse().unwrap(), far)).await.unwrap();
        near
    }

    async fn end(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.task).await.unwrap().unwrap();
    }
}

fn http(body: &Value) -> String {
    let body = body.to_string();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: llm\r\nauthorization: Bearer good\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

async fn all(mut stream: UnixStream) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(5), read).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_tunnel_carries_http_and_a_cut_stream_has_no_end() {
    let first = "data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\n";
    let proxy =
        TestProxy::with(vec![ScriptedAnswer::stream(&[first, DONE]), ScriptedAnswer::cut(&[first])]).await;
    let tunnels = Tunnels::of(&proxy, TunnelLimits::default());
    for (whole, ends) in [(true, "\r\n0\r\n\r\n"), (false, "\n\n\r\n")] {
        let mut stream = tunnels.open("slot-1").await;
        stream.write_all(http(&streamed()).as_bytes()).await.unwrap();
        let answer = all(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert_eq!(answer.contains("[DONE]"), whole);
        assert!(answer.contains("half") && answer.ends_with(ends), "{answer:?}");
    }
    tunnels.end().await;
}

#[tokio::test]
async fn one_container_cannot_take_all_tunnels() {
    let proxy = TestProxy::demo();
    let tunnels = Tunnels::of(&proxy, TunnelLimits { per_slot: 2, ..TunnelLimits::default() });
    let _idle = (tunnels.open("greedy").await, tunnels.open("greedy").await);
    let refused = all(tunnels.open("greedy").await).await;
    assert!(refused.starts_with("HTTP/1.1 429 ") && refused.contains("too_many_connections"), "{refused}");
    let mut other = tunnels.open("modest").await;
    other.write_all(http(&hello()).as_bytes()).await.unwrap();
    assert!(all(other).await.starts_with("HTTP/1.1 200 OK"));
    tunnels.end().await;
}

#[tokio::test]
async fn garbage_and_silence_end_a_tunnel() {
    let proxy = TestProxy::demo();
    let limits = TunnelLimits { header_timeout: Duration::from_millis(50), ..TunnelLimits::default() };
    let tunnels = Tunnels::of(&proxy, limits);
    let mut garbage = tunnels.open("a").await;
    garbage.write_all(b"\x16\x03\x01 not http\r\n\r\n").await.unwrap();
    assert!(all(garbage).await.starts_with("HTTP/1.1 400 "));
    assert!(all(tunnels.open("b").await).await.is_empty(), "a connection without a request is closed");
    tunnels.end().await;
}
