//! A door before the door that cuts connections: after a random number of bytes of what the server says, in the middle
//! of whatever that is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// What a stream says of how soon to come back, and what is made of it, so that a browser's reader does not sleep for a
/// second after each cut. Both are equally long.
const RETRY: &[u8] = b"retry: 1000\n";
const SOONER: &[u8] = b"retry: 0001\n";

/// Cuts so many connections, then no more. Goes away when it is dropped.
#[derive(Debug)]
pub struct Cutter {
    address: SocketAddr,
    plan: Arc<Plan>,
    _accepting: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Plan {
    server: SocketAddr,
    /// Connections that are still to be cut.
    left: AtomicU32,
    /// A connection is cut after fewer bytes than this.
    span: u64,
    chance: AtomicU64,
}

impl Cutter {
    /// Stands before `server`, and cuts `cuts` connections, each after fewer than `span` bytes: as `seed` has it.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn before(server: SocketAddr, cuts: u32, span: u64, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let plan =
            Arc::new(Plan { server, left: AtomicU32::new(cuts), span, chance: AtomicU64::new(seed.max(1)) });
        let accepting = tokio::spawn(accept(listener, plan.clone()));
        Ok(Self { address, plan, _accepting: AbortOnDropHandle::new(accepting) })
    }

    /// Where to knock.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections are still to be cut.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.plan.left.load(Ordering::Relaxed)
    }
}

impl Plan {
    /// After how many bytes the next connection is cut; `None`: it is not.
    fn next(&self) -> Option<u64> {
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        taken.ok().map(|_| self.random() % self.span)
    }

    /// Marsaglia's xorshift.
    fn random(&self) -> u64 {
        let step = |mut x: u64| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^ (x << 17)
        };
        step(
            self.chance
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |x| Some(step(x)))
                .unwrap_or_default(),
        )
    }
}

async fn accept(listener: TcpListener, plan: Arc<Plan>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(carry(client, plan.clone()));
    }
}

/// Carries bytes both ways until the cut, or until either side has had enough.
async fn carry(client: TcpStream, plan: Arc<Plan>) {
    let Ok(server) = TcpStream::connect(plan.server).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let asking = async {
        tokio::io::copy(&mut from_client, &mut to_server).await.ok();
    };
    let answering = async {
        let cut = plan.next();
        let (mut said, mut piece) = (0, vec![0; 16 * 1024]);
        while let Ok(count @ 1..) = from_server.read(&mut piece).await {
            let piece = &mut piece[..count];
            if let Some(at) = piece.windows(RETRY.len()).position(|window| window == RETRY) {
                piece[at..at + SOONER.len()].copy_from_slice(SOONER);
            }
            let left = cut.map_or(usize::MAX, |cut| usize::try_from(cut - said).unwrap_or(usize::MAX));
            let told = to_client.write_all(&piece[..count.min(left)]).await;
            if left < count || told.is_err() {
                return;
            }
            said += count as u64;
        }
    };
    // whichever ends first ends both: the sockets are closed when they are dropped
    tokio::select! {
        () = asking => {}
        () = answering => {}
    }
}
