//! What is done to the server.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use mgx_tests::Server;
use rustix::process::Signal;

use crate::clients::Clients;
use crate::dice::Dice;
use crate::history::Record;

/// How long a cycle waits for as many jobs as it wants.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many jobs a flood has.
const FLOOD: u64 = 60;

/// Kills `server` so many times, each time after it has accepted its share of `jobs`; or until time is up.
pub(crate) async fn strike(
    server: &mut Server,
    clients: &Arc<Clients>,
    cycles: u64,
    jobs: u64,
    time_is_up: Instant,
) -> Result<()> {
    let mut dice = Dice::new(clients.seed, u64::MAX);
    let history = &clients.history;
    let mut cycle = 0;
    while cycle < cycles && Instant::now() < time_is_up {
        clients.wanted.store(jobs * (cycle + 1) / cycles, Ordering::SeqCst);
        tokio::time::sleep(dice.millis(50..1200)).await;
        let end = Instant::now() + PATIENCE;
        while !clients.are_satisfied() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        match dice.throw(0..10) {
            0 => stop(server, clients, dice.millis(100..2000)).await?,
            1 => flood(clients, &mut dice).await,
            _ => {}
        }
        server.kill()?;
        history.add(&Record::Killed { starting: false });
        cycle += 1;
        let began = Instant::now();
        server.spawn()?;
        while cycle < cycles && dice.throw(0..4) == 0 {
            tokio::time::sleep(dice.millis(0..400)).await;
            server.kill()?;
            history.add(&Record::Killed { starting: true });
            cycle += 1;
            server.spawn()?;
        }
        server.ready().await?;
        history.add(&Record::Ready { millis: u64::try_from(began.elapsed().as_millis())? });
    }
    Ok(())
}

/// The server stands still, as a machine does that swaps.
async fn stop(server: &Server, clients: &Arc<Clients>, pause: Duration) -> Result<()> {
    server.signal(Signal::STOP)?;
    tokio::time::sleep(pause).await;
    server.signal(Signal::CONT)?;
    clients.history.add(&Record::Stopped { millis: u64::try_from(pause.as_millis())? });
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(())
}

/// Many submissions at once; the kill comes into the midst of them.
async fn flood(clients: &Arc<Clients>, dice: &mut Dice) {
    for _ in 0..FLOOD {
        let (clients, mut dice) = (Arc::clone(clients), Dice::new(dice.throw(0..u64::MAX), 0));
        tokio::spawn(async move { clients.submit_one(&mut dice).await });
    }
    clients.history.add(&Record::Flooded { jobs: FLOOD });
    tokio::time::sleep(dice.millis(0..200)).await;
}
