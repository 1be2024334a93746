//! The conformance suite on the embedded store, and on the journal that the simulations use instead.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use jiff::Timestamp;
use mgx_scheduler::memory::MemoryJournal;
use mgx_scheduler::{Entry, Journal};
use mgx_store::{Embedded, conformance};

fn open(directory: &Path) -> Embedded {
    Embedded::open(&directory.join("mgx.db"), Timestamp::now()).unwrap()
}

#[tokio::test]
async fn the_embedded_store_is_a_conforming_journal() {
    let directory = tempfile::tempdir().unwrap();
    conformance::journal::run(&open(directory.path())).await;
}

#[tokio::test]
async fn the_embedded_store_is_a_conforming_session_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    conformance::sessions::run(&store, &store).await;
}

#[tokio::test]
async fn the_embedded_store_is_a_conforming_archive() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    conformance::archive::run(&store, &store, &store).await;
}

#[tokio::test]
async fn the_embedded_store_is_a_conforming_intent_store() {
    let directory = tempfile::tempdir().unwrap();
    conformance::intents::run(&open(directory.path())).await;
}

#[tokio::test]
async fn the_embedded_store_is_a_conforming_account_storage() {
    let directory = tempfile::tempdir().unwrap();
    mgx_oauth2::conformance::run(&open(directory.path())).await;
}

#[tokio::test]
async fn a_reopened_store_conforms_too() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    conformance::journal::run(&store).await;
    store.close().await;
    drop(store);
    let store = open(directory.path());
    conformance::journal::run(&store).await;
    conformance::sessions::run(&store, &store).await;
    mgx_oauth2::conformance::run(&store).await;
}

/// A hundred readers of a session with large events must not fill the memory.
#[tokio::test]
async fn a_page_of_large_events_is_cut_short() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let job = conformance::sample_job();
    let mut event = conformance::sample_event(&job, None);
    event.data.insert("text".into(), "x".repeat(1 << 20).into());
    let entry = Entry { session: job.session.clone(), job: Some(job.clone()), events: vec![event; 10] };
    store.write(entry).await.unwrap();
    let lengths = async |after| store.events(&job.session, after, 100).await.unwrap().len();
    assert_eq!((lengths(0).await, lengths(4).await, lengths(9).await, lengths(10).await), (1, 1, 1, 0));
}

#[tokio::test]
async fn the_journal_of_the_simulations_conforms() {
    conformance::journal::run(&MemoryJournal::default()).await;
}
