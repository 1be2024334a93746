//! One keep-alive HTTP connection to the server: as lean as a client can be that shares the processors with it.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// A connection.
pub(super) struct Wire {
    requests: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    token: HeaderValue,
    _connection: AbortOnDropHandle<()>,
}

impl Wire {
    /// Connects to `address`.
    pub(super) async fn connect(address: SocketAddr, token: &SecretString) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let (requests, connection) = handshake(TokioIo::new(socket)).await?;
        let connection = tokio::spawn(async move {
            // the request that was under way says what went wrong
            connection.await.ok();
        });
        Ok(Self {
            requests,
            host: HeaderValue::try_from(address.to_string())?,
            token: HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))?,
            _connection: AbortOnDropHandle::new(connection),
        })
    }

    /// POSTs `json` and reads the whole answer, which must have the status `expected`.
    pub(super) async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        json: Bytes,
        expected: StatusCode,
    ) -> anyhow::Result<T> {
        self.ask(Method::POST, path, json, expected).await
    }

    /// GETs `path`.
    pub(super) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> anyhow::Result<T> {
        self.ask(Method::GET, path, Bytes::new(), StatusCode::OK).await
    }

    async fn ask<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        json: Bytes,
        expected: StatusCode,
    ) -> anyhow::Result<T> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(AUTHORIZATION, &self.token)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(json))?;
        self.requests.ready().await?;
        let answer = self.requests.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(status == expected, "{path} answered {status}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).with_context(|| format!("{path} answered something else"))
    }
}
