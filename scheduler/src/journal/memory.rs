//! A journal in memory, for simulations: the threads of a real store would disturb the paused clock. It obeys the same
//! rules as a real one, and can be made to fail.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use mgx_protocol::{Attempt, JobId, SessionId};

use super::{Entry, Head, JobFilter, Journal, JournalError};
use crate::events::event::{Event, NewEvent};
use crate::events::run_log::{HistorySize, json_len};
use crate::job::Job;

/// Jobs and events in memory.
#[derive(Debug, Default)]
pub struct MemoryJournal(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    jobs: BTreeMap<JobId, Job>,
    events: HashMap<SessionId, Vec<Event>>,
    sources: HashSet<(JobId, Attempt, u64)>,
    failures: u32,
    repeats_allowed: bool,
    ended_allowed: bool,
    hidden: HashSet<JobId>,
}

impl MemoryJournal {
    /// Stores an agent's event again when it is sent again: a red control.
    pub fn allow_repeats(&self, allow: bool) {
        self.lock().repeats_allowed = allow;
    }

    /// Accepts writes for jobs that have ended or moved on: a red control.
    pub fn allow_ended(&self, allow: bool) {
        self.lock().ended_allowed = allow;
    }

    /// No longer returns the jobs that are unfinished now: a red control.
    pub fn hide_unfinished(&self) {
        let mut inner = self.lock();
        inner.hidden = inner.jobs.keys().copied().collect();
    }

    /// Makes the next `writes` fail, as a store does that is away.
    pub fn fail(&self, writes: u32) {
        self.lock().failures = writes;
    }

    /// Every event of every session.
    pub fn all_events(&self) -> HashMap<SessionId, Vec<Event>> {
        self.lock().events.clone()
    }

    /// Whether a job has not ended.
    pub fn is_busy(&self) -> bool {
        self.lock().jobs.values().any(|job| !job.state.has_ended())
    }

    /// Every job.
    pub fn all_jobs(&self) -> Vec<Job> {
        self.lock().jobs.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

impl Inner {
    fn is_out_of_date(&self, job: JobId, attempt: Attempt) -> bool {
        !self.ended_allowed
            && self.jobs.get(&job).is_some_and(|stored| stored.state.has_ended() || stored.attempt > attempt)
    }

    fn append(&mut self, session: &SessionId, event: NewEvent) -> Option<Event> {
        let NewEvent { at, job, attempt, source, kind, agent, data } = event;
        if let Some(source) = source
            && !self.sources.insert((job, attempt, source))
            && !self.repeats_allowed
        {
            return None;
        }
        let log = self.events.entry(session.clone()).or_default();
        let event = Event {
            seq: log.len() as u64 + 1,
            at,
            session: session.clone(),
            job,
            attempt,
            kind,
            agent,
            data,
        };
        log.push(event.clone());
        Some(event)
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn write(&self, entry: Entry) -> Result<Vec<Event>, JournalError> {
        let mut inner = self.lock();
        if inner.failures > 0 {
            inner.failures -= 1;
            return Err(JournalError::Unavailable("told to fail".to_owned()));
        }
        let Entry { session, job, events } = entry;
        let writers = job.iter().map(|job| (job.id, job.attempt));
        let mut writers = writers.chain(events.iter().map(|event| (event.job, event.attempt)));
        if writers.any(|(job, attempt)| inner.is_out_of_date(job, attempt)) {
            return Err(JournalError::Fenced);
        }
        if let Some(job) = job {
            inner.jobs.insert(job.id, job);
        }
        Ok(events.into_iter().filter_map(|event| inner.append(&session, event)).collect())
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, JournalError> {
        Ok(self.lock().jobs.get(&id).cloned())
    }

    async fn jobs(&self, filter: JobFilter) -> Result<Vec<Job>, JournalError> {
        let inner = self.lock();
        let wanted = |job: &&Job| {
            filter.session.as_ref().is_none_or(|session| *session == job.session)
                && filter.user.as_ref().is_none_or(|user| *user == job.user)
                && filter.state.is_none_or(|state| state == job.state.name())
                && filter.before.is_none_or(|before| job.id < before)
        };
        Ok(inner.jobs.values().rev().filter(wanted).take(filter.limit).cloned().collect())
    }

    async fn unfinished(&self) -> Result<Vec<Job>, JournalError> {
        let inner = self.lock();
        let unfinished =
            inner.jobs.values().filter(|job| !job.state.has_ended() && !inner.hidden.contains(&job.id));
        Ok(unfinished.cloned().collect())
    }

    async fn events(
        &self,
        session: &SessionId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, JournalError> {
        let inner = self.lock();
        let Some(log) = inner.events.get(session) else { return Ok(Vec::new()) };
        let start = usize::try_from(after).unwrap_or(usize::MAX).min(log.len());
        Ok(log[start..].iter().take(limit).cloned().collect())
    }

    async fn size(&self, session: &SessionId) -> Result<HistorySize, JournalError> {
        let inner = self.lock();
        let log = inner.events.get(session).map_or(&[][..], Vec::as_slice);
        let bytes = log.iter().map(|event| json_len(&event.data)).sum();
        Ok(HistorySize { events: log.len() as u64, bytes })
    }

    async fn head(&self, session: &SessionId) -> Result<Head, JournalError> {
        let inner = self.lock();
        let seq = inner.events.get(session).map_or(0, |log| log.len() as u64);
        let live = inner.jobs.values().filter(|job| job.session == *session && !job.state.has_ended());
        Ok(Head { seq, live_jobs: live.count() as u64 })
    }
}
