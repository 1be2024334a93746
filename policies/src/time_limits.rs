//! How long a job may run, and how long it may wait for a slot: the one place where both are decided. The HTTP API asks
//! [`TimeLimits::allow`] for each field, and the policy asks it for every job.

use crate::batch::{RequestedJob, Submitter};
use crate::limits::TimeLimit;
use crate::policy::{GateLayer, Policy};
use crate::refusal::Refusal;

/// How long a job may run and wait, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    /// How long a command may run if the job does not say (`agent.timeout`).
    pub run_s: u32,
    /// The longest run time that a job may ask for (`agent.max_timeout`).
    pub max_run_s: u32,
    /// How long a job waits for a slot before it expires, if it does not say; without limit if `None` (`queue.ttl`).
    pub wait_s: Option<u32>,
    /// The longest wait that a job may ask for (`queue.max_ttl`).
    pub max_wait_s: u32,
}

impl TimeLimits {
    /// Whether a job may ask for so many seconds.
    pub fn allow(&self, limit: TimeLimit, seconds: u32) -> bool {
        (1..=self.max(limit)).contains(&seconds)
    }

    /// The most seconds that a job may ask for.
    pub fn max(&self, limit: TimeLimit) -> u32 {
        match limit {
            TimeLimit::Run => self.max_run_s,
            TimeLimit::Wait => self.max_wait_s,
        }
    }

    fn check(&self, limit: TimeLimit, asked_s: u32) -> Result<(), Refusal> {
        if self.allow(limit, asked_s) {
            Ok(())
        } else {
            Err(Refusal::TooLong { limit, asked_s, max_s: self.max(limit) })
        }
    }
}

/// Fills in how long a job may wait, and refuses what would run or wait too long.
pub(crate) fn layer(times: TimeLimits) -> GateLayer<TimeLimits> {
    GateLayer::new(times)
}

impl Policy for TimeLimits {
    fn admit(&self, _: &Submitter, job: &mut RequestedJob) -> Result<(), Refusal> {
        self.check(TimeLimit::Run, job.spec.timeout_s)?;
        let wait = &mut job.spec.options.queue_ttl_s;
        *wait = wait.or(self.wait_s);
        wait.map_or(Ok(()), |seconds| self.check(TimeLimit::Wait, seconds))
    }

    fn take_back(&self, _: &Submitter, _: u32) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{accept, ask, batch, outcomes};
    use tower::{Layer, service_fn};

    const TIMES: TimeLimits =
        TimeLimits { run_s: 1800, max_run_s: 7200, wait_s: Some(600), max_wait_s: 3600 };

    #[tokio::test]
    async fn a_job_that_does_not_say_waits_as_long_as_configured() {
        let mut batch = batch(&["says nothing", "says 5 s"]);
        batch.jobs[1].spec.options.queue_ttl_s = Some(5);
        let decisions = ask(layer(TIMES).layer(service_fn(accept)), batch).await;
        let waits: Vec<_> =
            decisions.into_iter().map(|job| job.unwrap().job.spec.options.queue_ttl_s).collect();
        assert_eq!(waits, [Some(600), Some(5)]);
    }

    #[tokio::test]
    async fn more_than_the_most_is_refused() {
        let mut batch = batch(&["the most", "runs too long", "waits too long"]);
        (batch.jobs[0].spec.timeout_s, batch.jobs[0].spec.options.queue_ttl_s) = (7200, Some(3600));
        batch.jobs[1].spec.timeout_s = 7201;
        batch.jobs[2].spec.options.queue_ttl_s = Some(3601);
        let decisions = ask(layer(TIMES).layer(service_fn(accept)), batch).await;
        assert_eq!(outcomes(decisions), ["the most", "agent.max_timeout", "queue.max_ttl"]);
    }

    #[test]
    fn no_time_at_all_is_not_allowed() {
        assert!(
            !TIMES.allow(TimeLimit::Run, 0)
                && TIMES.allow(TimeLimit::Run, 7200)
                && !TIMES.allow(TimeLimit::Run, 7201)
        );
        assert!(
            !TIMES.allow(TimeLimit::Wait, 0)
                && TIMES.allow(TimeLimit::Wait, 3600)
                && !TIMES.allow(TimeLimit::Wait, 3601)
        );
    }
}
