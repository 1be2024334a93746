//! The loopback port of the LLM proxy: carries each connection over the link, byte for byte.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use mgx_protocol::{FromRunner, JsonFrames, ToRunner};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::codec::Encoder;

/// How many connections are carried at once; further ones wait.
const MAX_CONNECTIONS: usize = 32;

/// How long a connection waits for a platform that is away, because it restarts, before it is closed.
const REACH_LIMIT: Duration = Duration::from_secs(100);

/// The pause between two attempts to reach the platform, and after a failed accept.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// A port of the loopback interface, open for connections.
#[derive(Debug)]
pub(crate) struct Tunnel {
    listener: TcpListener,
    link: PathBuf,
}

impl Tunnel {
    /// Opens a port; its connections will go over the socket `link`.
    pub(crate) async fn open(link: PathBuf) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(("127.0.0.1", 0)).await?, link })
    }

    /// The base URL for OpenAI-compatible clients.
    pub(crate) fn base_url(&self) -> io::Result<String> {
        Ok(format!("http://{}/v1", self.listener.local_addr()?))
    }

    /// Accepts and carries connections for ever.
    pub(crate) async fn serve(self) {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((client, _)) => {
                    let link = self.link.clone();
                    tokio::spawn(async move {
                        // an error on either side closes both
                        carry(client, link).await.ok();
                        drop(permit);
                    });
                }
                // usually for want of file descriptors, which others will close
                Err(_) => sleep(RETRY_PAUSE).await,
            }
        }
    }
}

async fn carry(mut client: TcpStream, link: PathBuf) -> io::Result<()> {
    client.set_nodelay(true)?;
    let reach = async {
        loop {
            match UnixStream::connect(&link).await {
                Ok(platform) => break platform,
                Err(_) => sleep(RETRY_PAUSE).await,
            }
        }
    };
    let mut platform = timeout(REACH_LIMIT, reach).await?;
    let mut opening = BytesMut::new();
    JsonFrames::<ToRunner, FromRunner>::default().encode(&FromRunner::Tunnel, &mut opening)?;
    platform.write_all(&opening).await?;
    copy_bidirectional(&mut client, &mut platform).await?;
    Ok(())
}
