//! The conformance suite on the MongoDB store, and the requirements of a store that several processes share.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mgx_apps::SessionStore;
use mgx_protocol::SessionId;
use mgx_scheduler::{Entry, Event, Job, Journal, JournalError};
use mgx_store::conformance::{self, sample_event, sample_job};
use mgx_store::migrate::{Progress, migrate};
use mgx_store::{Embedded, EmbeddedTarget, EventListener, MongoDb, MongoDbTarget};
use mgx_testkit::MongoServer;
use mongodb::bson::{Document, doc};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A server with a store that this process leads.
struct TestStore {
    store: MongoDb,
    server: MongoServer,
    _directory: tempfile::TempDir,
}

impl TestStore {
    async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = MongoServer::start(directory.path()).unwrap();
        let store = leading(&server).await;
        Self { store, server, _directory: directory }
    }
}

async fn leading(server: &MongoServer) -> MongoDb {
    let store = MongoDb::open(&server.url(), "mgx").await.unwrap();
    store.lead("http://127.0.0.1:1", "a test").await;
    store
}

#[tokio::test]
async fn it_is_a_conforming_journal() {
    conformance::journal::run(&TestStore::open().await.store).await;
}

#[tokio::test]
async fn it_is_a_conforming_session_store() {
    let test = TestStore::open().await;
    conformance::sessions::run(&test.store, &test.store).await;
}

#[tokio::test]
async fn it_is_a_conforming_archive() {
    let test = TestStore::open().await;
    conformance::archive::run(&test.store, &test.store, &test.store).await;
}

#[tokio::test]
async fn it_is_a_conforming_intent_store() {
    conformance::intents::run(&TestStore::open().await.store).await;
}

#[tokio::test]
async fn it_is_a_conforming_account_storage() {
    mgx_oauth2::conformance::run(&TestStore::open().await.store).await;
}

/// Every process writes accounts, so a decision about an account must hold for all of them.
#[tokio::test]
async fn accounts_conform_while_another_process_leads() {
    let TestStore { store, server, _directory } = TestStore::open().await;
    let other = MongoDb::open(&server.url(), "mgx").await.unwrap();
    mgx_oauth2::conformance::run(&other).await;
    mgx_oauth2::conformance::run_on_two(&store, &other).await;
}

#[tokio::test]
async fn a_reopened_store_is_the_same() {
    let TestStore { store, server, _directory } = TestStore::open().await;
    let job = sample_job();
    let entry = |job: Job| Entry {
        session: job.session.clone(),
        events: vec![sample_event(&job, Some(1))],
        job: Some(job),
    };
    store.write(entry(job.clone())).await.unwrap();
    let instance = store.instance().to_owned();
    store.close().await;
    let begin = Instant::now();
    let store = leading(&server).await;
    assert!(begin.elapsed() < Duration::from_secs(2), "a released lease is free at once");
    assert_eq!(store.instance(), instance);
    assert_eq!(store.job(job.id).await.unwrap(), Some(job.clone()));
    let again = store.write(Entry { job: None, ..entry(job.clone()) }).await.unwrap();
    assert_eq!(again, [], "an event of the previous process is not stored twice");
    conformance::journal::run(&store).await;
}

/// A process that was suspended does not know that another one has taken the lease.
#[test]
fn a_process_that_has_lost_the_lease_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let server = MongoServer::start(directory.path()).unwrap();
    // tasks of this runtime run only while it is waited for
    let stopped = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let job = sample_job();
    let submit = Entry {
        session: job.session.clone(),
        job: Some(job.clone()),
        events: vec![sample_event(&job, None)],
    };
    let old = stopped.block_on(async {
        let old = leading(&server).await;
        old.write(submit.clone()).await.unwrap();
        old
    });

    let begin = Instant::now();
    let running = tokio::runtime::Runtime::new().unwrap();
    let new = running.block_on(leading(&server));
    assert!(begin.elapsed() < Duration::from_secs(5), "taken over after {:?}", begin.elapsed());
    let said = |source| Entry { job: None, events: vec![sample_event(&job, Some(source))], ..submit.clone() };
    running.block_on(new.write(said(1))).unwrap();

    stopped.block_on(async {
        let written = old.write(said(2)).await;
        assert!(
            matches!(&written, Err(JournalError::Unavailable(why)) if why.contains("another process")),
            "{written:?}"
        );
        assert!(matches!(old.write(submit.clone()).await, Err(JournalError::Unavailable(_))));
        assert!(old.delete(&job.session).await.is_err());
        assert!(old.failed().await.contains("another process schedules now"));
        old.close().await;
    });
    running.block_on(async {
        assert_eq!(new.head(&job.session).await.unwrap().seq, 2);
        assert_eq!(
            new.leader().await.unwrap().unwrap().epoch,
            2,
            "a process that has lost the lease does not release it"
        );
        new.write(said(2)).await.unwrap();
    });
}

/// A server keeps an abandoned transaction open for a minute.
#[test]
fn a_process_that_is_suspended_during_writes_is_replaced_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let server = MongoServer::start(directory.path()).unwrap();
    let running = tokio::runtime::Runtime::new().unwrap();
    for round in 1..=3_u64 {
        let stopped = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let old = stopped.block_on(async {
            let store = Arc::new(leading(&server).await);
            for _ in 0..8 {
                let store = store.clone();
                tokio::spawn(async move {
                    let job = sample_job();
                    let entry = Entry { session: job.session.clone(), job: Some(job), events: Vec::new() };
                    while store.write(entry.clone()).await.is_ok() {}
                });
            }
            tokio::time::sleep(Duration::from_millis(200 + 7 * round)).await;
            store
        });
        let begin = Instant::now();
        running.block_on(async {
            let new = leading(&server).await;
            let job = sample_job();
            let submit = Entry { session: job.session.clone(), job: Some(job), events: Vec::new() };
            new.write(submit).await.unwrap();
            new.close().await;
        });
        assert!(begin.elapsed() < Duration::from_secs(5), "round {round}: after {:?}", begin.elapsed());
        assert!(stopped.block_on(old.failed()).contains("another process schedules now"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_and_duplicates_no_event() {
    let TestStore { store, mut server, _directory } = TestStore::open().await;
    let job = sample_job();
    let submit = Entry { session: job.session.clone(), job: Some(job.clone()), events: Vec::new() };
    store.write(submit.clone()).await.unwrap();
    let (store, told) = (Arc::new(store), Arc::new(Mutex::new(BTreeMap::new())));
    let end = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..16_u64 {
        let (store, told, end, submit, job) =
            (store.clone(), told.clone(), end.clone(), submit.clone(), job.clone());
        writers.spawn(async move {
            for number in 0.. {
                if end.load(Ordering::Relaxed) {
                    break;
                }
                let event = sample_event(&job, (number % 3 > 0).then_some(writer * 1_000_000 + number));
                let entry = Entry { job: None, events: vec![event], ..submit.clone() };
                // a failed write was not stored, so it need not be repeated
                if let Ok(stored) = store.write(entry).await {
                    told.lock().unwrap().extend(stored.into_iter().map(|event| (event.seq, event)));
                }
            }
        });
    }
    for round in 0..6 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        if round % 2 == 0 {
            server.kill().unwrap();
            server.restart().unwrap();
        } else {
            server.suspend().unwrap();
            tokio::time::sleep(Duration::from_millis(6500)).await;
            server.resume().unwrap();
        }
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    end.store(true, Ordering::Relaxed);
    writers.join_all().await;

    let mut stored = Vec::new();
    loop {
        let after = stored.last().map_or(0, |event: &Event| event.seq);
        let page = store.events(&job.session, after, 1000).await.unwrap();
        if page.is_empty() {
            break;
        }
        stored.extend(page);
    }
    let told: Vec<Event> = told.lock().unwrap().values().cloned().collect();
    assert!(told.len() > 100, "only {} were written", told.len());
    assert!(stored.iter().map(|event| event.seq).eq(1..=stored.len() as u64), "no gap");
    assert_eq!(stored.len(), told.len(), "the returned events are the stored ones: no more and no fewer");
    assert_eq!(stored, told);
}

#[tokio::test]
async fn another_process_is_notified_of_every_event() {
    let TestStore { store, server, _directory } = TestStore::open().await;
    let job = sample_job();
    let submit = Entry {
        session: job.session.clone(),
        job: Some(job.clone()),
        events: vec![sample_event(&job, None)],
    };
    store.write(submit.clone()).await.unwrap();
    let other = MongoDb::open(&server.url(), "mgx").await.unwrap();
    assert!(
        matches!(other.write(submit.clone()).await, Err(JournalError::Unavailable(_))),
        "it does not lead"
    );
    let listener = Listener { session: job.session.clone(), heard: watch::channel(0).0 };
    let mut heard = listener.heard.subscribe();
    let listening = tokio::spawn(async move { other.notify(&listener).await });
    heard.wait_for(|seq| *seq == 1).await.unwrap();
    for seq in 2..=20 {
        store.write(Entry { job: None, ..submit.clone() }).await.unwrap();
        timeout(Duration::from_secs(2), heard.wait_for(|heard| *heard == seq)).await.unwrap().unwrap();
    }
    listening.abort();
}

#[derive(Debug)]
struct Listener {
    session: SessionId,
    heard: watch::Sender<u64>,
}

impl EventListener for Listener {
    fn sessions(&self) -> Vec<SessionId> {
        vec![self.session.clone()]
    }

    fn on_event(&self, session: &SessionId, seq: u64) {
        assert_eq!(*session, self.session);
        self.heard.send_replace(seq);
    }
}

#[tokio::test]
async fn a_database_of_another_program_is_not_changed() {
    let TestStore { store, server, _directory } = TestStore::open().await;
    store.close().await;
    let client = mongodb::Client::with_uri_str(server.url()).await.unwrap();
    let theirs = client.database("theirs");
    theirs.collection("sessions").insert_one(doc! { "name": "another app" }).await.unwrap();
    let open = async |name: &str| MongoDb::open(&server.url(), name).await.unwrap_err().to_string();
    insta::assert_snapshot!(open("theirs").await, @"the database theirs belongs to another program: name another one in store.database");
    client
        .database("mgx")
        .collection::<Document>("meta")
        .update_one(doc! {}, doc! { "$set": { "schema": 99_i64 } })
        .await
        .unwrap();
    insta::assert_snapshot!(open("mgx").await, @"the database mgx has schema 99, and this version of mgx knows schemas up to 1: start the newer version");
    let nowhere =
        MongoDb::open("mongodb://mgx:s3cret@127.0.0.1:1/?directConnection=true", "mgx").await.unwrap_err();
    insta::assert_snapshot!(nowhere, @"the MongoDB server at 127.0.0.1:1 cannot be used: no server answers");
    let no_address = MongoDb::open("postgres://127.0.0.1", "mgx").await.unwrap_err();
    insta::assert_snapshot!(no_address, @"store.url is not the address of a MongoDB server: An invalid argument was provided: unsupported connection string scheme: postgres");
}

#[tokio::test]
async fn a_store_is_copied_as_a_whole_and_back() {
    let TestStore { store, server, _directory } = TestStore::open().await;
    store.close().await;
    let directory = tempfile::tempdir().unwrap();
    let original = Embedded::open(&directory.path().join("mgx.db"), Timestamp::now()).unwrap();
    conformance::journal::run(&original).await;
    conformance::sessions::run(&original, &original).await;
    conformance::archive::run(&original, &original, &original).await;
    conformance::intents::run(&original).await;
    mgx_oauth2::conformance::run(&original).await;
    mgx_oauth2::conformance::leave_some(&original).await;

    let mut verified = Vec::new();
    let mut tell = |progress| {
        if let Progress::Verified(part, tally) = progress {
            verified.push((part.name(), tally));
        }
    };
    let to_mongo = async || MongoDbTarget::begin(&server.url(), "copy", original.instance()).await;
    // a copy that was not finished cannot be opened, and is started again
    drop(to_mongo().await.unwrap());
    let half = MongoDb::open(&server.url(), "copy").await.unwrap_err();
    assert!(half.to_string().contains("was not finished"), "{half}");
    migrate(&original, Box::new(to_mongo().await.unwrap()), &mut tell).await.unwrap();
    assert!(to_mongo().await.unwrap_err().contains("holds a store already"));

    let copy = MongoDb::open(&server.url(), "copy").await.unwrap();
    assert_eq!(copy.instance(), original.instance());
    copy.lead_for_copy().await.unwrap();
    let other = MongoDb::open(&server.url(), "copy").await.unwrap();
    assert!(other.lead_for_copy().await.unwrap_err().contains("stop every process"));
    let back = directory.path().join("back.db");
    let target = EmbeddedTarget::begin(&back, copy.instance()).await.unwrap();
    migrate(&copy, Box::new(target), &mut tell).await.unwrap();
    assert!(EmbeddedTarget::begin(&back, "x").await.unwrap_err().contains("is there already"));
    assert!(
        verified[..14] == verified[14..] && verified.iter().all(|(_, tally)| tally.count > 0),
        "{verified:?}"
    );

    let again = Embedded::open(&back, Timestamp::now()).unwrap();
    assert_eq!(again.instance(), original.instance());
    for job in original.unfinished().await.unwrap() {
        assert_eq!(again.head(&job.session).await.unwrap(), original.head(&job.session).await.unwrap());
        assert_eq!(copy.head(&job.session).await.unwrap(), original.head(&job.session).await.unwrap());
    }
    conformance::journal::run(&again).await;
    conformance::journal::run(&copy).await;
    conformance::archive::run(&copy, &copy, &copy).await;
    mgx_oauth2::conformance::run(&again).await;
    mgx_oauth2::conformance::run(&copy).await;
}
