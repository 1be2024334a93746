//! The requirements of [`SessionStore`].

use futures_util::future::join;
use jiff::SignedDuration;
use mgx_apps::{MessagePage, Session, SessionStore, StoreError, Usage};
use mgx_protocol::{EventKind, SessionId};
use mgx_scheduler::{Event, Head, Job, Journal, NewEvent, State};

use super::{
    at, is_fenced, numbers, put, sample_event, sample_job, sample_session, sample_session_id, say, submitted,
};

/// Panics at the first requirement that is not met. `journal` is the same store.
pub async fn run(store: &dyn SessionStore, journal: &dyn Journal) {
    a_session_is_read_as_it_was_stored(store).await;
    an_id_is_taken_once(store).await;
    sessions_are_listed_newest_first(store).await;
    usage_adds_up(store).await;
    a_deleted_session_leaves_nothing_behind(store, journal).await;
    a_job_of_a_deleted_session_does_not_come_back(store, journal).await;
    a_message_is_there_once_and_in_order(store, journal).await;
}

/// Every message of a session, oldest first.
async fn messages(store: &dyn SessionStore, session: &SessionId) -> Vec<Event> {
    let page = MessagePage { after: 0, before: u64::MAX, is_newest_first: false, limit: 1000 };
    store.messages(session, page).await.unwrap()
}

async fn a_message_is_there_once_and_in_order(store: &dyn SessionStore, journal: &dyn Journal) {
    let job = submitted(journal).await;
    let message = |source| NewEvent { kind: EventKind::MessageComplete, ..sample_event(&job, source) };
    let first =
        say(journal, &job, vec![sample_event(&job, Some(1)), message(Some(2)), message(None)]).await.unwrap();
    // the agent sends an event again that is stored already, together with a new one
    let second = say(journal, &job, vec![message(Some(2)), message(Some(3))]).await.unwrap();
    let expected: Vec<_> = first[1..].iter().chain(&second).cloned().collect();
    assert_eq!(messages(store, &job.session).await, expected);
    assert_eq!(numbers(&expected), [2, 3, 4]);

    let page = |after, before, is_newest_first, limit| MessagePage { after, before, is_newest_first, limit };
    let read = async |page| numbers(&store.messages(&job.session, page).await.unwrap());
    assert_eq!(read(page(2, u64::MAX, false, 1)).await, [3]);
    assert_eq!(read(page(0, 4, true, 10)).await, [3, 2]);
    assert_eq!(read(page(0, u64::MAX, true, 0)).await, [0; 0]);
    assert_eq!(messages(store, &sample_session_id()).await, []);
}

async fn a_session_is_read_as_it_was_stored(store: &dyn SessionStore) {
    let mut session = sample_session();
    session.usage = Usage { requests: 1, prompt_tokens: 2, completion_tokens: 3, cost_micros: 4 };
    assert_eq!(store.session(&session.id).await.unwrap(), None);
    store.insert(&session).await.unwrap();
    assert_eq!(store.session(&session.id).await.unwrap(), Some(session));
}

async fn an_id_is_taken_once(store: &dyn SessionStore) {
    let session = sample_session();
    store.insert(&session).await.unwrap();
    let thief = Session { user: "thief".into(), ..session.clone() };
    assert!(matches!(store.insert(&thief).await, Err(StoreError::Conflict)));
    assert_eq!(store.session(&session.id).await.unwrap(), Some(session.clone()));

    let contested = sample_session();
    let both = join(store.insert(&contested), store.insert(&contested)).await;
    assert!(both.0.is_ok() != both.1.is_ok(), "one of two: {both:?}");
}

async fn sessions_are_listed_newest_first(store: &dyn SessionStore) {
    let user = sample_session().user;
    let mut ids = Vec::new();
    for second in 0..4 {
        let created_at = at("2026-01-02T03:04:05Z") + SignedDuration::from_secs(second);
        let session = Session { user: user.clone(), created_at, ..sample_session() };
        store.insert(&session).await.unwrap();
        ids.insert(0, session.id);
    }
    store.insert(&sample_session()).await.unwrap();
    let unknown = sample_session_id();
    let list = async |before, limit| -> Vec<SessionId> {
        let found = store.sessions(Some(&user), before, limit).await.unwrap();
        found.into_iter().map(|session| session.id).collect()
    };
    assert_eq!(list(None, 10).await, ids);
    assert_eq!(list(None, 2).await, ids[..2]);
    assert_eq!(list(Some(&ids[1]), 1).await, ids[2..3]);
    assert_eq!(list(Some(&ids[3]), 10).await, []);
    assert_eq!(list(Some(&unknown), 10).await, [], "no session is older than one that does not exist");
    assert_eq!(list(None, 0).await, []);
    assert_eq!(store.sessions(None, None, 5).await.unwrap().len(), 5, "of all users");
}

async fn usage_adds_up(store: &dyn SessionStore) {
    let session = sample_session();
    store.insert(&session).await.unwrap();
    let used = Usage { requests: 1, prompt_tokens: 1000, completion_tokens: 50, cost_micros: 7 };
    assert_eq!(store.add_usage(&session.id, used).await.unwrap(), used);
    let twice = Usage { requests: 2, prompt_tokens: 2000, completion_tokens: 100, cost_micros: 14 };
    assert_eq!(store.add_usage(&session.id, used).await.unwrap(), twice);
    assert_eq!(store.session(&session.id).await.unwrap().unwrap().usage, twice);
    let absurd = Usage {
        requests: u64::MAX,
        prompt_tokens: u64::MAX,
        completion_tokens: u64::MAX,
        cost_micros: u64::MAX,
    };
    let sum = store.add_usage(&session.id, absurd).await.unwrap();
    assert!(sum.requests > 1 << 60, "a counter does not wrap");

    let unknown = sample_session_id();
    assert_eq!(
        store.add_usage(&unknown, used).await.unwrap(),
        used,
        "nothing is stored for a deleted session"
    );
    assert_eq!(store.session(&unknown).await.unwrap(), None);
}

async fn a_deleted_session_leaves_nothing_behind(store: &dyn SessionStore, journal: &dyn Journal) {
    let (doomed, other) = (sample_session(), sample_session());
    let mut jobs = Vec::new();
    for session in [&doomed, &other] {
        store.insert(session).await.unwrap();
        let job = Job { session: session.id.clone(), ..sample_job() };
        put(journal, &job).await.unwrap();
        say(journal, &job, vec![sample_event(&job, Some(1))]).await.unwrap();
        jobs.push(job);
    }
    assert!(store.delete(&doomed.id).await.unwrap());
    assert_eq!(store.session(&doomed.id).await.unwrap(), None);
    assert_eq!(journal.job(jobs[0].id).await.unwrap(), None);
    assert_eq!(journal.events(&doomed.id, 0, 10).await.unwrap(), []);
    assert_eq!(journal.head(&doomed.id).await.unwrap(), Head::default());
    assert!(!store.delete(&doomed.id).await.unwrap(), "it is deleted already");

    assert_eq!(store.session(&other.id).await.unwrap(), Some(other.clone()));
    assert_eq!(journal.head(&other.id).await.unwrap(), Head { seq: 1, live_jobs: 1 });

    store.insert(&doomed).await.unwrap();
    let job = Job { session: doomed.id.clone(), ..sample_job() };
    put(journal, &job).await.unwrap();
    let first = say(journal, &job, vec![sample_event(&job, Some(1))]).await.unwrap();
    assert_eq!(numbers(&first), [1], "a new session of the same id starts again at 1");
}

async fn a_job_of_a_deleted_session_does_not_come_back(store: &dyn SessionStore, journal: &dyn Journal) {
    let session = sample_session();
    store.insert(&session).await.unwrap();
    let mut job = Job { session: session.id.clone(), ..sample_job() };
    put(journal, &job).await.unwrap();
    store.delete(&session.id).await.unwrap();
    job.state = State::Running;
    assert!(is_fenced(&put(journal, &job).await));
    assert!(is_fenced(&say(journal, &job, vec![sample_event(&job, Some(1))]).await));
    assert_eq!(journal.job(job.id).await.unwrap(), None);
    assert_eq!(journal.head(&session.id).await.unwrap(), Head::default());
}
