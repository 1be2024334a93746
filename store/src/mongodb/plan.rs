//! What a group of entries comes to, decided from what the store knows, in the order of their coming. Pure.

use std::collections::{HashMap, HashSet};

use mgx_protocol::{Attempt, JobId, SessionId};
use mgx_scheduler::{Entry, Event, Head, Job, NewEvent, State};

/// What the one writer knows of the store, because it has read it or written it.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// How jobs stand; `None`: there is no such job.
    jobs: HashMap<JobId, Option<Standing>>,
    /// Where logs stand.
    logs: HashMap<SessionId, Head>,
    /// The highest number that this writer has stored of what an agent says.
    newest: HashMap<(JobId, Attempt), u64>,
    /// Events of agents that are stored already, as far as that was asked.
    stored: HashSet<Source>,
}

/// What makes an agent's event one and the same, however often it is sent.
pub(super) type Source = (JobId, Attempt, u64);

/// As much of a stored job as decides who may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) ended: bool,
    pub(super) attempt: Attempt,
}

/// What has to be read before a group can be decided.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) jobs: Vec<JobId>,
    pub(super) logs: Vec<SessionId>,
    pub(super) sources: Vec<Source>,
}

/// What has to be written.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    /// Jobs as they stand in the end, and whether each is new.
    pub(super) jobs: Vec<(&'a Job, bool)>,
    /// Events with their numbers.
    pub(super) events: Vec<(u64, &'a SessionId, &'a NewEvent)>,
    /// Where logs stand in the end.
    pub(super) logs: HashMap<&'a SessionId, Head>,
    /// For each entry: the number of each of its events, if it is new; or that the entry is refused.
    pub(super) answers: Vec<Result<Vec<Option<u64>>, Fenced>>,
}

/// The writer of an entry is out of date: a job that it speaks of has ended, has moved on to a later attempt, or has
/// been forgotten with its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fenced;

impl Known {
    /// What of `group` is not known. An agent's event above everything that this writer has stored of it is taken to be
    /// new unless `careful`: the store refuses one that is not.
    pub(super) fn missing(&self, group: &[&Entry], careful: bool) -> Missing {
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
                if (careful || !is_above) && sources.insert(source) {
                    missing.sources.push(source);
                }
            }
        }
        missing
    }

    /// Learns what was read.
    pub(super) fn learn(
        &mut self,
        missing: Missing,
        jobs: &HashMap<JobId, Standing>,
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

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How much is known, in pieces.
    pub(super) fn len(&self) -> usize {
        self.jobs.len() + self.logs.len() + self.newest.len()
    }

    /// Decides `group`, and takes it for written: whoever then fails to write it has to [`clear`](Self::clear) this.
    pub(super) fn plan<'a>(&mut self, group: &[&'a Entry]) -> Plan<'a> {
        let mut plan = Plan::default();
        let mut places: HashMap<JobId, usize> = HashMap::new();
        for entry in group {
            if !self.may_write(entry) {
                plan.answers.push(Err(Fenced));
                continue;
            }
            let Entry { session, job, events } = entry;
            let mut head = self.logs.get(session).copied().unwrap_or_default();
            if let Some(job) = job {
                let (is_new, delta) = self.put(job);
                head.live_jobs = head.live_jobs.saturating_add_signed(delta);
                if let Some(place) = places.get(&job.id) {
                    plan.jobs[*place].0 = job;
                } else {
                    places.insert(job.id, plan.jobs.len());
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
            plan.answers.push(Ok(numbers));
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

    /// Whether the job is new, and by how many its session's live jobs change.
    fn put(&mut self, job: &Job) -> (bool, i64) {
        let standing = Standing { ended: job.state.has_ended(), attempt: job.attempt };
        let before = self.jobs.insert(job.id, Some(standing)).flatten();
        if standing.ended {
            self.newest.retain(|(other, _), _| *other != job.id);
        }
        (before.is_none(), i64::from(before.is_none()) - i64::from(standing.ended))
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
pub(super) fn numbered(session: &SessionId, events: Vec<NewEvent>, numbers: Vec<Option<u64>>) -> Vec<Event> {
    let stored = events.into_iter().zip(numbers).filter_map(|(event, seq)| Some((event, seq?)));
    stored
        .map(|(event, seq)| {
            let NewEvent { at, job, attempt, source: _, kind, agent, data } = event;
            Event { seq, at, session: session.clone(), job, attempt, kind, agent, data }
        })
        .collect()
}
