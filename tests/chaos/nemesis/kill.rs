//! `kill -9` of the server.

use anyhow::Result;

use super::{Fault, Target};
use crate::history::Record;
use mgx_testkit::SeededRandom;

/// Kills the server, and starts it again.
pub(super) async fn kill(target: &mut Target, random: &mut SeededRandom) -> Result<Fault> {
    target.note_peak()?;
    target.server.kill()?;
    target.clients.history.add(&Record::Killed { starting: false });
    target.start(random).await?;
    Ok(Fault::Ended)
}
