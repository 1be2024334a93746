//! What can never run is not taken in: it would wait for ever.

use mgx_runtimes::Limits;
use mgx_scheduler::{Budget, Caps, Kind};

use crate::batch::{Applicant, Wanted};
use crate::policy::{GateLayer, Policy};
use crate::refusal::Refusal;

/// What there is at most.
#[derive(Debug)]
pub(crate) struct Fit(Caps);

/// Refuses jobs that ask for more than `caps` would ever give them.
pub(crate) fn layer(caps: Caps) -> GateLayer<Fit> {
    GateLayer::new(Fit(caps))
}

impl Policy for Fit {
    fn admit(&self, _: &Applicant, job: &mut Wanted) -> Result<(), Refusal> {
        let Caps { running, per_user, per_kind, host, user, session } = &self.0;
        let of_kind = per_kind.get(&job.spec.kind).copied().unwrap_or(usize::MAX);
        let [host_keys, user_keys, session_keys] = KEYS;
        one("scheduler.max_running", *running)?;
        one("quotas.user_jobs", *per_user)?;
        one(kind_key(job.spec.kind), of_kind)?;
        resources(job.spec.limits, host, host_keys)?;
        resources(job.spec.limits, user, user_keys)?;
        resources(job.spec.limits, session, session_keys)
    }

    fn take_back(&self, _: &Applicant, _: u32) {}
}

/// Where the limits on memory, processor time and processes stand in the configuration.
const KEYS: [[&str; 3]; 3] = [
    ["quotas.host_memory", "quotas.host_cpu_quota", "quotas.host_pids"],
    ["quotas.user_memory", "quotas.user_cpu_quota", "quotas.user_pids"],
    ["quotas.session_memory", "quotas.session_cpu_quota", "quotas.session_pids"],
];

fn kind_key(kind: Kind) -> &'static str {
    match kind {
        Kind::Agent => "kinds.agent",
        Kind::Dev => "kinds.dev",
        Kind::Build => "kinds.build",
    }
}

fn one(limit: &'static str, max: usize) -> Result<(), Refusal> {
    at_most(limit, 1, max as u64)
}

fn resources(asked: Limits, there: &Budget, [memory, cpu, pids]: [&'static str; 3]) -> Result<(), Refusal> {
    at_most(memory, asked.memory_bytes, there.memory_bytes)?;
    at_most(cpu, asked.cpu_quota, there.cpu_quota)?;
    at_most(pids, asked.pids.into(), there.pids)
}

fn at_most(limit: &'static str, asked: u64, max: u64) -> Result<(), Refusal> {
    if asked > max { Err(Refusal::NeverFits { limit, asked, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{accept, ask, batch, outcomes};
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
