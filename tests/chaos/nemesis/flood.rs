//! Far more submissions at once than the queue holds; what comes next comes into the midst of them.

use std::sync::Arc;

use anyhow::Result;

use super::{Field, Nemesis, Trouble};
use mgx_testkit::SeededRandom;

pub(super) async fn flood(field: &Field, random: &mut SeededRandom) -> Result<Trouble> {
    for _ in 0..field.flood {
        let (clients, mut random) =
            (Arc::clone(&field.clients), SeededRandom::new(random.in_range(0..u64::MAX), 0));
        tokio::spawn(async move { clients.submit_one(&mut random).await });
    }
    field.note(Nemesis::Flood, format!("{} jobs", field.flood), false);
    tokio::time::sleep(random.millis(0..1000)).await;
    Ok(Trouble::Over)
}
