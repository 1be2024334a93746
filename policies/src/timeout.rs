//! How long a job may run, and how long it may wait for its turn.

use crate::batch::{Applicant, Wanted};
use crate::policy::{GateLayer, Policy};
use crate::refusal::Refusal;

/// How long a job may run and wait, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How long its command runs at most, if it does not say (`agent.timeout`).
    pub run_s: u32,
    /// The longest that it may ask for (`agent.max_timeout`).
    pub max_run_s: u32,
    /// How long it waits for its turn before it expires, if it does not say; as long as it takes, if `None`
    /// (`queue.ttl`).
    pub wait_s: Option<u32>,
    /// The longest that it may ask for (`queue.max_ttl`).
    pub max_wait_s: u32,
}

/// A time that a job may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// How long its command may run.
    Run,
    /// How long it may wait for its turn.
    Wait,
}

impl Span {
    /// The key of its limit in the configuration.
    pub fn limit(self) -> &'static str {
        match self {
            Self::Run => "agent.max_timeout",
            Self::Wait => "queue.max_ttl",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Run => "a run time",
            Self::Wait => "a time in the queue",
        }
    }
}

impl Times {
    /// Whether a job may ask for so many seconds.
    pub fn allow(&self, span: Span, seconds: u32) -> bool {
        (1..=self.max(span)).contains(&seconds)
    }

    /// The most seconds that a job may ask for.
    pub fn max(&self, span: Span) -> u32 {
        match span {
            Span::Run => self.max_run_s,
            Span::Wait => self.max_wait_s,
        }
    }

    fn check(&self, span: Span, asked_s: u32) -> Result<(), Refusal> {
        let max_s = self.max(span);
        if asked_s > max_s { Err(Refusal::TooLong { span, asked_s, max_s }) } else { Ok(()) }
    }
}

/// Fills in how long a job may wait, and refuses what would run or wait too long.
pub(crate) fn layer(times: Times) -> GateLayer<Times> {
    GateLayer::new(times)
}

impl Policy for Times {
    fn admit(&self, _: &Applicant, job: &mut Wanted) -> Result<(), Refusal> {
        self.check(Span::Run, job.spec.timeout_s)?;
        let wait = &mut job.spec.terms.queue_ttl_s;
        *wait = wait.or(self.wait_s);
        wait.map_or(Ok(()), |seconds| self.check(Span::Wait, seconds))
    }

    fn take_back(&self, _: &Applicant, _: u32) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{accept, ask, batch, outcomes};
    use tower::{Layer, service_fn};

    const TIMES: Times = Times { run_s: 1800, max_run_s: 7200, wait_s: Some(600), max_wait_s: 3600 };

    #[tokio::test]
    async fn a_job_that_does_not_say_waits_as_long_as_the_house_says() {
        let mut batch = batch(&["says nothing", "says 5 s"]);
        batch.jobs[1].spec.terms.queue_ttl_s = Some(5);
        let decisions = ask(layer(TIMES).layer(service_fn(accept)), batch).await;
        let waits: Vec<_> =
            decisions.into_iter().map(|job| job.unwrap().job.spec.terms.queue_ttl_s).collect();
        assert_eq!(waits, [Some(600), Some(5)]);
    }

    #[tokio::test]
    async fn more_than_the_most_is_refused() {
        let mut batch = batch(&["the most", "runs too long", "waits too long"]);
        (batch.jobs[0].spec.timeout_s, batch.jobs[0].spec.terms.queue_ttl_s) = (7200, Some(3600));
        batch.jobs[1].spec.timeout_s = 7201;
        batch.jobs[2].spec.terms.queue_ttl_s = Some(3601);
        let decisions = ask(layer(TIMES).layer(service_fn(accept)), batch).await;
        assert_eq!(outcomes(decisions), ["the most", "agent.max_timeout", "queue.max_ttl"]);
    }

    #[test]
    fn no_time_at_all_is_not_allowed() {
        assert!(!TIMES.allow(Span::Run, 0) && TIMES.allow(Span::Run, 7200) && !TIMES.allow(Span::Run, 7201));
        assert!(
            !TIMES.allow(Span::Wait, 0) && TIMES.allow(Span::Wait, 3600) && !TIMES.allow(Span::Wait, 3601)
        );
    }
}
