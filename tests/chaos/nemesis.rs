//! What is done to the server and to what it stands on: a schedule that its seed decides.

mod clock;
mod disk;
mod engine;
mod flood;
mod kill;
mod stall;
mod store;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mgx_testkit::MongoServer;
use mgx_testkit::{Balancer, Dockerd, Server, Volume, WallClock};
use serde::{Deserialize, Serialize};

use crate::clients::Clients;
use crate::history::Record;
use mgx_testkit::SeededRandom;

/// How long a cycle waits for as many jobs as it wants.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long it may take until another process schedules: the store may be on its way back.
const SUCCESSION: Duration = Duration::from_secs(30);

/// Somebody who disturbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Nemesis {
    /// Kills the server, and kills it again while it starts.
    Kill,
    /// Kills, stops or holds up the container engine: one that only this run uses.
    Engine,
    /// Holds up the server, or the disk of its store.
    Stall,
    /// Fills the disk of the store.
    Disk,
    /// Sets the wall clock, while the server runs or before it is started again.
    Clock,
    /// Submits far more than the queue holds, all at once.
    Flood,
    /// Kills or holds up the MongoDB server.
    Store,
}

/// Everything that can be disturbed, and who sees it.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) server: Server,
    /// The other processes of its platform, one of which takes its place when it is killed.
    pub(crate) others: Vec<Server>,
    /// What stands before them all.
    pub(crate) _balancer: Option<Balancer>,
    pub(crate) store: Option<MongoServer>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) clock: Option<WallClock>,
    pub(crate) disk: Option<Volume>,
    pub(crate) engine: Option<Dockerd>,
    /// How many jobs a flood has.
    pub(crate) flood: u64,
    /// The longest it took until it, or another one in its place, was ready, in milliseconds.
    pub(crate) slowest_start: u64,
}

/// Something that was begun and has to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// It is over already.
    Over,
    /// The server stands still.
    Stopped,
    /// The disk hangs: nobody who writes can even be killed.
    Frozen,
    /// The disk is full.
    Full,
    /// There is no engine.
    Away,
    /// The engine does not answer.
    Hung,
    /// There is no MongoDB server.
    StoreAway,
    /// The MongoDB server does not answer.
    StoreHung,
}

impl Nemesis {
    /// Everybody.
    pub(crate) const ALL: [Self; 7] =
        [Self::Kill, Self::Engine, Self::Stall, Self::Disk, Self::Clock, Self::Flood, Self::Store];

    async fn begin(self, field: &mut Field, random: &mut SeededRandom) -> Result<Trouble> {
        match self {
            Self::Kill => kill::kill(field, random).await,
            Self::Engine => engine::begin(field, random),
            Self::Stall => stall::begin(field, random),
            Self::Disk => disk::begin(field),
            Self::Clock => clock::set(field, random),
            Self::Flood => flood::flood(field, random).await,
            Self::Store => store::begin(field, random),
        }
    }
}

impl Field {
    /// Strikes so many times, each time after the server has accepted its share of `jobs`; or until time is up.
    pub(crate) async fn strike(
        &mut self,
        nemeses: &[Nemesis],
        cycles: u64,
        jobs: u64,
        time_is_up: Instant,
    ) -> Result<()> {
        let mut random = SeededRandom::new(self.clients.seed, u64::MAX);
        let kills = nemeses.contains(&Nemesis::Kill);
        let others: Vec<_> = nemeses.iter().copied().filter(|nemesis| *nemesis != Nemesis::Kill).collect();
        // each has its turn before any has a second
        let mut next = Vec::new();
        for cycle in 1..=cycles {
            if Instant::now() > time_is_up {
                break;
            }
            self.clients.wanted.store(jobs * cycle / cycles, Ordering::SeqCst);
            tokio::time::sleep(random.millis(50..1200)).await;
            let end = Instant::now() + PATIENCE;
            while !self.clients.are_satisfied() && Instant::now() < end {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let also = !others.is_empty() && (!kills || random.in_range(0..2) == 0);
            let trouble = if also {
                if next.is_empty() {
                    next.clone_from(&others);
                }
                let pick = usize::try_from(random.in_range(0..next.len() as u64)).unwrap_or_default();
                next.swap_remove(pick).begin(self, &mut random).await?
            } else {
                Trouble::Over
            };
            if trouble != Trouble::Over {
                tokio::time::sleep(random.millis(100..2500)).await;
            }
            let amid = kills
                && trouble != Trouble::Frozen
                && !self.needs_store(trouble)
                && random.in_range(0..2) == 0;
            if amid {
                self.server.kill()?;
                self.clients.history.add(&Record::Killed { starting: false });
                self.end(trouble)?;
                self.start(&mut random).await?;
            } else {
                self.end(trouble)?;
                if kills {
                    tokio::time::sleep(random.millis(0..100)).await;
                    Nemesis::Kill.begin(self, &mut random).await?;
                }
            }
        }
        Ok(())
    }

    /// Whether nobody can be told to schedule before a trouble is over.
    fn needs_store(&self, trouble: Trouble) -> bool {
        !self.others.is_empty() && matches!(trouble, Trouble::StoreAway | Trouble::StoreHung)
    }

    /// Ends what was begun.
    fn end(&mut self, trouble: Trouble) -> Result<()> {
        match trouble {
            Trouble::Over => Ok(()),
            Trouble::Stopped | Trouble::Frozen => stall::end(self, trouble),
            Trouble::Full => disk::end(self),
            Trouble::Away | Trouble::Hung => engine::end(self, trouble),
            Trouble::StoreAway | Trouble::StoreHung => store::end(self, trouble),
        }
    }

    /// Starts the server again; now and then it is killed before it is ready, and somebody sets the clock.
    async fn start(&mut self, random: &mut SeededRandom) -> Result<()> {
        if self.clock.is_some() && random.in_range(0..4) == 0 {
            clock::set(self, random)?;
        }
        let began = Instant::now();
        self.server.spawn()?;
        while random.in_range(0..5) == 0 {
            tokio::time::sleep(random.millis(0..400)).await;
            self.server.kill()?;
            self.clients.history.add(&Record::Killed { starting: true });
            self.server.spawn()?;
        }
        if self.others.is_empty() {
            self.server.wait_until_ready().await?;
        } else {
            self.succeed().await?;
        }
        let millis = u64::try_from(began.elapsed().as_millis())?;
        self.slowest_start = self.slowest_start.max(millis);
        self.clients.history.add(&Record::Ready { millis });
        Ok(())
    }

    /// Waits until another process schedules, or the same one again: from now on that one is the server.
    async fn succeed(&mut self) -> Result<()> {
        let end = Instant::now() + SUCCESSION;
        while !self.server.is_scheduling() {
            if let Some(next) = self.others.iter().position(Server::is_scheduling) {
                std::mem::swap(&mut self.server, &mut self.others[next]);
                return Ok(());
            }
            ensure!(Instant::now() < end, "nobody schedules");
            // as a service manager does
            for process in std::iter::once(&mut self.server).chain(&mut self.others) {
                if process.exit_status()?.is_some() {
                    process.spawn()?;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Notes that `nemesis` has struck.
    fn note(&self, nemesis: Nemesis, how: impl Into<String>, ends_runs: bool) {
        self.clients.history.add(&Record::Struck { nemesis, how: how.into(), ends_runs });
    }

    /// Notes how much memory the server has had.
    pub(crate) fn note_peak(&self) -> Result<()> {
        self.clients.history.add(&Record::Peak { mib: self.server.peak_memory_mib()? });
        Ok(())
    }
}
