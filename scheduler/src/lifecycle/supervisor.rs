//! Ends a job whose task panics: a mistake in the platform must not leave a job running for ever.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use mgx_protocol::{EventKind, JobId, SlotId};
use tracing::{error, warn};

use super::record;
use crate::core::{Core, OwnershipLost, journal_backoff};
use crate::job::Job;
use crate::job::state::{Failure, Outcome, Transition};
use crate::journal::Entry;

/// Runs the task of a job. If it panics, its slot and its permit are returned, the job ends as failed with the reason
/// `internal`, and its container is removed.
pub(super) fn spawn(core: &Arc<Core>, job: JobId, task: impl Future<Output = ()> + Send + 'static) {
    let supervisor = core.clone();
    core.tasks.spawn(async move {
        // what the task shares with others are locks, which a panic poisons, and the journal
        if AssertUnwindSafe(task).catch_unwind().await.is_err() {
            error!(%job, "the task of a job has panicked; the job ends as failed");
            if Box::pin(end_after_panic(&supervisor, job)).await.is_ok() {
                supervisor.live.remove(job);
            }
        }
    });
}

/// Ends a job as it stands in the journal.
async fn end_after_panic(core: &Core, id: JobId) -> Result<(), OwnershipLost> {
    core.live.set_running(id, None);
    let mut job = read(core, id).await?;
    let Ok(state) = job.state.after(Transition::End(Outcome::Failed(Failure::Internal))) else {
        // the panic came after its end
        return Ok(());
    };
    let container = core.live.mark_container(SlotId::of(job.id, job.attempt));
    job.state = state;
    record::set_end(&mut job, core.clock.now(), None, None);
    let finish = core.event(job.id, job.attempt, EventKind::Finish, record::finish_data(&job));
    let entry = Entry { session: job.session.clone(), job: Some(job), events: vec![finish] };
    core.write(entry).await?;
    core.remove(container, None).await;
    Ok(())
}

async fn read(core: &Core, id: JobId) -> Result<Job, OwnershipLost> {
    let mut backoff = journal_backoff();
    loop {
        match core.journal.job(id).await {
            Ok(job) => return job.ok_or(OwnershipLost),
            Err(error) => warn!(job = %id, %error, "cannot read a job that is to end, trying again"),
        }
        tokio::select! {
            () = backoff.wait() => {}
            () = core.shutdown.cancelled() => return Err(OwnershipLost),
        }
    }
}
