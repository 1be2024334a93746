//! One keep-alive HTTP/1.1 connection to the server, with little overhead: client and server share the processors.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection to the server.
pub(crate) struct HttpConnection {
    socket: TcpStream,
    /// The header lines that all requests share.
    fields: String,
    /// The bytes of the answer that have arrived.
    answer: Vec<u8>,
}

/// A request in bytes, which can be sent many times.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    bytes: Bytes,
    /// Its first line, for people.
    name: String,
}

/// An answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Bytes of the head, the empty line included.
    length: usize,
    /// Bytes of the body.
    body: usize,
}

impl HttpConnection {
    /// Connects to `address`.
    pub(crate) async fn connect(address: SocketAddr, token: &SecretString) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let token = token.expose_secret();
        let fields = format!("host: {address}\r\nauthorization: Bearer {token}\r\n");
        Ok(Self { socket, fields, answer: Vec::new() })
    }

    /// A POST of `json`.
    pub(crate) fn post(&self, path: &str, json: &[u8]) -> Request {
        let Self { fields, .. } = self;
        let length = json.len();
        let mut bytes = format!(
            "POST {path} HTTP/1.1\r\n{fields}content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
        .into_bytes();
        bytes.extend_from_slice(json);
        Request { bytes: bytes.into(), name: format!("POST {path}") }
    }

    /// A GET.
    pub(crate) fn get(&self, path: &str) -> Request {
        let Self { fields, .. } = self;
        let bytes = format!("GET {path} HTTP/1.1\r\n{fields}\r\n").into();
        Request { bytes, name: format!("GET {path}") }
    }

    /// Sends `request` and reads the whole answer, which must have the status `expected`.
    pub(crate) async fn send<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        expected: u16,
    ) -> anyhow::Result<T> {
        let Request { bytes, name } = request;
        self.socket.write_all(bytes).await?;
        self.answer.clear();
        let head = loop {
            let count = self.socket.read_buf(&mut self.answer).await?;
            ensure!(count > 0, "the server closed the connection at {name}");
            if let Some(head) = Head::read(&self.answer).with_context(|| name.clone())? {
                break head;
            }
        };
        while self.answer.len() < head.length + head.body {
            let count = self.socket.read_buf(&mut self.answer).await?;
            ensure!(count > 0, "the server broke off its answer to {name}");
        }
        let body = &self.answer[head.length..];
        ensure!(body.len() == head.body, "more than one answer to {name}");
        let status = head.status;
        ensure!(status == expected, "{name} was answered {status}: {}", String::from_utf8_lossy(body));
        serde_json::from_slice(body).with_context(|| format!("{name} was answered something else"))
    }
}

impl Head {
    /// The head at the beginning of `answer`; `None` if more of it has to come. Only what this server sends is
    /// understood: a body with a `content-length`, on a connection that stays.
    fn read(answer: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let text = std::str::from_utf8(&answer[..end])?;
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default();
        let Some(status) = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()) else {
            bail!("the answer begins with {line:?}");
        };
        let mut body = None;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                body = Some(value.trim().parse()?);
            }
            let closes =
                name.eq_ignore_ascii_case("connection") && value.trim().eq_ignore_ascii_case("close");
            ensure!(!closes, "the server closes the connection");
        }
        Ok(Some(Self { status, length: end + 4, body: body.context("an answer without content-length")? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_complete() {
        let answer =
            b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        for end in 0..answer.len() - 2 {
            assert_eq!(Head::read(&answer[..end]).unwrap(), None, "{end}");
        }
        let head = Head { status: 202, length: answer.len() - 2, body: 2 };
        assert_eq!(Head::read(answer).unwrap(), Some(head));
        for wrong in [
            "HTTP/1.1 202 Accepted\r\n\r\n",
            "HTTP/1.1 202 Accepted\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 20",
            "FTP 202\r\n\r\n",
        ] {
            assert!(!matches!(Head::read(wrong.as_bytes()), Ok(Some(_))), "{wrong}");
        }
    }
}
