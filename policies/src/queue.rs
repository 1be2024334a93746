//! The innermost step: the scheduler itself, which bounds its queue and takes what is left of a batch at once.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, FutureExt};
use mgx_scheduler::{Scheduler, Submission};
use tower::Service;

use crate::batch::{Batch, Decision, RequestedJob, Submitter};
use crate::refusal::Refusal;

/// The scheduler as a service. Each job of a batch is accepted or refused by itself; all are stored in one go.
#[derive(Clone, Debug)]
pub(crate) struct Queue(pub(crate) Scheduler);

impl Service<Batch> for Queue {
    type Response = Vec<Decision>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Vec<Decision>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // always ready: a full queue refuses
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, batch: Batch) -> Self::Future {
        let scheduler = self.0.clone();
        async move {
            let Batch { from, jobs } = batch;
            let Submitter { user, session, spent: _ } = &*from;
            let submission = |RequestedJob { id, spec }| Submission {
                id,
                session: session.clone(),
                user: user.clone(),
                spec,
            };
            let results = scheduler.submit_all(jobs.into_iter().map(submission).collect()).await;
            Ok(results.into_iter().map(|result| result.map_err(Refusal::from)).collect())
        }
        .boxed()
    }
}
