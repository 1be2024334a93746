//! A job that asks for more than it could ever be given is refused: it would wait for ever.

use mgx_runtimes::Limits;
use mgx_scheduler::{Budget, Caps, LimitKey, Resource};

use crate::batch::{RequestedJob, Submitter};
use crate::policy::{GateLayer, Policy};
use crate::refusal::Refusal;

/// The most that there is.
#[derive(Debug)]
pub(crate) struct Fit(Caps);

/// Refuses jobs that ask for more than `caps` would ever give them.
pub(crate) fn layer(caps: Caps) -> GateLayer<Fit> {
    GateLayer::new(Fit(caps))
}

impl Policy for Fit {
    fn admit(&self, _: &Submitter, job: &mut RequestedJob) -> Result<(), Refusal> {
        let Caps { running, per_user, per_kind, host, user, session } = &self.0;
        let of_kind = per_kind.get(&job.spec.kind).copied().unwrap_or(usize::MAX);
        one(LimitKey::Running, *running)?;
        one(LimitKey::UserJobs, *per_user)?;
        one(LimitKey::Kind(job.spec.kind), of_kind)?;
        resources(job.spec.limits, host, LimitKey::Host)?;
        resources(job.spec.limits, user, LimitKey::User)?;
        resources(job.spec.limits, session, LimitKey::Session)
    }

    fn take_back(&self, _: &Submitter, _: u32) {}
}

fn one(limit: LimitKey, max: usize) -> Result<(), Refusal> {
    at_most(limit, 1, max as u64)
}

fn resources(asked: Limits, max: &Budget, limit: fn(Resource) -> LimitKey) -> Result<(), Refusal> {
    at_most(limit(Resource::Memory), asked.memory_bytes, max.memory_bytes)?;
    at_most(limit(Resource::Cpu), asked.cpu_quota, max.cpu_quota)?;
    at_most(limit(Resource::Pids), asked.pids.into(), max.pids)
}

fn at_most(limit: LimitKey, asked: u64, max: u64) -> Result<(), Refusal> {
    if asked > max { Err(Refusal::NeverFits { limit: limit.as_str(), asked, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{accept, ask, batch, outcomes};
    use mgx_scheduler::Kind;
    use tower::{Layer, service_fn};

    async fn decided(caps: Caps) -> String {
        outcomes(ask(layer(caps).layer(service_fn(accept)), batch(&["fits"])).await).remove(0)
    }

    #[tokio::test]
    async fn what_is_exactly_as_much_as_there_is_fits() {
        let all = Budget { memory_bytes: 1 << 30, cpu_quota: 100_000, pids: 256 };
        let caps = Caps { host: all, user: all, session: all, per_user: 1, ..Caps::of(1) };
        assert_eq!(decided(caps).await, "fits");
    }

    #[tokio::test]
    async fn a_job_that_could_never_run_is_refused_with_the_limit() {
        let all = Budget::UNLIMITED;
        let memory = Budget { memory_bytes: (1 << 30) - 1, ..all };
        let cpu = Budget { cpu_quota: 99_999, ..all };
        let pids = Budget { pids: 255, ..all };
        for (caps, limit) in [
            (Caps { host: memory, ..Caps::of(8) }, "quotas.host_memory"),
            (Caps { host: cpu, ..Caps::of(8) }, "quotas.host_cpu_quota"),
            (Caps { host: pids, ..Caps::of(8) }, "quotas.host_pids"),
            (Caps { user: memory, ..Caps::of(8) }, "quotas.user_memory"),
            (Caps { user: cpu, ..Caps::of(8) }, "quotas.user_cpu_quota"),
            (Caps { user: pids, ..Caps::of(8) }, "quotas.user_pids"),
            (Caps { session: memory, ..Caps::of(8) }, "quotas.session_memory"),
            (Caps { session: cpu, ..Caps::of(8) }, "quotas.session_cpu_quota"),
            (Caps { session: pids, ..Caps::of(8) }, "quotas.session_pids"),
            (Caps { per_kind: [(Kind::Agent, 0)].into(), ..Caps::of(8) }, "kinds.agent"),
        ] {
            assert_eq!(decided(caps).await, limit);
        }
    }
}
