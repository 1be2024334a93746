//! The invariants: what must hold at the end of every scenario, whatever happened in it.

use std::collections::HashMap;
use std::time::Duration;

use mgx_protocol::{EventKind, JobId, StateName};
use mgx_runtimes::fake::{Act, Invoked, World};
use mgx_scheduler::memory::MemoryJournal;
use mgx_scheduler::{Caps, Event, Job, Load, State};

use crate::planned_job::PlannedJob;

macro_rules! invariant {
    ($holds:expr, $($said:tt)+) => { if !$holds { return Err(format!($($said)+)); } };
}

/// What a scenario lets one expect.
#[derive(Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) jobs: &'a [PlannedJob],
    pub(crate) caps: &'a Caps,
    /// How long a slow or failing journal may delay the beginning and the end of a job.
    pub(crate) slack: Duration,
}

/// Checks everything that was observed against the invariants; the first that is broken.
pub(crate) fn check(
    expected: &Expected<'_>,
    journal: &MemoryJournal,
    world: &World,
    load: Load,
    refused: &[JobId],
    in_time: bool,
) -> Result<(), String> {
    let jobs = journal.all_jobs();
    let logs = journal.all_events();
    let unfinished: Vec<_> =
        jobs.iter().filter(|job| !job.state.has_ended()).map(|job| (job.id, job.state)).collect();
    invariant!(in_time && unfinished.is_empty(), "not every job has ended: {unfinished:?} {load:?}");

    invariant!(world.container_count() == 0, "{} containers are left", world.container_count());
    invariant!(
        load == Load { waiting: 0, live: 0, taken: 0 },
        "slots or places in the queue were not given back: {load:?}"
    );

    for (session, log) in &logs {
        let numbers: Vec<_> = log.iter().map(|event| event.seq).collect();
        invariant!(
            numbers == (1..=log.len() as u64).collect::<Vec<_>>(),
            "{session}: numbers with gaps: {numbers:?}"
        );
    }
    caps(expected, world)?;
    let mut invoked: HashMap<JobId, u32> = HashMap::new();
    for heard in world.counts().invoked {
        *invoked.entry(heard.job).or_default() += 1;
    }
    for planned in expected.jobs {
        let job = jobs.iter().find(|job| job.id == planned.id);
        invariant!(
            job.is_none() || !refused.contains(&planned.id),
            "{}: refused, and kept all the same",
            planned.id
        );
        let Some(job) = job else { continue };
        let log: Vec<_> = logs[&job.session].iter().filter(|event| event.job == job.id).collect();
        event_order(job, &log)?;
        let times = invoked.get(&job.id).copied().unwrap_or(0);
        let most = 1 + planned.options.retry.times;
        invariant!(times <= most, "{}: invoked {times} times", job.id);
        expected_end(planned, expected.slack, job, &log)?;
    }
    Ok(())
}

/// A caller of `cancel` who was told how a job is being ended sees it end in that way.
pub(crate) fn promises_are_kept(journal: &MemoryJournal, promised: &[(JobId, State)]) -> Result<(), String> {
    let jobs = journal.all_jobs();
    for (id, promise) in promised {
        let end = jobs.iter().find(|job| job.id == *id).map(|job| job.state);
        let is_kept = match *promise {
            State::Stopping(outcome) | State::Ended(outcome) => end == Some(State::Ended(outcome)),
            State::Queued | State::Admitted | State::Starting | State::Running => false,
        };
        invariant!(is_kept, "{id}: the caller was told {promise:?}, but the job is {end:?}");
    }
    Ok(())
}

/// At no time do more jobs run than may: in all, of one user, of one group.
fn caps(expected: &Expected<'_>, world: &World) -> Result<(), String> {
    let jobs_by_id: HashMap<_, _> = expected.jobs.iter().map(|planned| (planned.id, planned)).collect();
    let group = |planned: &PlannedJob| {
        planned.options.group.as_ref().map(|group| (planned.user.clone(), group.key.clone()))
    };
    for Invoked { job, beside, .. } in world.counts().invoked {
        let planned = jobs_by_id[&job];
        let others: Vec<_> = beside.iter().map(|other| jobs_by_id[other]).collect();
        let all = 1 + others.len();
        invariant!(all <= expected.caps.running, "{all} jobs run at a time");
        let user = 1 + others.iter().filter(|other| other.user == planned.user).count();
        invariant!(user <= expected.caps.per_user, "{user} jobs of {} run at a time", planned.user);
        let rivals =
            others.iter().filter(|other| group(planned).is_some() && group(other) == group(planned)).count();
        invariant!(rivals == 0, "{job}: beside {rivals} others of its group");
    }
    Ok(())
}

/// The events of a job follow each other as its states do, and end with one `finish`.
fn event_order(job: &Job, log: &[&Event]) -> Result<(), String> {
    let finishes = log.iter().filter(|event| event.kind == EventKind::Finish).count();
    invariant!(finishes == 1, "{}: {finishes} times finish", job.id);
    invariant!(
        log.last().is_some_and(|event| event.kind == EventKind::Finish),
        "{}: something comes after its finish",
        job.id
    );
    let mut before = None;
    for event in log {
        let kind = &event.kind;
        let fits = match kind {
            EventKind::Job(StateName::Queued) => {
                matches!(before, None | Some(StateName::Admitted | StateName::Starting | StateName::Running))
            }
            EventKind::Job(StateName::Admitted) => before == Some(StateName::Queued),
            EventKind::Job(StateName::Starting) => before == Some(StateName::Admitted),
            EventKind::Job(StateName::Running) => before == Some(StateName::Starting),
            EventKind::Job(StateName::Stopping) => {
                matches!(before, Some(StateName::Starting | StateName::Running))
            }
            EventKind::MessageDelta | EventKind::LlmUsage | EventKind::JobReattached => {
                matches!(before, Some(StateName::Running | StateName::Stopping))
            }
            // the user's prompt
            EventKind::MessageComplete => event.agent.is_none() && before == Some(StateName::Queued),
            EventKind::Finish => before.is_some(),
            _ => false,
        };
        invariant!(fits, "{}: {kind} after {before:?}", job.id);
        if let EventKind::Job(state) = kind {
            before = Some(*state);
        }
    }
    invariant!(
        log.windows(2).all(|pair| pair[0].attempt <= pair[1].attempt),
        "{}: an event of an earlier attempt comes late",
        job.id
    );
    Ok(())
}

/// A job that was not disturbed has ended as expected, and every word of its output is stored, once, in order.
fn expected_end(planned: &PlannedJob, slack: Duration, job: &Job, log: &[&Event]) -> Result<(), String> {
    let words: Vec<_> = log.iter().filter_map(|event| event.data.get("delta")?.as_str()).collect();
    let said = planned.script.acts.iter().filter_map(|(_, act)| match act {
        Act::Say(word) => Some(word.as_str()),
        Act::Exit { .. } | Act::Die(_) => None,
    });
    let said: Vec<_> = said.collect();
    let again = said.iter().cycle().take(said.len() * job.runs.max(1) as usize).copied();
    let in_order = job.runs > 1 || said.starts_with(&words);
    invariant!(in_order && words.len() <= again.count(), "{}: heard {words:?} of {said:?}", job.id);
    if let Some(end) = planned.expected_end(slack) {
        invariant!(job.state.name() == end, "{}: {} instead of {end}", job.id, job.state.name());
        invariant!(
            end != StateName::Succeeded || words == said,
            "{}: heard only {words:?} of {said:?}",
            job.id
        );
    }
    Ok(())
}
