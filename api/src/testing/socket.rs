//! Requests as bytes on a TCP connection, for what no HTTP client sends.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::server::TestServer;
use crate::{ServeConfig, serve};

/// Serves the router of `server` on a port of this machine.
pub(crate) async fn listen(server: &TestServer) -> SocketAddr {
    listen_as(server, ServeConfig::standard()).await
}

/// Serves the router of `server` within the limits of `config`.
pub(crate) async fn listen_as(server: &TestServer, config: ServeConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, server.router(), CancellationToken::new(), config));
    address
}

/// All that the server answers to `bytes` until it closes the connection.
pub(crate) async fn answer(address: SocketAddr, bytes: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut answer)).await;
    read.expect("the server closes").ok();
    String::from_utf8_lossy(&answer).into_owned()
}
