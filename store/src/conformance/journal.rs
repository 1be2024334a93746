//! The requirements of [`Journal`].

use futures_util::future::join_all;
use mgx_protocol::{Attempt, JobId, StateName};
use mgx_scheduler::{
    Entry, Event, ExitStatus, Failure, Head, HistorySize, Job, JobFilter, Journal, Outcome, State,
};

use super::{at, is_fenced, numbers, put, sample_event, sample_job, sample_session_id, say, submitted};

/// Panics at the first requirement that is not met.
pub async fn run(journal: &dyn Journal) {
    a_job_is_read_as_it_was_written(journal).await;
    an_event_is_read_as_it_was_written(journal).await;
    events_are_numbered_without_gaps_in_each_session(journal).await;
    concurrent_writers_leave_no_gap(journal).await;
    an_event_sent_twice_is_stored_once(journal).await;
    an_ended_job_does_not_change(journal).await;
    an_earlier_attempt_writes_nothing(journal).await;
    the_end_of_an_attempt_and_the_next_one_are_one_entry(journal).await;
    events_are_read_in_pages(journal).await;
    large_events_are_all_read(journal).await;
    the_size_of_a_log_is_what_is_stored(journal).await;
    the_head_counts_events_and_live_jobs(journal).await;
    jobs_are_listed_newest_first(journal).await;
    unfinished_jobs_are_in_the_order_of_submission(journal).await;
}

async fn a_job_is_read_as_it_was_written(journal: &dyn Journal) {
    let mut job = sample_job();
    assert_eq!(journal.job(job.id).await.unwrap(), None);
    for state in [
        State::Queued,
        State::Admitted,
        State::Starting,
        State::Running,
        State::Stopping(Outcome::TimedOut),
        State::Ended(Outcome::Failed(Failure::OomKilled)),
    ] {
        job.state = state;
        if state == State::Running {
            job.started_at = Some(at("2026-01-02T03:05:00Z"));
            job.deadline_at = Some(at("2026-01-02T03:35:00Z"));
        }
        if state.has_ended() {
            job.ended_at = Some(at("2026-01-02T03:35:00.000000001Z"));
            job.exit = Some(ExitStatus { code: None, signal: Some(9), oom_kills: 1 });
            job.error = Some("it wanted more memory than it may have".into());
        }
        put(journal, &job).await.unwrap();
        assert_eq!(journal.job(job.id).await.unwrap().as_ref(), Some(&job));
    }
}

async fn an_event_is_read_as_it_was_written(journal: &dyn Journal) {
    let job = submitted(journal).await;
    let new = sample_event(&job, Some(7));
    let stored = say(journal, &job, vec![new.clone()]).await.unwrap();
    let expected = Event {
        seq: 1,
        at: new.at,
        session: job.session.clone(),
        job: job.id,
        attempt: job.attempt,
        kind: new.kind,
        agent: new.agent,
        data: new.data,
    };
    assert_eq!(stored, [expected]);
    assert_eq!(journal.events(&job.session, 0, 10).await.unwrap(), stored);
}

async fn events_are_numbered_without_gaps_in_each_session(journal: &dyn Journal) {
    let (one, other) = (submitted(journal).await, submitted(journal).await);
    let three = || vec![sample_event(&one, None), sample_event(&one, None), sample_event(&one, None)];
    assert_eq!(numbers(&say(journal, &one, three()).await.unwrap()), [1, 2, 3]);
    assert_eq!(numbers(&say(journal, &other, vec![sample_event(&other, None)]).await.unwrap()), [1]);
    assert_eq!(numbers(&say(journal, &one, three()).await.unwrap()), [4, 5, 6]);
    assert_eq!(numbers(&journal.events(&one.session, 0, 100).await.unwrap()), [1, 2, 3, 4, 5, 6]);
    assert_eq!(numbers(&journal.events(&other.session, 0, 100).await.unwrap()), [1]);
}

async fn concurrent_writers_leave_no_gap(journal: &dyn Journal) {
    const WRITERS: u64 = 16;
    const EACH: u64 = 10;
    let job = submitted(journal).await;
    let job = &job;
    let writers = (0..WRITERS).map(async |writer| {
        let mut stored = Vec::new();
        for number in 1..=EACH {
            let event = sample_event(job, Some(writer * EACH + number));
            stored.extend(say(journal, job, vec![event]).await.unwrap());
        }
        stored
    });
    let mut told: Vec<Event> = join_all(writers).await.into_iter().flatten().collect();
    told.sort_by_key(|event| event.seq);
    assert_eq!(numbers(&told), (1..=WRITERS * EACH).collect::<Vec<_>>());
    assert_eq!(
        journal.events(&job.session, 0, 1000).await.unwrap(),
        told,
        "the returned events are the stored ones"
    );
}

async fn an_event_sent_twice_is_stored_once(journal: &dyn Journal) {
    let mut job = submitted(journal).await;
    let events =
        |job: &Job, sources: &[u64]| sources.iter().map(|source| sample_event(job, Some(*source))).collect();
    assert_eq!(numbers(&say(journal, &job, events(&job, &[1, 2])).await.unwrap()), [1, 2]);
    let again = say(journal, &job, events(&job, &[1, 2, 3, 3, 4])).await.unwrap();
    assert_eq!(numbers(&again), [3, 4], "only what is new is returned, and repeats take no number");
    assert_eq!(say(journal, &job, events(&job, &[4])).await.unwrap(), []);

    job.attempt = Attempt(2);
    put(journal, &job).await.unwrap();
    assert_eq!(numbers(&say(journal, &job, events(&job, &[1])).await.unwrap()), [5], "another attempt");
    let own = || vec![sample_event(&job, None), sample_event(&job, None)];
    assert_eq!(
        numbers(&say(journal, &job, own()).await.unwrap()),
        [6, 7],
        "the platform's own are never repeats"
    );
}

async fn an_ended_job_does_not_change(journal: &dyn Journal) {
    let mut job = submitted(journal).await;
    job.state = State::Ended(Outcome::Succeeded);
    let finish = Entry {
        session: job.session.clone(),
        job: Some(job.clone()),
        events: vec![sample_event(&job, None)],
    };
    assert_eq!(numbers(&journal.write(finish.clone()).await.unwrap()), [1], "its end carries its last event");

    let mut late = job.clone();
    late.state = State::Running;
    late.attempt = Attempt(9);
    assert!(is_fenced(&put(journal, &late).await));
    assert!(is_fenced(&journal.write(finish).await), "it ends once");
    assert!(is_fenced(&say(journal, &job, vec![sample_event(&job, Some(1))]).await));
    assert_eq!(journal.job(job.id).await.unwrap().as_ref(), Some(&job));
    assert_eq!(journal.head(&job.session).await.unwrap(), Head { seq: 1, live_jobs: 0 });
}

async fn an_earlier_attempt_writes_nothing(journal: &dyn Journal) {
    let first = submitted(journal).await;
    let second = Job { attempt: Attempt(2), ..first.clone() };
    put(journal, &second).await.unwrap();
    let stale = Entry {
        session: first.session.clone(),
        job: Some(first.clone()),
        events: vec![sample_event(&first, Some(1)), sample_event(&second, Some(1))],
    };
    assert!(is_fenced(&journal.write(stale).await));
    let mixed = vec![sample_event(&second, Some(1)), sample_event(&first, Some(1))];
    assert!(
        is_fenced(&say(journal, &second, mixed).await),
        "neither what was stale nor what stood beside it"
    );
    assert_eq!(journal.job(first.id).await.unwrap(), Some(second.clone()));
    assert_eq!(journal.events(&first.session, 0, 10).await.unwrap(), []);
    assert_eq!(numbers(&say(journal, &second, vec![sample_event(&second, Some(1))]).await.unwrap()), [1]);
}

async fn the_end_of_an_attempt_and_the_next_one_are_one_entry(journal: &dyn Journal) {
    let first = submitted(journal).await;
    let next = Job { attempt: Attempt(2), ..first.clone() };
    let entry =
        Entry { session: first.session.clone(), job: Some(next), events: vec![sample_event(&first, None)] };
    assert_eq!(numbers(&journal.write(entry).await.unwrap()), [1], "the last event of the first attempt");
    assert!(is_fenced(&say(journal, &first, vec![sample_event(&first, None)]).await));
}

async fn events_are_read_in_pages(journal: &dyn Journal) {
    let job = submitted(journal).await;
    say(journal, &job, (1..=7).map(|source| sample_event(&job, Some(source))).collect()).await.unwrap();
    let page = async |after, limit| numbers(&journal.events(&job.session, after, limit).await.unwrap());
    assert_eq!(page(0, 3).await, [1, 2, 3]);
    assert_eq!(page(3, 3).await, [4, 5, 6]);
    assert_eq!(page(6, 3).await, [7]);
    assert_eq!(page(7, 3).await, [0; 0]);
    assert_eq!(page(0, 0).await, [0; 0]);
    assert_eq!(page(u64::MAX, usize::MAX).await, [0; 0]);
    assert_eq!(page(0, usize::MAX).await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(
        journal.events(&sample_session_id(), 0, 10).await.unwrap(),
        [],
        "a session that does not exist"
    );
}

async fn large_events_are_all_read(journal: &dyn Journal) {
    let job = submitted(journal).await;
    let mut event = sample_event(&job, None);
    event.data.insert("text".into(), "x".repeat(60 * 1024).into());
    say(journal, &job, vec![event; 100]).await.unwrap();
    let mut after = 0;
    loop {
        let page = journal.events(&job.session, after, 1000).await.unwrap();
        let Some(last) = page.last() else { break };
        assert_eq!(numbers(&page), (after + 1..=last.seq).collect::<Vec<_>>());
        after = last.seq;
    }
    assert_eq!(after, 100);
}

async fn the_size_of_a_log_is_what_is_stored(journal: &dyn Journal) {
    let job = submitted(journal).await;
    let size = async || journal.size(&job.session).await.unwrap();
    assert_eq!(size().await, HistorySize::default());
    let event = sample_event(&job, Some(1));
    let bytes = serde_json::to_string(&event.data).unwrap().len() as u64;
    say(journal, &job, vec![event.clone()]).await.unwrap();
    say(journal, &job, vec![event]).await.unwrap();
    assert_eq!(size().await, HistorySize { events: 1, bytes }, "a repeat is not stored");
}

async fn the_head_counts_events_and_live_jobs(journal: &dyn Journal) {
    let mut one = submitted(journal).await;
    let head = async || journal.head(&one.session).await.unwrap();
    assert_eq!(head().await, Head { seq: 0, live_jobs: 1 });
    let mut other = Job { session: one.session.clone(), ..sample_job() };
    put(journal, &other).await.unwrap();
    say(journal, &other, vec![sample_event(&other, None)]).await.unwrap();
    assert_eq!(head().await, Head { seq: 1, live_jobs: 2 });
    other.state = State::Ended(Outcome::Cancelled);
    put(journal, &other).await.unwrap();
    assert_eq!(head().await, Head { seq: 1, live_jobs: 1 });
    assert_eq!(journal.head(&sample_session_id()).await.unwrap(), Head::default());
    one.state = State::Ended(Outcome::Succeeded);
    put(journal, &one).await.unwrap();
    assert!(journal.head(&one.session).await.unwrap().has_finished());
}

async fn jobs_are_listed_newest_first(journal: &dyn Journal) {
    let (session, user) = (sample_session_id(), sample_job().user);
    let mut jobs = Vec::new();
    for number in 0..5 {
        let mut job = Job { user: user.clone(), ..sample_job() };
        if number % 2 == 0 {
            job.session = session.clone();
        }
        put(journal, &job).await.unwrap();
        if number >= 3 {
            job.state = State::Ended(Outcome::TimedOut);
            put(journal, &job).await.unwrap();
        }
        jobs.insert(0, job);
    }
    let by_user = JobFilter { user: Some(user), limit: 10, ..JobFilter::default() };
    let list = async |filter: JobFilter| journal.jobs(filter).await.unwrap();
    let indexes = |found: Vec<Job>| -> Vec<usize> {
        found.iter().map(|job| jobs.iter().position(|known| known == job).expect("one of ours")).collect()
    };
    assert_eq!(indexes(list(by_user.clone()).await), [0, 1, 2, 3, 4]);
    assert_eq!(indexes(list(JobFilter { limit: 2, ..by_user.clone() }).await), [0, 1]);
    let older = JobFilter { before: Some(jobs[1].id), limit: 2, ..by_user.clone() };
    assert_eq!(indexes(list(older).await), [2, 3]);
    let state = |name| JobFilter { state: Some(name), ..by_user.clone() };
    assert_eq!(indexes(list(state(StateName::Queued)).await), [2, 3, 4]);
    assert_eq!(indexes(list(state(StateName::TimedOut)).await), [0, 1]);
    assert_eq!(list(state(StateName::Failed)).await, [], "each end has its own name");
    let by_session = JobFilter { session: Some(session), limit: 10, ..JobFilter::default() };
    assert_eq!(indexes(list(by_session.clone()).await), [0, 2, 4]);
    assert_eq!(indexes(list(JobFilter { state: Some(StateName::Queued), ..by_session }).await), [2, 4]);
    assert_eq!(list(JobFilter { limit: 0, ..by_user }).await, []);
    let newest = list(JobFilter { limit: 1, ..JobFilter::default() }).await;
    assert_eq!(newest, [jobs[0].clone()], "of all users");
}

async fn unfinished_jobs_are_in_the_order_of_submission(journal: &dyn Journal) {
    let (first, second, third) =
        (submitted(journal).await, submitted(journal).await, submitted(journal).await);
    put(journal, &Job { state: State::Ended(Outcome::Succeeded), ..second.clone() }).await.unwrap();
    put(journal, &Job { state: State::Running, ..first.clone() }).await.unwrap();
    let unfinished: Vec<JobId> = journal.unfinished().await.unwrap().iter().map(|job| job.id).collect();
    assert!(unfinished.is_sorted());
    assert!(unfinished.ends_with(&[first.id, third.id]));
}
