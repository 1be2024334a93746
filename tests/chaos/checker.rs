//! The checker: compares what clients were told with the server's final state. Pure.

mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::final_state::FinalState;
use crate::history::Record;
use crate::workload::Workload;

/// How many violations of each promise are shown.
const SHOWN: usize = 5;

/// What a server promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// A job that was accepted is known to the server, and ends.
    NoneLost,
    /// No command runs twice, and every command that is reported to have run did.
    RunOnce,
    /// A job ends in one state, which it never leaves, with one `finish`, its last event.
    OneEnd,
    /// The events of a session are numbered 1, 2, 3, …
    Dense,
    /// A reader that reconnects gets every event once, as it is stored.
    ReadOnce,
    /// There are no jobs that no client submitted.
    NoneInvented,
    /// A command is ended at its deadline and not before, whatever the wall clock shows.
    InTime,
    /// A job whose cancel was answered ends as cancelled.
    Cancelled,
    /// No run is lost, except when an engine ends its containers.
    NoRunLost,
    /// A refusal names what is temporarily short.
    Refused,
    /// The server's memory has a bound.
    Bounded,
    /// Jobs end as their workloads demand.
    Right,
}

/// The verdict.
#[derive(Debug, Default)]
pub(crate) struct Report {
    counts: Vec<(String, u64)>,
    broken: BTreeMap<Promise, Vec<String>>,
    /// The few jobs that did not end as expected, which breaks no promise yet.
    odd: Vec<String>,
}

impl Report {
    /// Whether every promise was kept.
    pub(crate) fn is_clean(&self) -> bool {
        self.broken.is_empty()
    }

    fn breaks(&mut self, promise: Promise, how: String) {
        self.broken.entry(promise).or_default().push(how);
    }
}

/// Checks every promise. At least `min_right` of the accepted jobs have to end as expected: otherwise the run shows nothing.
pub(crate) fn check(history: &[Record], found: &FinalState, min_right: f64) -> Report {
    let mut report = Report::default();
    let sent = Submissions::of(history);
    sent.count(history, found, &mut report);
    final_states(&sent, found, &mut report);
    command_runs(&sent, found, &mut report);
    event_numbers(found, &mut report);
    live_readers(history, found, &mut report);
    observed_states(history, found, &mut report);
    unknown_jobs(&sent, found, &mut report);
    faults::deadlines(&sent, found, &mut report);
    faults::cancels(history, found, &mut report);
    let taken = faults::lost_runs(history, found, &mut report);
    faults::refusals(history, &mut report);
    faults::memory(history, &mut report);
    sent.right(found, taken, min_right, &mut report);
    report
}

/// What was submitted.
#[derive(Debug, Default)]
struct Submissions<'a> {
    jobs: BTreeMap<u64, (Workload, &'a str)>,
    accepted: BTreeMap<u64, &'a str>,
    unknown: BTreeSet<u64>,
    /// The jobs whose cancel was answered.
    cancelled: BTreeSet<&'a str>,
}

impl<'a> Submissions<'a> {
    fn of(history: &'a [Record]) -> Self {
        let mut sent = Self::default();
        for record in history {
            match record {
                Record::Sent { number, session, workload } => {
                    sent.jobs.insert(*number, (*workload, session));
                }
                Record::Accepted { number, job } => {
                    sent.accepted.insert(*number, job);
                }
                Record::Unknown { number } => {
                    sent.unknown.insert(*number);
                }
                Record::Cancelled { job } => {
                    sent.cancelled.insert(job);
                }
                Record::Run { .. }
                | Record::Refused { .. }
                | Record::Seen { .. }
                | Record::Frame { .. }
                | Record::ReaderRefused { .. }
                | Record::Killed { .. }
                | Record::Disturbed { .. }
                | Record::Peak { .. }
                | Record::Ready { .. } => {}
            }
        }
        sent
    }

    fn count(&self, history: &[Record], found: &FinalState, report: &mut Report) {
        let of = |wanted: fn(&Record) -> bool| history.iter().filter(|record| wanted(record)).count() as u64;
        let mut count = |name: &str, count: u64| report.counts.push((name.to_owned(), count));
        count("killed", of(|record| matches!(record, Record::Killed { .. })));
        count("… while starting", of(|record| matches!(record, Record::Killed { starting: true })));
        let mut disturbed: BTreeMap<String, u64> = BTreeMap::new();
        for record in history {
            if let Record::Disturbed { nemesis, how, .. } = record {
                *disturbed.entry(format!("{nemesis:?}: {how}").to_lowercase()).or_default() += 1;
            }
        }
        for (how, times) in disturbed {
            count(&how, times);
        }
        count("jobs accepted", self.accepted.len() as u64);
        count("… refused", of(|record| matches!(record, Record::Refused { .. })));
        count("… without an answer", self.unknown.len() as u64);
        count("jobs in the end", found.jobs.len() as u64);
        count("commands run", found.ran.values().flatten().filter(|number| **number > 0).count() as u64);
        count("… until the deadline", found.lived.len() as u64);
        count("cancels answered", of(|record| matches!(record, Record::Cancelled { .. })));
        count("runs lost", found.lost.len() as u64);
        count("events", found.events.values().map(|events| events.len() as u64).sum());
        count("frames read live", of(|record| matches!(record, Record::Frame { .. })));
        count("states seen", of(|record| matches!(record, Record::Seen { .. })));
        let ready = history
            .iter()
            .filter_map(|record| if let Record::Ready { millis } = record { Some(*millis) } else { None });
        count("slowest start, ms", ready.max().unwrap_or_default());
        count("most memory, MiB", faults::peak(history));
    }

    /// Compares every accepted job with its workload. A run that an engine may have ended is excused.
    fn right(&self, found: &FinalState, taken: bool, min_right: f64, report: &mut Report) {
        let mut wrong = Vec::new();
        for (number, job) in &self.accepted {
            let state = found.jobs.get(*job).map_or("unknown", String::as_str);
            let workload = self.jobs.get(number).map(|(workload, _)| *workload);
            // a job that fails the first time may be lost the first time, and fail the second
            let excused = taken && (found.lost.contains(*job) || workload == Some(Workload::FailOnce));
            // the job takes a minute: while the store was down for longer, no client could cancel it
            let late =
                workload == Some(Workload::Cancel) && !self.cancelled.contains(*job) && state == "succeeded";
            if !excused && !late && workload.is_none_or(|workload| !workload.may_end_in(state)) {
                wrong.push(format!(
                    "job {job} (number {number}) has the workload {workload:?} and is {state}"
                ));
            }
        }
        let all = self.accepted.len();
        report.counts.push(("ended as expected".to_owned(), (all - wrong.len()) as u64));
        #[expect(clippy::cast_precision_loss, reason = "counts of jobs are small")]
        if all == 0 || ((all - wrong.len()) as f64) < min_right * all as f64 {
            wrong.insert(0, format!("only {} of {all} jobs ended as expected", all - wrong.len()));
            for how in wrong {
                report.breaks(Promise::Right, how);
            }
        } else {
            report.odd = wrong;
        }
    }
}

/// Every accepted job is known and has ended; every known job has one end.
fn final_states(sent: &Submissions<'_>, found: &FinalState, report: &mut Report) {
    for (number, job) in &sent.accepted {
        match found.jobs.get(*job) {
            None => report.breaks(
                Promise::NoneLost,
                format!("job {job} (number {number}) was accepted and is unknown"),
            ),
            Some(state) if !is_final(state) => {
                report.breaks(Promise::NoneLost, format!("job {job} (number {number}) is still {state}"));
            }
            Some(_) => {}
        }
    }
    let mut finishes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for event in found.events.values().flatten() {
        if let Some(finishes) = finishes.get(event.job.as_str()).filter(|_| event.kind != "finish") {
            report.breaks(
                Promise::OneEnd,
                format!(
                    "event {} ({}) of job {} follows its finish {finishes:?}",
                    event.seq, event.kind, event.job
                ),
            );
        }
        if event.kind == "finish" {
            finishes.entry(&event.job).or_default().push(&event.state);
        }
    }
    for (job, state) in &found.jobs {
        let told = finishes.remove(job.as_str()).unwrap_or_default();
        if is_final(state) && told != [state.as_str()] {
            report
                .breaks(Promise::OneEnd, format!("job {job} is {state}, and its finish events say {told:?}"));
        }
    }
    for (job, told) in finishes {
        report.breaks(Promise::OneEnd, format!("job {job} is unknown, and its finish events say {told:?}"));
    }
}

/// Every command that ran wrote its number at most as often as it may run, in its own session, and did not begin again
/// before it had ended.
fn command_runs(sent: &Submissions<'_>, found: &FinalState, report: &mut Report) {
    let mut begun: BTreeMap<(&str, u64), i64> = BTreeMap::new();
    let mut ended: BTreeMap<(&str, u64), i64> = BTreeMap::new();
    for (session, ran) in &found.ran {
        for line in ran {
            let number = (session.as_str(), line.unsigned_abs());
            if *line < 0 {
                *ended.entry(number).or_default() += 1;
                continue;
            }
            let times = begun.entry(number).or_default();
            *times += 1;
            let ended = ended.get(&number).copied().unwrap_or_default();
            if *times > ended + 1 && found.lost.is_empty() {
                report.breaks(Promise::RunOnce, format!("number {line} ran twice at once"));
            }
        }
    }
    for event in found.events.values().flatten().filter(|event| event.kind == "log") {
        if let Some(number) = event.text.strip_prefix("ran ").and_then(|number| number.parse().ok())
            && sent.accepted.get(&number).is_some_and(|job| *job != event.job)
        {
            report.breaks(Promise::RunOnce, format!("number {number} ran as job {} too", event.job));
        }
    }
    for ((session, number), times) in &begun {
        let workload = sent.jobs.get(number);
        let most = workload.map_or(1, |(workload, _)| workload.max_runs());
        if usize::try_from(*times).is_ok_and(|times| times > most) {
            report.breaks(Promise::RunOnce, format!("number {number} ran {times} times"));
        }
        if workload.is_none_or(|(_, submitted_to)| submitted_to != session) {
            report.breaks(
                Promise::RunOnce,
                format!("number {number} ran in session {session}, to which it was not submitted"),
            );
        }
    }
    for (number, job) in &sent.accepted {
        let Some((_, session)) = sent.jobs.get(number) else { continue };
        let succeeded = found.jobs.get(*job).is_some_and(|state| state == "succeeded");
        if succeeded && !begun.contains_key(&(*session, *number)) {
            report.breaks(Promise::RunOnce, format!("job {job} (number {number}) succeeded and never ran"));
        }
    }
}

fn event_numbers(found: &FinalState, report: &mut Report) {
    for (session, events) in &found.events {
        for (event, seq) in events.iter().zip(1..) {
            if event.seq != seq {
                report.breaks(
                    Promise::Dense,
                    format!("session {session}: event {} where {seq} should be", event.seq),
                );
                break;
            }
        }
    }
}

/// Live readers got what is stored, each event once, in order.
fn live_readers(history: &[Record], found: &FinalState, report: &mut Report) {
    let mut next: BTreeMap<&str, u64> = BTreeMap::new();
    for record in history {
        if let Record::ReaderRefused { session, error } = record {
            report.breaks(Promise::ReadOnce, format!("session {session}: {error}"));
        }
        let Record::Frame { session, id, event, job } = record else { continue };
        let expected = next.entry(session).or_insert(1);
        if id != expected {
            report.breaks(
                Promise::ReadOnce,
                format!("session {session}: frame {id} where {expected} should be"),
            );
        }
        *expected = id + 1;
        let stored = found.events.get(session).into_iter().flatten().find(|stored| stored.seq == *id);
        if stored.is_none_or(|stored| stored.kind != *event || stored.job != *job) {
            report.breaks(
                Promise::ReadOnce,
                format!("session {session}: frame {id} was {event}, and stored is {stored:?}"),
            );
        }
    }
}

/// A job that a client saw is known, and a final state that a client saw is its final state.
fn observed_states(history: &[Record], found: &FinalState, report: &mut Report) {
    for record in history {
        let Record::Seen { job, status, state } = record else { continue };
        if *status == 404 {
            report.breaks(Promise::NoneLost, format!("job {job} was accepted, and once unknown"));
        } else if *status == 200 && is_final(state) && found.jobs.get(job) != Some(state) {
            let now = found.jobs.get(job);
            report.breaks(Promise::OneEnd, format!("job {job} was seen {state}, and is {now:?}"));
        }
    }
}

fn unknown_jobs(sent: &Submissions<'_>, found: &FinalState, report: &mut Report) {
    let accepted: BTreeSet<&str> = sent.accepted.values().copied().collect();
    if accepted.len() != sent.accepted.len() {
        report.breaks(Promise::NoneInvented, "two submissions got the same job".to_owned());
    }
    let others = found.jobs.keys().filter(|job| !accepted.contains(job.as_str())).count();
    if others > sent.unknown.len() {
        let unknown = sent.unknown.len();
        report.breaks(
            Promise::NoneInvented,
            format!("{others} jobs were never accepted, and only {unknown} answers are missing"),
        );
    }
}

fn is_final(state: &str) -> bool {
    ["succeeded", "failed", "cancelled", "timed_out", "expired", "rejected"].contains(&state)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Promise as P;
        for (name, count) in &self.counts {
            writeln!(f, "{name:<24}{count:>8}")?;
        }
        for how in self.odd.iter().take(SHOWN) {
            writeln!(f, "    {how}")?;
        }
        for (promise, name) in [
            (P::NoneLost, "lost"),
            (P::RunOnce, "not run once"),
            (P::OneEnd, "without one end"),
            (P::Dense, "sessions with gaps"),
            (P::ReadOnce, "frames misread"),
            (P::NoneInvented, "invented"),
            (P::InTime, "out of time"),
            (P::Cancelled, "cancels forgotten"),
            (P::NoRunLost, "runs lost for nothing"),
            (P::Refused, "refused without reason"),
            (P::Bounded, "without bounds"),
            (P::Right, "too few right"),
        ] {
            let broken = self.broken.get(&promise).map_or(&[][..], |broken| broken);
            writeln!(f, "{name:<24}{:>8}", broken.len())?;
            for how in broken.iter().take(SHOWN) {
                writeln!(f, "    {how}")?;
            }
        }
        write!(f, "{}", if self.is_clean() { "every promise was kept" } else { "PROMISES WERE BROKEN" })
    }
}

#[cfg(test)]
#[path = "checker_tests.rs"]
mod tests;
