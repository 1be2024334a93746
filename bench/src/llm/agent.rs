//! An agent: it asks for replies over one connection, one after the other, and takes the time of every token.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use mgx_protocol::sse::Parser;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::platform::{Proxy, TOKEN};
use super::provider::now_micros;

/// The longest event, in bytes.
const MAX_EVENT_BYTES: usize = 64 * 1024;

/// What every agent asks: a conversation of 32 KiB.
const PROMPT_BYTES: usize = 32 * 1024;

/// One time that was taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sample {
    /// From the request to the first byte of the reply.
    FirstByte(Duration),
    /// From the moment at which the provider writes a token to the one at which it is read.
    Token(Duration),
}

/// An agent and its connection.
#[derive(Debug)]
pub(super) struct Agent {
    connection: SendRequest<Full<Bytes>>,
    body: Bytes,
}

impl Agent {
    /// One that asks the provider itself.
    pub(super) async fn straight(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Self::on(socket).await
    }

    /// One that asks through the proxy.
    pub(super) async fn through(proxy: &Proxy) -> anyhow::Result<Self> {
        Self::on(proxy.open().await?).await
    }

    async fn on(socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> anyhow::Result<Self> {
        let (connection, driver) = http1::handshake(TokioIo::new(socket)).await?;
        // ends with the connection; its errors come out of the body too
        tokio::spawn(driver);
        let prompt: String = "a page that says hello, and ".chars().cycle().take(PROMPT_BYTES).collect();
        let body = serde_json::json!({ "model": "bench", "stream": true,
            "messages": [{ "role": "user", "content": prompt }] });
        Ok(Self { connection, body: body.to_string().into() })
    }

    /// Asks for a reply and reads it to its end.
    pub(super) async fn ask(&mut self, samples: &mut Vec<Sample>) -> anyhow::Result<()> {
        let request = Request::post("/v1/chat/completions")
            .header(header::HOST, "bench")
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(self.body.clone()))?;
        self.connection.ready().await?;
        let start = Instant::now();
        let response = self.connection.send_request(request).await?;
        let status = response.status();
        let mut body = response.into_body();
        ensure!(status == StatusCode::OK, "{status}: {:?}", body.collect().await?.to_bytes());
        let (mut events, mut is_first, mut is_done) = (Parser::new(MAX_EVENT_BYTES), true, false);
        while let Some(frame) = body.frame().await {
            let Ok(bytes) = frame?.into_data() else { continue };
            if std::mem::take(&mut is_first) {
                samples.push(Sample::FirstByte(start.elapsed()));
            }
            let (now, mut rest) = (now_micros(), &bytes[..]);
            while let Some(event) = events.next_frame(&mut rest)? {
                is_done |= event.data == "[DONE]";
                samples.extend(written_at(event.data).map(|at| {
                    Sample::Token(Duration::from_micros(
                        u64::try_from(now.saturating_sub(at)).unwrap_or(u64::MAX),
                    ))
                }));
            }
        }
        ensure!(is_done, "a reply without an end");
        Ok(())
    }
}

/// The time that a token is.
fn written_at(data: &str) -> Option<u128> {
    let event: Value = serde_json::from_str(data).ok()?;
    let text = event["choices"][0]["delta"]["content"].as_str()?;
    text.trim().parse().context("a token is no time").ok()
}
