//! `kill -9` of the server.

use anyhow::Result;

use super::{Field, Trouble};
use crate::dice::Dice;
use crate::history::Record;

/// Kills the server, and starts it again.
pub(super) async fn kill(field: &mut Field, dice: &mut Dice) -> Result<Trouble> {
    field.note_peak()?;
    field.server.kill()?;
    field.clients.history.add(&Record::Killed { starting: false });
    field.start(dice).await?;
    Ok(Trouble::Over)
}
