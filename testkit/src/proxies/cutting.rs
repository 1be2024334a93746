//! A proxy that cuts connections after a random number of bytes of the server's answer, wherever that falls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::SeededRandom;

/// The reconnection time that the server sends, and what the proxy makes of it, so that an `EventSource` does not wait
/// for a second after each cut. Both have the same length.
const RETRY: &[u8] = b"retry: 1000\n";
const RETRY_AT_ONCE: &[u8] = b"retry: 0001\n";

/// Cuts a given number of connections, then passes all of them on. Stops listening when it is dropped.
#[derive(Debug)]
pub struct CuttingProxy {
    address: SocketAddr,
    plan: Arc<Plan>,
    _accepting: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Plan {
    server: SocketAddr,
    cuts_left: AtomicU32,
    /// A connection is cut after fewer bytes than this.
    max_bytes: u64,
    random: Mutex<SeededRandom>,
}

impl CuttingProxy {
    /// Listens in front of `server`, and cuts `cuts` connections, each after fewer than `max_bytes` bytes that depend on
    /// `seed`.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn in_front_of(server: SocketAddr, cuts: u32, max_bytes: u64, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let random = Mutex::new(SeededRandom::new(seed, 0));
        let plan = Arc::new(Plan { server, cuts_left: AtomicU32::new(cuts), max_bytes, random });
        let accepting = tokio::spawn(accept(listener, plan.clone()));
        Ok(Self { address, plan, _accepting: AbortOnDropHandle::new(accepting) })
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections are still to be cut.
    #[must_use]
    pub fn cuts_left(&self) -> u32 {
        self.plan.cuts_left.load(Ordering::Relaxed)
    }
}

impl Plan {
    /// After how many bytes the next connection is cut; `None`: it is not cut.
    fn next_cut(&self) -> Option<u64> {
        let take_one = |left: u32| left.checked_sub(1);
        self.cuts_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).ok()?;
        let mut random = self.random.lock().expect("nothing panics while it holds this lock");
        Some(random.in_range(0..self.max_bytes))
    }
}

async fn accept(listener: TcpListener, plan: Arc<Plan>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(relay(client, plan.clone()));
    }
}

/// Relays bytes both ways until the cut, or until either side closes its connection.
async fn relay(client: TcpStream, plan: Arc<Plan>) {
    let Ok(server) = TcpStream::connect(plan.server).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let requests = async {
        tokio::io::copy(&mut from_client, &mut to_server).await.ok();
    };
    let answers = async {
        let cut = plan.next_cut();
        let (mut sent, mut buffer) = (0, vec![0; 16 * 1024]);
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            let piece = &mut buffer[..count];
            if let Some(at) = piece.windows(RETRY.len()).position(|window| window == RETRY) {
                piece[at..at + RETRY.len()].copy_from_slice(RETRY_AT_ONCE);
            }
            let left = cut.map_or(usize::MAX, |cut| usize::try_from(cut - sent).unwrap_or(usize::MAX));
            let written = to_client.write_all(&piece[..count.min(left)]).await;
            if left < count || written.is_err() {
                return;
            }
            sent += count as u64;
        }
    };
    // the first of the two to end closes both connections: the sockets are closed when they are dropped
    tokio::select! {
        () = requests => {}
        () = answers => {}
    }
}
