//! How far a recovery has come: the tasks of running jobs wait for the list of containers, and report what came of each.

use mgx_protocol::JobId;
use tokio::sync::{SetOnce, mpsc};

use super::report::RecoveryReport;

/// How far the recovery has come.
#[derive(Debug)]
pub(crate) struct RecoveryProgress {
    listed: SetOnce<()>,
    resumed: mpsc::Sender<Resumed>,
    finished: SetOnce<RecoveryReport>,
}

/// What came of resuming a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resumed {
    /// The job's task is attached to it again; it may have ended meanwhile.
    Reattached(JobId),
    /// No command had begun: the job begins its next attempt.
    StartedOver,
    /// Its container is not there.
    Lost,
}

impl RecoveryProgress {
    /// The progress of a recovery with so many `runs` to resume, and the receiver of what comes of each.
    pub(crate) fn new(runs: usize) -> (Self, mpsc::Receiver<Resumed>) {
        let (resumed, results) = mpsc::channel(runs.max(1));
        (Self { listed: SetOnce::new(), resumed, finished: SetOnce::new() }, results)
    }

    /// Resolves when the engine has listed its containers.
    pub(crate) async fn containers_listed(&self) {
        self.listed.wait().await;
    }

    /// The engine has listed its containers.
    pub(super) fn set_listed(&self) {
        self.listed.set(()).ok();
    }

    /// Reports what came of resuming a run; called once for each.
    pub(crate) fn report(&self, resumed: Resumed) {
        // the channel holds one message for each run, and after a shutdown it has no receiver
        self.resumed.try_send(resumed).ok();
    }

    /// The report, once the recovery is complete.
    pub(crate) async fn finished(&self) -> RecoveryReport {
        self.finished.wait().await.clone()
    }

    /// The recovery is complete.
    pub(super) fn set_finished(&self, report: RecoveryReport) {
        self.finished.set(report).ok();
    }
}
