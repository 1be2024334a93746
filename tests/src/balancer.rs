//! A load balancer for tests: a TCP connection goes to one process after the other, and never to one that is away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// A balancer; it ends when this is dropped.
#[derive(Debug)]
pub struct Balancer {
    url: String,
    _accepting: AbortOnDropHandle<()>,
}

impl Balancer {
    /// A balancer in front of the servers at `urls`.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn before(urls: &[&str]) -> Result<Self> {
        let address = |url: &&str| url.trim_start_matches("http://").parse::<SocketAddr>();
        let servers: Vec<_> = urls.iter().map(address).collect::<Result<_, _>>()?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen")?;
        let url = format!("http://{}", listener.local_addr()?);
        let (servers, next) = (Arc::new(servers), Arc::new(AtomicUsize::new(0)));
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (servers, next) = (servers.clone(), next.clone());
                tokio::spawn(async move {
                    for _ in 0..servers.len() {
                        let pick = next.fetch_add(1, Ordering::Relaxed) % servers.len();
                        if let Ok(mut server) = TcpStream::connect(servers[pick]).await {
                            copy_bidirectional(&mut client, &mut server).await.ok();
                            return;
                        }
                    }
                });
            }
        });
        Ok(Self { url, _accepting: AbortOnDropHandle::new(accepting) })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}
