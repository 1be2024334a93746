//! Network namespaces in store, for Docker: most of what a start takes is spent on making one.
//!
//! Docker finishes a new network namespace by running all of itself once more, from a hook of the OCI runtime. A
//! container that joins the namespace of another one is spared that. So a container of the platform's own, the holder,
//! steps into a new and empty namespace whenever it is asked to; one job's container joins that, alone, and the holder
//! moves on to the next. `docs/runtimes.md` has the numbers.
//!
//! No two containers are ever given the same one: a holder is lent to one start at a time, is lent again only when it
//! has told another namespace's number, and is given up if it is not known how a start has ended. Whoever finds none
//! has the engine make one.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::net::UnixStream as Knock;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use mgx_protocol::LINK_SOCKET;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info};
use uuid::Uuid;

use crate::engine::{Engine, deadline, within};
use crate::hardening::holder;
use crate::link::listen;
use crate::{RuntimeError, RuntimeErrorKind};

/// How long a start waits for a holder that is busy with others: a few starts with one are sooner over than one without.
const PATIENCE: Duration = Duration::from_millis(750);

/// How long a holder may take to call once it has been started.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// How long a holder may take to make a namespace.
const RENEWAL_LIMIT: Duration = Duration::from_secs(2);

/// The first and the longest pause after a holder could not be made.
const PAUSE: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(1)];

/// The holders of one instance of the platform.
pub(crate) struct Namespaces {
    house: Arc<House>,
    keeper: OnceLock<AbortOnDropHandle<()>>,
}

struct House {
    engine: Arc<Engine>,
    instance: String,
    /// Where holders call: a directory for each.
    directory: PathBuf,
    /// How many there may be.
    most: usize,
    /// How many there are.
    alive: AtomicUsize,
    /// Those that can be lent.
    free: Mutex<Vec<Holder>>,
    /// As many permits as there are free ones.
    permits: Semaphore,
    /// Rung when one more may be of use.
    wanted: Notify,
}

/// A container that stands in a namespace which nobody has joined. It ends with its connection, and the engine then
/// removes it.
struct Holder {
    id: String,
    stream: UnixStream,
    directory: PathBuf,
    /// The namespace, as the kernel knows it.
    number: u64,
}

/// A holder that is lent to one start. Dropped, it is given up.
pub(crate) struct Lease {
    holder: Option<Holder>,
    house: Arc<House>,
}

impl Namespaces {
    /// At most so many holders as `most`, which call below `directory`. The first is made when somebody asks.
    pub(crate) fn new(engine: Arc<Engine>, instance: String, directory: PathBuf, most: usize) -> Self {
        let house = House {
            engine,
            instance,
            directory,
            most,
            alive: AtomicUsize::new(0),
            free: Mutex::default(),
            permits: Semaphore::new(0),
            wanted: Notify::new(),
        };
        Self { house: Arc::new(house), keeper: OnceLock::new() }
    }

    /// A namespace for one container, if there is one soon. `image` is what holders are made of.
    pub(crate) async fn lend(&self, image: &str) -> Option<Lease> {
        if self.house.most == 0 {
            return None;
        }
        self.keeper.get_or_init(|| {
            let (house, image) = (Arc::clone(&self.house), image.to_owned());
            AbortOnDropHandle::new(tokio::spawn(async move { house.keep(&image).await }))
        });
        loop {
            let holder = self.house.take().await?;
            let lease = Lease { holder: Some(holder), house: Arc::clone(&self.house) };
            if lease.is_alive() {
                return Some(lease);
            }
        }
    }
}

impl Lease {
    /// The container whose namespace is to be joined.
    pub(crate) fn container(&self) -> &str {
        self.holder.as_ref().map_or("", |holder| &holder.id)
    }

    /// The start is over, one way or the other: nobody will join this namespace any more.
    pub(crate) fn give_back(mut self) {
        if let Some(mut holder) = self.holder.take() {
            let house = Arc::clone(&self.house);
            tokio::spawn(async move {
                match timeout(RENEWAL_LIMIT, holder.renew()).await {
                    Ok(Ok(())) => house.put(holder),
                    Ok(Err(_)) | Err(_) => house.lose(holder),
                }
            });
        }
    }

    /// Whether its holder is still connected.
    fn is_alive(&self) -> bool {
        self.holder.as_ref().is_some_and(|holder| {
            let said = holder.stream.try_read(&mut [0]);
            said.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(holder) = self.holder.take() {
            self.house.lose(holder);
        }
    }
}

impl House {
    /// Waits for a free one if there are any at all, and for [`PATIENCE`] at the most.
    async fn take(&self) -> Option<Holder> {
        if self.alive.load(Ordering::Relaxed) == 0 {
            return None;
        }
        if self.permits.available_permits() == 0 {
            self.wanted.notify_one();
        }
        timeout(PATIENCE, self.permits.acquire()).await.ok()?.ok()?.forget();
        self.free().pop()
    }

    fn put(&self, holder: Holder) {
        self.free().push(holder);
        self.permits.add_permits(1);
    }

    fn lose(&self, holder: Holder) {
        debug!(container = holder.id, "a holder of network namespaces is given up");
        drop(holder);
        self.alive.fetch_sub(1, Ordering::Relaxed);
        self.wanted.notify_one();
    }

    fn free(&self) -> MutexGuard<'_, Vec<Holder>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one, and another whenever those that there are do not suffice.
    async fn keep(&self, image: &str) {
        self.sweep().await;
        let [first, longest] = PAUSE;
        let mut pause = first;
        loop {
            if self.alive.load(Ordering::Relaxed) < self.most {
                match self.make(image).await {
                    Ok(holder) => {
                        self.alive.fetch_add(1, Ordering::Relaxed);
                        self.put(holder);
                        pause = first;
                    }
                    Err(error) => {
                        info!(%error, "no holder of network namespaces; the engine makes them, which takes longer");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(longest);
                        continue;
                    }
                }
            }
            self.wanted.notified().await;
        }
    }

    async fn make(&self, image: &str) -> Result<Holder, RuntimeError> {
        let client = &self.engine.connected().await?.client;
        let id = Uuid::now_v7().simple().to_string();
        let (directory, name) = (self.directory.join(&id), name(&id));
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
            let calling = async {
                let (mut stream, _) = listener.accept().await?;
                let number = stream.read_u64().await?;
                io::Result::Ok((stream, number))
            };
            let late = |_| io::ErrorKind::TimedOut.into();
            let called = timeout(READY_LIMIT, calling).await.map_err(late).flatten();
            let (stream, number) = called.map_err(|error| {
                let what = "a holder of network namespaces did not call";
                RuntimeError::new(RuntimeErrorKind::NotReady, what).because(error)
            })?;
            Ok(Holder { id, stream, directory: directory.clone(), number })
        };
        let made = made.await;
        if made.is_err() {
            let options = RemoveContainerOptionsBuilder::new().force(true).build();
            timeout(deadline::KILL, client.remove_container(&name, Some(options))).await.ok();
            fs::remove_dir_all(&directory).ok();
        }
        made
    }

    /// Removes what an earlier life of the platform has left: directories at which nobody listens, and the containers of
    /// those that were made and not started, which do not end by themselves.
    async fn sweep(&self) {
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
            // one that is connected has no listener either, and does without the directory
            if !Knock::connect(entry.path().join(LINK_SOCKET)).is_err_and(refused) {
                continue;
            }
            let removing = async {
                let client = &self.engine.connected().await?.client;
                // without force: one that runs stays
                let name = name(&entry.file_name().to_string_lossy());
                let removing = client.remove_container(&name, None);
                within(deadline::KILL, "cannot remove a holder of network namespaces", removing).await
            };
            if let Err(error) = removing.await {
                debug!(%error, "a holder of an earlier life");
            }
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

/// What the container of a holder is called.
fn name(id: &str) -> String {
    format!("mgx-net-{id}")
}

impl Holder {
    /// Lets it step into another namespace.
    async fn renew(&mut self) -> io::Result<()> {
        self.stream.write_u8(0).await?;
        let number = self.stream.read_u64().await?;
        if number == self.number {
            return Err(io::Error::other("it stands where it stood"));
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

impl fmt::Debug for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespaces").field("most", &self.house.most).finish_non_exhaustive()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("container", &self.container()).finish_non_exhaustive()
    }
}
