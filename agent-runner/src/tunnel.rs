//! The loopback port that leads to the LLM proxy: raw bytes of each connection go over the link, nothing else does.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use mgx_protocol::JsonFrames;
use mgx_protocol::{FromRunner, ToRunner};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::codec::Encoder;

/// How many connections there may be at once; more wait.
const CONNECTIONS: usize = 32;

/// How long a connection waits for a platform that is away, a restart, before it is closed.
const PATIENCE: Duration = Duration::from_secs(100);

/// How long between two attempts to reach it.
const PAUSE: Duration = Duration::from_millis(200);

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

    /// Where OpenAI clients find it.
    pub(crate) fn base_url(&self) -> io::Result<String> {
        Ok(format!("http://{}/v1", self.listener.local_addr()?))
    }

    /// Carries connections for ever.
    pub(crate) async fn serve(self) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((client, _)) => {
                    let link = self.link.clone();
                    tokio::spawn(async move {
                        // an error of either side ends both, which is all that it can mean
                        carry(client, link).await.ok();
                        drop(place);
                    });
                }
                // out of file descriptors, mostly: some will be free again
                Err(_) => sleep(PAUSE).await,
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
                Err(_) => sleep(PAUSE).await,
            }
        }
    };
    let mut platform = timeout(PATIENCE, reach).await?;
    let mut opening = BytesMut::new();
    JsonFrames::<ToRunner, FromRunner>::default().encode(&FromRunner::Tunnel, &mut opening)?;
    platform.write_all(&opening).await?;
    copy_bidirectional(&mut client, &mut platform).await?;
    Ok(())
}
