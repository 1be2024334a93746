//! What must hold at the end of every scenario, whatever happened in it.

use std::collections::HashMap;
use std::time::Duration;

use mgx_protocol::{EventKind, JobId, StateName};
use mgx_runtimes::fake::{Act, Invoked, World};
use mgx_scheduler::memory::MemoryJournal;
use mgx_scheduler::{Event, Job, Load, State};

use crate::fate::Fate;
use crate::scenario::Scenario;

macro_rules! law {
    ($holds:expr, $($said:tt)+) => { if !$holds { return Err(format!($($said)+)); } };
}

/// Holds everything that was seen against the laws.
pub(crate) fn check(
    scenario: &Scenario,
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
    law!(in_time && unfinished.is_empty(), "not everything has come to an end: {unfinished:?} {load:?}");

    law!(world.container_count() == 0, "{} containers are left", world.container_count());
    law!(load == Load { waiting: 0, live: 0, taken: 0 }, "something was not given back: {load:?}");

    for (session, log) in &logs {
        let numbers: Vec<_> = log.iter().map(|event| event.seq).collect();
        law!(
            numbers == (1..=log.len() as u64).collect::<Vec<_>>(),
            "{session}: numbers with gaps: {numbers:?}"
        );
    }
    caps(scenario, world)?;
    let mut invoked: HashMap<JobId, u32> = HashMap::new();
    for heard in world.counts().invoked {
        *invoked.entry(heard.job).or_default() += 1;
    }
    for fate in &scenario.fates {
        let job = jobs.iter().find(|job| job.id == fate.id);
        law!(job.is_none() || !refused.contains(&fate.id), "{}: refused, and kept all the same", fate.id);
        let Some(job) = job else { continue };
        let log: Vec<_> = logs[&job.session].iter().filter(|event| event.job == job.id).collect();
        story(job, &log)?;
        let times = invoked.get(&job.id).copied().unwrap_or(0);
        let most = 1 + fate.terms.retry.times;
        law!(times <= most, "{}: invoked {times} times", job.id);
        destiny(fate, scenario.slack(), job, &log)?;
    }
    Ok(())
}

/// Who was told that a job is being ended has seen it end like that.
pub(crate) fn kept(journal: &MemoryJournal, promised: &[(JobId, State)]) -> Result<(), String> {
    let jobs = journal.all_jobs();
    for (id, promise) in promised {
        let end = jobs.iter().find(|job| job.id == *id).map(|job| job.state);
        let kept = match *promise {
            State::Stopping(outcome) | State::Ended(outcome) => end == Some(State::Ended(outcome)),
            State::Queued | State::Admitted | State::Starting | State::Running => false,
        };
        law!(kept, "{id}: told that it is {promise:?}, but it came to {end:?}");
    }
    Ok(())
}

/// At no time does more run than may: in all, of one user, of one group.
fn caps(scenario: &Scenario, world: &World) -> Result<(), String> {
    let fates: HashMap<_, _> = scenario.fates.iter().map(|fate| (fate.id, fate)).collect();
    let group = |fate: &Fate| fate.terms.group.as_ref().map(|group| (fate.user.clone(), group.key.clone()));
    for Invoked { job, beside, .. } in world.counts().invoked {
        let fate = fates[&job];
        let others: Vec<_> = beside.iter().map(|other| fates[other]).collect();
        let all = 1 + others.len();
        law!(all <= scenario.config.caps.running, "{all} jobs run at a time");
        let user = 1 + others.iter().filter(|other| other.user == fate.user).count();
        law!(user <= scenario.config.caps.per_user, "{user} jobs of {} run at a time", fate.user);
        let rivals =
            others.iter().filter(|other| group(fate).is_some() && group(other) == group(fate)).count();
        law!(rivals == 0, "{job}: beside {rivals} others of its group");
    }
    Ok(())
}

/// The events of one job tell one story, with one end.
fn story(job: &Job, log: &[&Event]) -> Result<(), String> {
    let finishes = log.iter().filter(|event| event.kind == EventKind::Finish).count();
    law!(finishes == 1, "{}: {finishes} times finish", job.id);
    law!(
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
            EventKind::Finish => before.is_some(),
            _ => false,
        };
        law!(fits, "{}: {kind} after {before:?}", job.id);
        if let EventKind::Job(state) = kind {
            before = Some(*state);
        }
    }
    law!(
        log.windows(2).all(|pair| pair[0].attempt <= pair[1].attempt),
        "{}: an earlier attempt speaks",
        job.id
    );
    Ok(())
}

/// What nobody disturbed has ended as it was going to, and every word of it was kept, once, in order.
fn destiny(fate: &Fate, slack: Duration, job: &Job, log: &[&Event]) -> Result<(), String> {
    let words: Vec<_> = log.iter().filter_map(|event| event.data.get("delta")?.as_str()).collect();
    let said = fate.script.acts.iter().filter_map(|(_, act)| match act {
        Act::Say(word) => Some(word.as_str()),
        Act::Exit { .. } | Act::Die(_) => None,
    });
    let said: Vec<_> = said.collect();
    let again = said.iter().cycle().take(said.len() * job.runs.max(1) as usize).copied();
    let in_order = job.runs > 1 || said.starts_with(&words);
    law!(in_order && words.len() <= again.count(), "{}: heard {words:?} of {said:?}", job.id);
    if let Some(end) = fate.destiny(slack) {
        law!(job.state.name() == end, "{}: {} instead of {end}", job.id, job.state.name());
        law!(end != StateName::Succeeded || words == said, "{}: heard only {words:?} of {said:?}", job.id);
    }
    Ok(())
}
