//! One policy as a tower layer: it decides about each job of a batch, and hands on those that it admits in one call.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{self, BoxFuture, FutureExt};
use tower::{Layer, Service};

use crate::batch::{Batch, Decision, RequestedJob, Submitter};
use crate::refusal::Refusal;

/// Decides about one job at a time. Never waits.
pub(crate) trait Policy: Send + Sync + 'static {
    /// Lets `job` pass, perhaps with what it did not say filled in.
    ///
    /// # Errors
    /// The limit that keeps it out.
    fn admit(&self, from: &Submitter, job: &mut RequestedJob) -> Result<(), Refusal>;

    /// A policy further in, or the scheduler, has refused `count` jobs that this policy had admitted: they do not count.
    fn take_back(&self, from: &Submitter, count: u32);
}

/// Puts a [`Gate`] in front of a service.
#[derive(Debug)]
pub(crate) struct GateLayer<P>(Arc<P>);

/// A service with a policy in front of it. Answers with one [`Decision`] for each job, in their order.
#[derive(Debug)]
pub(crate) struct Gate<P, S> {
    policy: Arc<P>,
    inner: S,
}

impl<P> GateLayer<P> {
    pub(crate) fn new(policy: P) -> Self {
        Self(Arc::new(policy))
    }
}

impl<P, S> Layer<S> for GateLayer<P> {
    type Service = Gate<P, S>;
    fn layer(&self, inner: S) -> Gate<P, S> {
        Gate { policy: self.0.clone(), inner }
    }
}

impl<P, S: Clone> Clone for Gate<P, S> {
    fn clone(&self) -> Self {
        Self { policy: self.policy.clone(), inner: self.inner.clone() }
    }
}

impl<P, S> Service<Batch> for Gate<P, S>
where
    P: Policy,
    S: Service<Batch, Response = Vec<Decision>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Vec<Decision>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Vec<Decision>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut batch: Batch) -> Self::Future {
        let asked = batch.jobs.len();
        let mut refused = Vec::new();
        let mut index = 0;
        batch.jobs.retain_mut(|job| {
            let admitted = self.policy.admit(&batch.from, job);
            index += 1;
            admitted.map_err(|refusal| refused.push((index - 1, refusal))).is_ok()
        });
        if refused.len() == asked {
            let decisions = refused.into_iter().map(|(_, refusal)| Err(refusal)).collect();
            return future::ready(Ok(decisions)).boxed();
        }
        let (policy, from) = (self.policy.clone(), batch.from.clone());
        let inner = self.inner.call(batch);
        async move {
            let decisions = inner.await?;
            let in_vain = decisions.iter().filter(|decision| decision.is_err()).count();
            if in_vain > 0 {
                policy.take_back(&from, u32::try_from(in_vain).unwrap_or(u32::MAX));
            }
            Ok(merge(decisions, refused))
        }
        .boxed()
    }
}

/// The decisions from further in, with our own refusals at the places of their jobs.
fn merge(decisions: Vec<Decision>, refused: Vec<(usize, Refusal)>) -> Vec<Decision> {
    if refused.is_empty() {
        return decisions;
    }
    let mut merged = Vec::with_capacity(decisions.len() + refused.len());
    let mut decisions = decisions.into_iter();
    for (index, refusal) in refused {
        merged.extend(decisions.by_ref().take(index - merged.len()));
        merged.push(Err(refusal));
    }
    merged.extend(decisions);
    merged
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::testing::{accept, ask, batch, outcomes};
    use mgx_scheduler::Rejection;
    use tower::service_fn;

    /// Refuses jobs whose prompt is "no", and counts what is taken back.
    #[derive(Debug, Default)]
    struct NoMeansNo(AtomicU32);

    impl Policy for NoMeansNo {
        fn admit(&self, _: &Submitter, job: &mut RequestedJob) -> Result<(), Refusal> {
            if job.spec.prompt == "no" {
                return Err(Refusal::NeverFits { limit: "test", asked: 1, max: 0 });
            }
            job.spec.prompt.push('!');
            Ok(())
        }
        fn take_back(&self, _: &Submitter, count: u32) {
            self.0.fetch_add(count, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn each_job_is_decided_by_itself_and_answered_in_its_place() {
        for (prompts, expected) in [
            (&["a", "b"][..], &["a!", "b!"][..]),
            (&["no", "a", "no", "no", "b", "c", "no"], &["test", "a!", "test", "test", "b!", "c!", "test"]),
            (&["no"], &["test"]),
            (&["a", "no"], &["a!", "test"]),
            (&[], &[]),
        ] {
            let gate = GateLayer::new(NoMeansNo::default()).layer(service_fn(accept));
            assert_eq!(outcomes(ask(gate, batch(prompts)).await), expected);
        }
    }

    #[tokio::test]
    async fn what_is_admitted_in_vain_is_taken_back() {
        let layer = GateLayer::new(NoMeansNo::default());
        let closed = service_fn(|batch: Batch| {
            future::ready(Ok(batch.jobs.iter().map(|_| Err(Rejection::Draining.into())).collect()))
        });
        let decisions = ask(layer.layer(closed), batch(&["a", "no", "b"])).await;
        assert_eq!(outcomes(decisions), ["draining", "test", "draining"]);
        assert_eq!(layer.0.0.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_batch_that_is_refused_whole_goes_no_further() {
        let closed = service_fn(|_: Batch| -> future::Ready<Result<Vec<Decision>, Infallible>> {
            panic!("nothing was admitted")
        });
        let decisions = ask(GateLayer::new(NoMeansNo::default()).layer(closed), batch(&["no", "no"])).await;
        assert_eq!(outcomes(decisions), ["test", "test"]);
    }
}
