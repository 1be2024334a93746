//! Submits far more jobs at once than the queue holds; the next fault comes while they are being submitted.

use std::sync::Arc;

use anyhow::Result;

use super::{Fault, Nemesis, Target};
use mgx_testkit::SeededRandom;

pub(super) async fn flood(target: &Target, random: &mut SeededRandom) -> Result<Fault> {
    for _ in 0..target.flood {
        let (clients, mut random) =
            (Arc::clone(&target.clients), SeededRandom::new(random.in_range(0..u64::MAX), 0));
        tokio::spawn(async move { clients.submit_one(&mut random).await });
    }
    target.note(Nemesis::Flood, format!("{} jobs", target.flood), false);
    tokio::time::sleep(random.millis(0..1000)).await;
    Ok(Fault::Ended)
}
