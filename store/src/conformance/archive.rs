//! The requirements of [`Archive`].

use jiff::Timestamp;
use mgx_apps::{Archive, ArchivedSession, Session, SessionStore, StoreError};
use mgx_protocol::SessionId;
use mgx_scheduler::{Entry, Event, Head, Job, Journal, Outcome, State};

use super::{at, numbers, put, sample_event, sample_job, sample_session, say};

/// Panics at the first requirement that is not met. `archive`, `journal` and `sessions` are one store.
pub async fn run(archive: &dyn Archive, journal: &dyn Journal, sessions: &dyn SessionStore) {
    only_sessions_that_ended_long_enough_ago_are_trimmed(archive, journal, sessions).await;
    a_trimmed_session_continues_its_numbers(archive, journal, sessions).await;
    an_imported_session_is_stored_completely(archive, journal, sessions).await;
    an_existing_session_is_not_overwritten(archive, journal, sessions).await;
}

/// A session with one job and `events` events, the last of which ends the job.
async fn finished_session(
    journal: &dyn Journal,
    sessions: &dyn SessionStore,
    events: usize,
    end: &str,
) -> Session {
    let session = sample_session();
    sessions.insert(&session).await.unwrap();
    let mut job = Job { session: session.id.clone(), ..sample_job() };
    put(journal, &job).await.unwrap();
    let mut event = sample_event(&job, None);
    event.at = at(end);
    say(journal, &job, vec![event.clone(); events - 1]).await.unwrap();
    job.state = State::Ended(Outcome::Succeeded);
    let entry = Entry { session: session.id.clone(), job: Some(job), events: vec![event] };
    journal.write(entry).await.unwrap();
    session
}

/// Trims to the end, in steps of `most`, and returns the largest number of events that one step removed.
async fn trim(archive: &dyn Archive, before: Timestamp, most: usize) -> usize {
    let (mut from, mut largest) = (0, 0);
    loop {
        let trimmed = archive.trim(before, from, most).await.unwrap();
        largest = largest.max(trimmed.events);
        match trimmed.next {
            Some(next) => from = next,
            None => return largest,
        }
    }
}

async fn kept(journal: &dyn Journal, session: &SessionId) -> Vec<u64> {
    numbers(&journal.events(session, 0, 1000).await.unwrap())
}

async fn only_sessions_that_ended_long_enough_ago_are_trimmed(
    archive: &dyn Archive,
    journal: &dyn Journal,
    sessions: &dyn SessionStore,
) {
    let old = finished_session(journal, sessions, 25, "2001-01-01T00:00:00Z").await;
    let young = finished_session(journal, sessions, 5, "2001-03-01T00:00:00Z").await;
    let live = finished_session(journal, sessions, 5, "2001-01-01T00:00:00Z").await;
    put(journal, &Job { session: live.id.clone(), ..sample_job() }).await.unwrap();
    assert_eq!(trim(archive, at("2001-02-01T00:00:00Z"), 10).await, 10, "a step is no larger than it may be");
    assert_eq!(kept(journal, &old.id).await, [25], "the newest stays");
    let next = journal.events(&old.id, 0, 1).await.unwrap();
    assert_eq!(numbers(&next), [25], "the next event is found however many before it are removed");
    assert_eq!(kept(journal, &young.id).await, [1, 2, 3, 4, 5]);
    assert_eq!(kept(journal, &live.id).await, [1, 2, 3, 4, 5], "a job of it has not ended");
    assert_eq!(journal.size(&old.id).await.unwrap().events, 1);
}

async fn a_trimmed_session_continues_its_numbers(
    archive: &dyn Archive,
    journal: &dyn Journal,
    sessions: &dyn SessionStore,
) {
    let session = finished_session(journal, sessions, 3, "2001-01-01T00:00:00Z").await;
    trim(archive, at("2001-02-01T00:00:00Z"), 1000).await;
    let job = Job { session: session.id.clone(), ..sample_job() };
    put(journal, &job).await.unwrap();
    assert_eq!(numbers(&say(journal, &job, vec![sample_event(&job, Some(1))]).await.unwrap()), [4]);
    assert_eq!(journal.head(&session.id).await.unwrap(), Head { seq: 4, live_jobs: 1 });
}

fn archived() -> ArchivedSession {
    let session = sample_session();
    let job = Job {
        session: session.id.clone(),
        state: State::Ended(Outcome::TimedOut),
        ended_at: Some(at("2026-01-02T03:35:00Z")),
        ..sample_job()
    };
    let events = (7..=9).map(|seq| {
        let new = sample_event(&job, None);
        let (session, job, attempt) = (session.id.clone(), job.id, job.attempt);
        Event { seq, at: new.at, session, job, attempt, kind: new.kind, agent: new.agent, data: new.data }
    });
    ArchivedSession { messages: Vec::new(), events: events.collect(), jobs: vec![job], session }
}

async fn an_imported_session_is_stored_completely(
    archive: &dyn Archive,
    journal: &dyn Journal,
    sessions: &dyn SessionStore,
) {
    let archived = archived();
    let id = archived.session.id.clone();
    assert!(!archive.has_job(archived.jobs[0].id).await.unwrap());
    archive.import(archived.clone()).await.unwrap();
    assert!(archive.has_job(archived.jobs[0].id).await.unwrap());
    assert_eq!(sessions.session(&id).await.unwrap().as_ref(), Some(&archived.session));
    assert_eq!(journal.job(archived.jobs[0].id).await.unwrap().as_ref(), Some(&archived.jobs[0]));
    assert_eq!(journal.events(&id, 0, 10).await.unwrap(), archived.events, "with their numbers");
    assert!(journal.head(&id).await.unwrap().has_finished());
}

async fn an_existing_session_is_not_overwritten(
    archive: &dyn Archive,
    journal: &dyn Journal,
    sessions: &dyn SessionStore,
) {
    let first = archived();
    archive.import(first.clone()).await.unwrap();
    let same_session = ArchivedSession { session: first.session.clone(), ..archived() };
    assert!(matches!(archive.import(same_session).await, Err(StoreError::Conflict)));
    let mut same_job = archived();
    same_job.jobs[0].id = first.jobs[0].id;
    let id = same_job.session.id.clone();
    assert!(matches!(archive.import(same_job).await, Err(StoreError::Conflict)));
    assert_eq!(sessions.session(&id).await.unwrap(), None, "nothing of it is stored");
    assert_eq!(kept(journal, &id).await, [0; 0]);
}
