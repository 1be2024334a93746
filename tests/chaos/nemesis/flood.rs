//! Far more submissions at once than the queue holds; what comes next comes into the midst of them.

use std::sync::Arc;

use anyhow::Result;

use super::{Field, Nemesis, Trouble};
use crate::dice::Dice;

pub(super) async fn flood(field: &Field, dice: &mut Dice) -> Result<Trouble> {
    for _ in 0..field.flood {
        let (clients, mut dice) = (Arc::clone(&field.clients), Dice::new(dice.throw(0..u64::MAX), 0));
        tokio::spawn(async move { clients.submit_one(&mut dice).await });
    }
    field.note(Nemesis::Flood, format!("{} jobs", field.flood), false);
    tokio::time::sleep(dice.millis(0..1000)).await;
    Ok(Trouble::Over)
}
