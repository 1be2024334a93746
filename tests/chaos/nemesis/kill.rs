//! `kill -9` of the server.

use anyhow::Result;

use super::{Field, Trouble};
use crate::history::Record;
use mgx_testkit::SeededRandom;

/// Kills the server, and starts it again.
pub(super) async fn kill(field: &mut Field, random: &mut SeededRandom) -> Result<Trouble> {
    field.note_peak()?;
    field.server.kill()?;
    field.clients.history.add(&Record::Killed { starting: false });
    field.start(random).await?;
    Ok(Trouble::Over)
}
