//! The claim: takes a warm container for a job, and binds everything of the job to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use super::inner::PoolInner;
use super::owned::OwnedContainer;
use super::subpool::{IdleContainer, SubPool};
use crate::{ContainerSpec, Placement, RuntimeError, RuntimeErrorKind, Workspace};

/// How long a runner may take to confirm its claim.
const CLAIM_LIMIT: Duration = Duration::from_millis(250);

/// How many containers may fail to be claimed before a start makes its own.
const MAX_FAILED_CLAIMS: u32 = 4;

/// The outcome of claiming one warm container.
enum Outcome {
    /// The container is the job's.
    Claimed,
    /// The container stays warm: it cannot be made to fit the job.
    Unfit(IdleContainer),
    /// The container stays warm: the job has one already.
    JobHasContainer(IdleContainer),
    /// The container failed and is removed.
    Failed(OwnedContainer, String),
}

/// Claims a warm container of `subpool` for the job of `placement`; false if none fits.
///
/// # Errors
/// `Conflict` if the job has a container already.
pub(super) async fn claim(
    inner: &Arc<PoolInner>,
    subpool: &SubPool,
    spec: &ContainerSpec,
    placement: &Placement,
) -> Result<bool, RuntimeError> {
    let began = Instant::now();
    for _ in 0..MAX_FAILED_CLAIMS {
        let Some(container) = subpool.take(Instant::now()) else { return Ok(false) };
        match bind(inner, container, spec, placement).await {
            Outcome::Claimed => {
                let took = began.elapsed();
                debug!(job = %placement.slot, ?took, "a warm container is claimed");
                subpool.lock().counters.hit(took);
                return Ok(true);
            }
            Outcome::Unfit(container) => {
                inner.put(subpool, container);
                return Ok(false);
            }
            Outcome::JobHasContainer(container) => {
                inner.put(subpool, container);
                let message = format!("slot {} is taken", placement.slot);
                return Err(RuntimeError::new(RuntimeErrorKind::Conflict, message));
            }
            Outcome::Failed(owned, why) => {
                subpool.lock().counters.quarantined += 1;
                inner.discard_in_background(owned, why);
            }
        }
    }
    Ok(false)
}

/// Makes `container` the one of the job of `placement`: ledger, limits, workspace, and the runner's confirmation.
async fn bind(
    inner: &PoolInner,
    container: IdleContainer,
    spec: &ContainerSpec,
    placement: &Placement,
) -> Outcome {
    let workspace = match (&placement.workspace, &inner.mounts) {
        (None, _) => None,
        (Some(Workspace::Directory(directory)), Some(mounts)) if container.sees_mounts => {
            Some((mounts, directory))
        }
        (Some(Workspace::Directory(_) | Workspace::MountPoint(_)), _) => return Outcome::Unfit(container),
    };
    let limits = match (&container.cgroup, container.limits == spec.limits) {
        (_, true) => None,
        (Some(cgroup), false) => Some(cgroup),
        (None, false) => return Outcome::Unfit(container),
    };
    let (slot, job) = (container.owned.slot(), &placement.slot);
    match inner.ledger.claim(slot, job) {
        Ok(true) => {}
        Ok(false) => return Outcome::JobHasContainer(container),
        Err(error) => {
            let why = format!("the ledger cannot be written: {error}");
            return Outcome::Failed(container.owned, why);
        }
    }
    let limited = limits.map(|cgroup| cgroup.set(&container.limits, &spec.limits)).transpose();
    let limited = limited.map_err(|error| format!("its limits cannot be set: {error}"));
    let mount = |()| workspace.map(|(mounts, directory)| mounts.mount(slot, directory)).transpose();
    let mounted = limited.map(Option::unwrap_or_default).map(mount);
    let confirmed = match mounted {
        Ok(Ok(mounted)) => match container.warm.claim(CLAIM_LIMIT).await {
            Ok(claimed) if mounted.is_none_or(|mounted| claimed.workspace == Some(mounted)) => Ok(()),
            Ok(_) => Err("its runner does not see the workspace".to_owned()),
            Err(error) => Err(error.to_string()),
        },
        Ok(Err(error)) => Err(format!("the workspace cannot be mounted: {error}")),
        Err(why) => Err(why),
    };
    match confirmed {
        Ok(()) => Outcome::Claimed,
        Err(why) => {
            inner.ledger.release(job);
            Outcome::Failed(container.owned, why)
        }
    }
}
