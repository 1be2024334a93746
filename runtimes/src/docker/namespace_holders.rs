//! Network namespaces that are ready before a start needs one, for Docker, where making one takes most of a start.
//!
//! Docker sets up a new network namespace by running dockerd once more, from a hook of the OCI runtime. A container that
//! joins another container's namespace is spared that. So a container of the platform's own, the holder, moves into a new
//! and empty namespace whenever the platform asks for one; one job's container joins it, alone, and the holder moves on
//! to the next. `docs/runtimes.md` has the numbers.
//!
//! No two containers get the same namespace: a holder is lent to one start at a time, is lent again only after it has
//! reported another namespace's number, and is given up if it is unknown how a start has ended. A start that finds no
//! holder leaves the namespace to the engine.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use mgx_protocol::LINK_SOCKET;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info};
use uuid::Uuid;

use super::connection::{DockerConnection, within};
use crate::engine::deadline;
use crate::hardening::holder;
use crate::link::listener::listen;
use crate::{RuntimeError, RuntimeErrorKind};

/// How long a start waits for a busy holder: several starts with one take less time than one without.
const HOLDER_WAIT_LIMIT: Duration = Duration::from_millis(750);

/// How long a started holder may take to connect.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// How long a holder may take to make a namespace.
const RENEWAL_LIMIT: Duration = Duration::from_secs(2);

/// The pauses after a holder could not be made.
const RETRY: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_secs(1))
    .with_max_delay(Duration::from_mins(1))
    .without_max_times();

/// The holders of one instance of the platform.
pub(super) struct NamespaceHolders {
    inner: Arc<Inner>,
    maker: OnceLock<AbortOnDropHandle<()>>,
}

struct Inner {
    connection: Arc<DockerConnection>,
    instance: String,
    /// The directory of the holders' sockets, with a directory for each.
    directory: PathBuf,
    /// How many there may be.
    most: usize,
    /// How many exist.
    alive: AtomicUsize,
    /// The holders that can be lent.
    free: Mutex<Vec<Holder>>,
    /// One permit for each free holder.
    permits: Semaphore,
    /// Notified when another holder may be of use.
    wanted: Notify,
}

/// A container in a namespace that no job's container has joined. It ends with its connection, and the engine removes
/// it then.
struct Holder {
    id: String,
    stream: UnixStream,
    directory: PathBuf,
    /// The inode number of its namespace.
    number: u64,
}

/// A holder that is lent to one start. It is given up if this is dropped.
pub(super) struct HolderLease {
    holder: Option<Holder>,
    inner: Arc<Inner>,
}

impl NamespaceHolders {
    /// At most `most` holders, whose sockets are below `directory`. The first is made with the first call of
    /// [`lend`](Self::lend).
    pub(super) fn new(
        connection: Arc<DockerConnection>,
        instance: String,
        directory: PathBuf,
        most: usize,
    ) -> Self {
        let inner = Inner {
            connection,
            instance,
            directory,
            most,
            alive: AtomicUsize::new(0),
            free: Mutex::default(),
            permits: Semaphore::new(0),
            wanted: Notify::new(),
        };
        Self { inner: Arc::new(inner), maker: OnceLock::new() }
    }

    /// A namespace for one container, if there is one within [`HOLDER_WAIT_LIMIT`]. Holders are made from `image`.
    pub(super) async fn lend(&self, image: &str) -> Option<HolderLease> {
        if self.inner.most == 0 {
            return None;
        }
        self.maker.get_or_init(|| {
            let (inner, image) = (Arc::clone(&self.inner), image.to_owned());
            AbortOnDropHandle::new(tokio::spawn(async move { inner.make_holders(&image).await }))
        });
        loop {
            let holder = self.inner.take().await?;
            let lease = HolderLease { holder: Some(holder), inner: Arc::clone(&self.inner) };
            if lease.is_connected() {
                return Some(lease);
            }
        }
    }
}

impl HolderLease {
    /// The id of the container whose namespace is to be joined.
    pub(super) fn container(&self) -> &str {
        self.holder.as_ref().map_or("", |holder| &holder.id)
    }

    /// Returns the holder when it is certain that no container will join its namespace any more.
    pub(super) fn give_back(mut self) {
        if let Some(mut holder) = self.holder.take() {
            let inner = Arc::clone(&self.inner);
            tokio::spawn(async move {
                match timeout(RENEWAL_LIMIT, holder.renew()).await {
                    Ok(Ok(())) => inner.put(holder),
                    Ok(Err(_)) | Err(_) => inner.give_up(holder),
                }
            });
        }
    }

    /// Whether its holder is still connected.
    fn is_connected(&self) -> bool {
        self.holder.as_ref().is_some_and(|holder| {
            let read = holder.stream.try_read(&mut [0]);
            read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        })
    }
}

impl Drop for HolderLease {
    fn drop(&mut self) {
        if let Some(holder) = self.holder.take() {
            self.inner.give_up(holder);
        }
    }
}

impl Inner {
    /// Waits for a free holder, at most for [`HOLDER_WAIT_LIMIT`]; `None` at once if there are no holders.
    async fn take(&self) -> Option<Holder> {
        if self.alive.load(Ordering::Relaxed) == 0 {
            return None;
        }
        if self.permits.available_permits() == 0 {
            self.wanted.notify_one();
        }
        timeout(HOLDER_WAIT_LIMIT, self.permits.acquire()).await.ok()?.ok()?.forget();
        self.free().pop()
    }

    fn put(&self, holder: Holder) {
        self.free().push(holder);
        self.permits.add_permits(1);
    }

    fn give_up(&self, holder: Holder) {
        debug!(container = holder.id, "a holder of network namespaces is given up");
        drop(holder);
        self.alive.fetch_sub(1, Ordering::Relaxed);
        self.wanted.notify_one();
    }

    fn free(&self) -> MutexGuard<'_, Vec<Holder>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one holder, and another whenever a start finds all of them busy.
    async fn make_holders(&self, image: &str) {
        self.sweep().await;
        let mut pauses = RETRY.build();
        loop {
            if self.alive.load(Ordering::Relaxed) < self.most {
                match self.make(image).await {
                    Ok(holder) => {
                        self.alive.fetch_add(1, Ordering::Relaxed);
                        self.put(holder);
                        pauses = RETRY.build();
                    }
                    Err(error) => {
                        info!(%error, "cannot make a holder of network namespaces; the engine makes them, which takes longer");
                        tokio::time::sleep(pauses.next().unwrap_or_default()).await;
                        continue;
                    }
                }
            }
            self.wanted.notified().await;
        }
    }

    async fn make(&self, image: &str) -> Result<Holder, RuntimeError> {
        let client = &self.connection.connected().await?.client;
        let id = Uuid::now_v7().simple().to_string();
        let (directory, name) = (self.directory.join(&id), holder_name(&id));
        let refused = |error: io::Error| {
            let what = "cannot make the link of a holder of network namespaces";
            RuntimeError::new(RuntimeErrorKind::Refused, what).because(error)
        };
        let listener = listen(&directory).map_err(refused)?;
        let body = holder(image, &self.instance, &directory);
        let made = async {
            let options = CreateContainerOptionsBuilder::new().name(&name).build();
            let creating = client.create_container(Some(options), body);
            let id =
                within(deadline::CREATE, "cannot create a holder of network namespaces", creating).await?.id;
            let starting = client.start_container(&name, None);
            within(deadline::CREATE, "cannot start a holder of network namespaces", starting).await?;
            let connecting = async {
                let (mut stream, _) = listener.accept().await?;
                let number = stream.read_u64().await?;
                io::Result::Ok((stream, number))
            };
            let timed_out = |_| io::ErrorKind::TimedOut.into();
            let connected = timeout(READY_LIMIT, connecting).await.map_err(timed_out).flatten();
            let (stream, number) = connected.map_err(|error| {
                let what = "a holder of network namespaces did not connect";
                RuntimeError::new(RuntimeErrorKind::NotReady, what).because(error)
            })?;
            Ok(Holder { id, stream, directory: directory.clone(), number })
        };
        let made = made.await;
        if made.is_err() {
            let options = RemoveContainerOptionsBuilder::new().force(true).build();
            timeout(deadline::REMOVE, client.remove_container(&name, Some(options))).await.ok();
            fs::remove_dir_all(&directory).ok();
        }
        made
    }

    /// Removes what an earlier process of the platform has left: directories whose socket is closed, and holders that were
    /// created and not started, which do not end by themselves.
    async fn sweep(&self) {
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
            // a holder that is connected has no listener either, and does not need the directory
            if !BlockingStream::connect(entry.path().join(LINK_SOCKET)).is_err_and(refused) {
                continue;
            }
            let removing = async {
                let client = &self.connection.connected().await?.client;
                // without force, so that a running holder stays
                let name = holder_name(&entry.file_name().to_string_lossy());
                let removing = client.remove_container(&name, None);
                within(deadline::REMOVE, "cannot remove a holder of network namespaces", removing).await
            };
            if let Err(error) = removing.await {
                debug!(%error, "cannot remove a holder of an earlier process");
            }
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

/// The name of a holder's container.
fn holder_name(id: &str) -> String {
    format!("mgx-net-{id}")
}

impl Holder {
    /// Asks it to move into another namespace.
    async fn renew(&mut self) -> io::Result<()> {
        self.stream.write_u8(0).await?;
        let number = self.stream.read_u64().await?;
        if number == self.number {
            return Err(io::Error::other("the holder is in the same namespace as before"));
        }
        self.number = number;
        Ok(())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.directory).ok();
    }
}

impl fmt::Debug for NamespaceHolders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceHolders").field("most", &self.inner.most).finish_non_exhaustive()
    }
}

impl fmt::Debug for HolderLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HolderLease").field("container", &self.container()).finish_non_exhaustive()
    }
}
