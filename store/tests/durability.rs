//! Acknowledged events are stored after `kill -9`, and numbered without gaps.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use jiff::Timestamp;
use mgx_protocol::{JobId, SessionId};
use mgx_scheduler::{Entry, Event, Job, Journal, JournalError, Outcome, State};
use mgx_store::Embedded;
use mgx_store::conformance::{sample_event, sample_job};
use tokio::task::JoinSet;

const STORE: &str = "MGX_TEST_STORE";

fn open(path: &Path) -> Embedded {
    Embedded::open(path, Timestamp::now()).unwrap()
}

async fn all_events(store: &Embedded, session: &SessionId) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let after = events.last().map_or(0, |event| event.seq);
        let page = store.events(session, after, 1000).await.unwrap();
        if page.is_empty() {
            return events;
        }
        events.extend(page);
    }
}

fn assert_dense(events: &[Event]) {
    let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
}

/// An acknowledgement, as the child prints it.
#[derive(Debug)]
struct Acked {
    session: SessionId,
    job: JobId,
    seq: u64,
    source: u64,
}

impl Acked {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("acked ")?.split(' ');
        Some(Self {
            session: words.next()?.parse().ok()?,
            job: words.next()?.parse().ok()?,
            seq: words.next()?.parse().ok()?,
            source: words.next()?.strip_suffix('.')?.parse().ok()?,
        })
    }
}

#[tokio::test]
async fn acknowledged_events_survive_kill_9() {
    const ROUNDS: usize = 20;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mgx.db");
    let mut acked: Vec<Acked> = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "child_that_writes_until_it_is_killed", "--nocapture"])
            .env(STORE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // sometimes at its start, sometimes during a checkpoint, always during writes
        let enough = 1 + round * round * 7 % 1013;
        acked.extend(lines.by_ref().filter_map(|line| Acked::parse(&line)).take(enough));
        child.kill().unwrap();
        acked.extend(lines.filter_map(|line| Acked::parse(&line)));
        child.wait().unwrap();
    }
    assert!(acked.len() > 20 * ROUNDS, "the children were busy: {}", acked.len());

    let store = open(&path);
    let mut sessions: Vec<&SessionId> = acked.iter().map(|acked| &acked.session).collect();
    sessions.sort();
    sessions.dedup();
    assert!(sessions.len() >= ROUNDS);
    for session in sessions {
        let events = all_events(&store, session).await;
        assert_dense(&events);
        for acked in acked.iter().filter(|acked| acked.session == *session) {
            let event = usize::try_from(acked.seq).ok().and_then(|seq| events.get(seq - 1));
            let event = event.unwrap_or_else(|| panic!("lost: {acked:?}"));
            assert_eq!((event.job, &event.data["source"]), (acked.job, &acked.source.into()), "{acked:?}");
        }
    }
}

/// Eight writers in two sessions, each printing the events that were acknowledged as durable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of acknowledged_events_survive_kill_9"]
async fn child_that_writes_until_it_is_killed() {
    let path = std::env::var(STORE).expect("started by its parent");
    let store = Arc::new(open(Path::new(&path)));
    let mut writers = JoinSet::new();
    for job in
        [sample_job(), sample_job()].into_iter().flat_map(|job| [job.clone(), job.clone(), job.clone(), job])
    {
        let job = Job { id: JobId::new(), ..job };
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let mut entry =
                Entry { session: job.session.clone(), job: Some(job.clone()), events: Vec::new() };
            for source in 1.. {
                entry.events = vec![sample_event(&job, Some(source))];
                for event in store.write(entry.clone()).await.unwrap() {
                    println!("acked {} {} {} {source}.", job.session, job.id, event.seq);
                }
            }
        });
    }
    writers.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_writers_leave_no_gap() {
    const EACH: u64 = 50;
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&directory.path().join("mgx.db")));
    let session = sample_job().session;
    let mut writers = JoinSet::new();
    for _ in 0..64 {
        let (store, job) = (Arc::clone(&store), Job { session: session.clone(), ..sample_job() });
        writers.spawn(async move {
            let mut entry =
                Entry { session: job.session.clone(), job: Some(job.clone()), events: Vec::new() };
            for source in 1..=EACH {
                entry.events = vec![sample_event(&job, Some(source))];
                assert_eq!(store.write(entry.clone()).await.unwrap().len(), 1);
                let newest = store.head(&job.session).await.unwrap().seq;
                assert!(newest >= source, "its own write is seen");
            }
        });
    }
    writers.join_all().await;
    let events = all_events(&store, &session).await;
    assert_eq!(events.len(), 64 * 50);
    assert_dense(&events);
}

/// Half of the writers are out of date; they share transactions with the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_write_does_not_affect_others() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&directory.path().join("mgx.db")));
    let session = sample_job().session;
    let mut ended = Job { session: session.clone(), ..sample_job() };
    store.write(Entry { session: session.clone(), job: Some(ended.clone()), events: vec![] }).await.unwrap();
    ended.state = State::Ended(Outcome::Cancelled);
    store.write(Entry { session: session.clone(), job: Some(ended.clone()), events: vec![] }).await.unwrap();
    let mut writers = JoinSet::new();
    for number in 0..200 {
        let late = number % 2 == 0;
        let job = if late { ended.clone() } else { Job { session: session.clone(), ..sample_job() } };
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let events = vec![sample_event(&job, Some(1)), sample_event(&job, None)];
            let entry = Entry { session: job.session.clone(), job: Some(job), events };
            (late, store.write(entry).await)
        });
    }
    for (late, answer) in writers.join_all().await {
        match answer {
            Ok(events) => assert!(!late && events.len() == 2),
            Err(error) => assert!(late && matches!(error, JournalError::Fenced), "{error}"),
        }
    }
    let events = all_events(&store, &session).await;
    assert_eq!(events.len(), 200);
    assert_dense(&events);
}
