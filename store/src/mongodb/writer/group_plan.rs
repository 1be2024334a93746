//! Decides what to write for a group of entries, in their order, from what the writer has read or written before. Pure.

use std::collections::{HashMap, HashSet};

use mgx_protocol::{Attempt, JobId, SessionId};
use mgx_scheduler::{Entry, Event, Head, Job, NewEvent, State};

/// The part of the store that the writer has read or written, and that no other process changes while it leads.
#[derive(Debug, Default)]
pub(crate) struct WriterCache {
    /// The status of jobs; `None`: there is no such job.
    jobs: HashMap<JobId, Option<JobStatus>>,
    /// The heads of session logs.
    logs: HashMap<SessionId, Head>,
    /// The highest number of an agent's events that this writer has stored.
    newest: HashMap<(JobId, Attempt), u64>,
    /// Events of agents that are stored already, of those that were asked for.
    stored: HashSet<Source>,
}

/// What identifies an agent's event, however often it is sent: job, attempt, and the agent's own number.
pub(crate) type Source = (JobId, Attempt, u64);

/// The part of a stored job that decides whether an entry may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JobStatus {
    pub(crate) ended: bool,
    pub(crate) attempt: Attempt,
}

/// What has to be read before a group can be planned.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) jobs: Vec<JobId>,
    pub(crate) logs: Vec<SessionId>,
    pub(crate) sources: Vec<Source>,
}

/// What has to be written for a group.
#[derive(Debug, Default)]
pub(crate) struct GroupPlan<'a> {
    /// Jobs in their final state, and whether each is new.
    pub(crate) jobs: Vec<(&'a Job, bool)>,
    /// Events with their numbers.
    pub(crate) events: Vec<(u64, &'a SessionId, &'a NewEvent)>,
    /// The final heads of session logs.
    pub(crate) logs: HashMap<&'a SessionId, Head>,
    /// For each entry: the number of each of its events that is new, or that the entry is refused.
    pub(crate) results: Vec<Result<Vec<Option<u64>>, Fenced>>,
}

/// The writer of an entry is out of date: a job that the entry names has ended, has a later attempt, or has been deleted
/// with its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fenced;

impl WriterCache {
    /// What of `group` is not cached. An agent's event with a number above all that this writer has stored is taken to be
    /// new unless `check_all_sources`: the server refuses the event if it is not new.
    pub(crate) fn missing(&self, group: &[&Entry], check_all_sources: bool) -> Missing {
        let mut missing = Missing::default();
        let (mut jobs, mut logs, mut sources) = (HashSet::new(), HashSet::new(), HashSet::new());
        for entry in group {
            if !self.logs.contains_key(&entry.session) && logs.insert(&entry.session) {
                missing.logs.push(entry.session.clone());
            }
            let named = entry.job.iter().map(|job| job.id).chain(entry.events.iter().map(|event| event.job));
            missing.jobs.extend(named.filter(|job| !self.jobs.contains_key(job) && jobs.insert(*job)));
            for event in &entry.events {
                let Some(source) = event.source else { continue };
                let is_above =
                    self.newest.get(&(event.job, event.attempt)).is_some_and(|newest| source > *newest);
                let source = (event.job, event.attempt, source);
                if (check_all_sources || !is_above) && sources.insert(source) {
                    missing.sources.push(source);
                }
            }
        }
        missing
    }

    /// Caches what was read.
    pub(crate) fn insert(
        &mut self,
        missing: Missing,
        jobs: &HashMap<JobId, JobStatus>,
        logs: &HashMap<SessionId, Head>,
        stored: HashSet<Source>,
    ) {
        self.jobs.extend(missing.jobs.into_iter().map(|job| (job, jobs.get(&job).copied())));
        self.logs.extend(missing.logs.into_iter().map(|session| {
            let head = logs.get(&session).copied().unwrap_or_default();
            (session, head)
        }));
        self.stored = stored;
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The number of cached items.
    pub(crate) fn len(&self) -> usize {
        self.jobs.len() + self.logs.len() + self.newest.len()
    }

    /// Plans `group`, and caches its result as written. If the write then fails, the cache must be
    /// [`clear`](Self::clear)ed.
    pub(crate) fn plan<'a>(&mut self, group: &[&'a Entry]) -> GroupPlan<'a> {
        let mut plan = GroupPlan::default();
        let mut indexes: HashMap<JobId, usize> = HashMap::new();
        for entry in group {
            if !self.may_write(entry) {
                plan.results.push(Err(Fenced));
                continue;
            }
            let Entry { session, job, events } = entry;
            let mut head = self.logs.get(session).copied().unwrap_or_default();
            if let Some(job) = job {
                let (is_new, delta) = self.put(job);
                head.live_jobs = head.live_jobs.saturating_add_signed(delta);
                if let Some(index) = indexes.get(&job.id) {
                    plan.jobs[*index].0 = job;
                } else {
                    indexes.insert(job.id, plan.jobs.len());
                    plan.jobs.push((job, is_new));
                }
            }
            let mut numbers = Vec::with_capacity(events.len());
            for event in events {
                let is_new = self.is_new(event);
                if is_new {
                    head.seq += 1;
                    plan.events.push((head.seq, session, event));
                }
                numbers.push(is_new.then_some(head.seq));
            }
            self.logs.insert(session.clone(), head);
            plan.logs.insert(session, head);
            plan.results.push(Ok(numbers));
        }
        plan
    }

    fn may_write(&self, entry: &Entry) -> bool {
        let submitted = entry.job.as_ref().filter(|job| job.state == State::Queued).map(|job| job.id);
        let job = entry.job.iter().map(|job| (job.id, job.attempt));
        let mut named = job.chain(entry.events.iter().map(|event| (event.job, event.attempt)));
        named.all(|(job, attempt)| match self.jobs.get(&job).copied().flatten() {
            Some(stored) => !stored.ended && stored.attempt <= attempt,
            None => submitted == Some(job),
        })
    }

    /// Whether the job is new, and the change in the number of its session's live jobs.
    fn put(&mut self, job: &Job) -> (bool, i64) {
        let status = JobStatus { ended: job.state.has_ended(), attempt: job.attempt };
        let before = self.jobs.insert(job.id, Some(status)).flatten();
        if status.ended {
            self.newest.retain(|(other, _), _| *other != job.id);
        }
        (before.is_none(), i64::from(before.is_none()) - i64::from(status.ended))
    }

    fn is_new(&mut self, event: &NewEvent) -> bool {
        let Some(source) = event.source else { return true };
        if !self.stored.insert((event.job, event.attempt, source)) {
            return false;
        }
        let newest = self.newest.entry((event.job, event.attempt)).or_default();
        *newest = source.max(*newest);
        true
    }
}

/// The events that were stored, with their numbers.
pub(crate) fn numbered(session: &SessionId, events: Vec<NewEvent>, numbers: Vec<Option<u64>>) -> Vec<Event> {
    let stored = events.into_iter().zip(numbers).filter_map(|(event, seq)| Some((event, seq?)));
    stored
        .map(|(event, seq)| {
            let NewEvent { at, job, attempt, source: _, kind, agent, data } = event;
            Event { seq, at, session: session.clone(), job, attempt, kind, agent, data }
        })
        .collect()
}
