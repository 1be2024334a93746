//! The faults of a run: a schedule drawn from the seed, injected into the server and everything that it needs.

pub(crate) mod kind;

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

pub(crate) use kind::Nemesis;

use crate::clients::Clients;
use crate::history::Record;
use mgx_testkit::SeededRandom;

/// How long a cycle waits until its share of the jobs is accepted.
const CYCLE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long it may take until another process schedules: the store may be starting too.
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything that faults are injected into, and the clients that see their effects.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) server: Server,
    /// The other processes of its platform, one of which takes its place when it is killed.
    pub(crate) others: Vec<Server>,
    /// In front of all processes.
    pub(crate) _balancer: Option<Balancer>,
    pub(crate) store: Option<MongoServer>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) clock: Option<WallClock>,
    pub(crate) disk: Option<Volume>,
    pub(crate) engine: Option<Dockerd>,
    /// The number of jobs of a flood.
    pub(crate) flood: u64,
    /// The longest that it took until the server, or another process in its place, was ready, in milliseconds.
    pub(crate) slowest_start: u64,
}

/// A fault that was begun and has to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The fault has ended already.
    Ended,
    /// The server is suspended.
    ServerSuspended,
    /// The disk is frozen: a process that writes cannot even be killed.
    DiskFrozen,
    /// The disk is full.
    DiskFull,
    /// The engine is not running.
    EngineDown,
    /// The engine does not answer.
    EngineSuspended,
    /// The MongoDB server is not running.
    StoreDown,
    /// The MongoDB server does not answer.
    StoreSuspended,
}

impl Nemesis {
    async fn begin(self, target: &mut Target, random: &mut SeededRandom) -> Result<Fault> {
        match self {
            Self::Kill => kill::kill(target, random).await,
            Self::Engine => engine::begin(target, random),
            Self::Stall => stall::begin(target, random),
            Self::Disk => disk::begin(target),
            Self::Clock => clock::set(target, random),
            Self::Flood => flood::flood(target, random).await,
            Self::Store => store::begin(target, random),
        }
    }
}

impl Target {
    /// Injects faults in so many cycles, each after the server has accepted its share of `jobs`; or until time is up.
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
        // every kind once before any kind a second time
        let mut next = Vec::new();
        for cycle in 1..=cycles {
            if Instant::now() > time_is_up {
                break;
            }
            self.clients.wanted.store(jobs * cycle / cycles, Ordering::SeqCst);
            tokio::time::sleep(random.millis(50..1200)).await;
            let end = Instant::now() + CYCLE_TIMEOUT;
            while !self.clients.have_enough_accepted() && Instant::now() < end {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let also = !others.is_empty() && (!kills || random.in_range(0..2) == 0);
            let fault = if also {
                if next.is_empty() {
                    next.clone_from(&others);
                }
                let pick = usize::try_from(random.in_range(0..next.len() as u64)).unwrap_or_default();
                next.swap_remove(pick).begin(self, &mut random).await?
            } else {
                Fault::Ended
            };
            if fault != Fault::Ended {
                tokio::time::sleep(random.millis(100..2500)).await;
            }
            let amid =
                kills && fault != Fault::DiskFrozen && !self.needs_store(fault) && random.in_range(0..2) == 0;
            if amid {
                self.server.kill()?;
                self.clients.history.add(&Record::Killed { starting: false });
                self.end(fault)?;
                self.start(&mut random).await?;
            } else {
                self.end(fault)?;
                if kills {
                    tokio::time::sleep(random.millis(0..100)).await;
                    Nemesis::Kill.begin(self, &mut random).await?;
                }
            }
        }
        Ok(())
    }

    /// Whether no process can come to schedule before the fault has ended.
    fn needs_store(&self, fault: Fault) -> bool {
        !self.others.is_empty() && matches!(fault, Fault::StoreDown | Fault::StoreSuspended)
    }

    /// Ends what was begun.
    fn end(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Ended => Ok(()),
            Fault::ServerSuspended | Fault::DiskFrozen => stall::end(self, fault),
            Fault::DiskFull => disk::end(self),
            Fault::EngineDown | Fault::EngineSuspended => engine::end(self, fault),
            Fault::StoreDown | Fault::StoreSuspended => store::end(self, fault),
        }
    }

    /// Starts the server again; now and then the clock is set first, or the server is killed before it is ready.
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
            self.wait_for_takeover().await?;
        }
        let millis = u64::try_from(began.elapsed().as_millis())?;
        self.slowest_start = self.slowest_start.max(millis);
        self.clients.history.add(&Record::Ready { millis });
        Ok(())
    }

    /// Waits until another process schedules, or the same one again, and makes that one the server.
    async fn wait_for_takeover(&mut self) -> Result<()> {
        let end = Instant::now() + TAKEOVER_TIMEOUT;
        while !self.server.is_scheduling() {
            if let Some(next) = self.others.iter().position(Server::is_scheduling) {
                std::mem::swap(&mut self.server, &mut self.others[next]);
                return Ok(());
            }
            ensure!(Instant::now() < end, "no process schedules");
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

    /// Records that a fault of this kind was injected.
    fn note(&self, nemesis: Nemesis, how: impl Into<String>, ends_runs: bool) {
        self.clients.history.add(&Record::Disturbed { nemesis, how: how.into(), ends_runs });
    }

    /// Records the server's peak memory.
    pub(crate) fn note_peak(&self) -> Result<()> {
        self.clients.history.add(&Record::Peak { mib: self.server.peak_memory_mib()? });
        Ok(())
    }
}
