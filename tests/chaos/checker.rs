//! The judge: compares what clients were told with what the server says in the end. Pure.

mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::asked::Asked;
use crate::facts::Facts;
use crate::history::Record;

/// How many violations of each promise are shown.
const SHOWN: usize = 5;

/// What a server promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// A job that was accepted is known, and ends.
    NoneLost,
    /// No command runs twice, and none that is said to have run did not.
    RunOnce,
    /// A job ends in one state, which it never leaves, with one `finish`, its last event.
    OneEnd,
    /// The events of a session are numbered 1, 2, 3, …
    Dense,
    /// A reader that reconnects gets every event once, as it is stored.
    ReadOnce,
    /// There are no jobs that nobody submitted.
    NoneInvented,
    /// A command is ended at its deadline and not before, whatever the clocks say.
    InTime,
    /// A job whose cancel was answered ends as cancelled.
    Cancelled,
    /// No run is lost but with an engine that takes its containers along.
    NoRunLost,
    /// A refusal says what is short, and that it may pass.
    Refused,
    /// The server's memory has a bound.
    Bounded,
    /// Jobs come out as they were asked to.
    Right,
}

/// The verdict.
#[derive(Debug, Default)]
pub(crate) struct Report {
    counts: Vec<(String, u64)>,
    broken: BTreeMap<Promise, Vec<String>>,
    /// Those few that did not come out as asked, which breaks no promise yet.
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

/// Judges. At least `min_right` of the accepted jobs have to come out as asked: otherwise nothing was shown.
pub(crate) fn check(history: &[Record], facts: &Facts, min_right: f64) -> Report {
    let mut report = Report::default();
    let sent = Sent::of(history);
    sent.count(history, facts, &mut report);
    ends(&sent, facts, &mut report);
    runs(&sent, facts, &mut report);
    numbers(facts, &mut report);
    reads(history, facts, &mut report);
    sights(history, facts, &mut report);
    strangers(&sent, facts, &mut report);
    trouble::deadlines(&sent, facts, &mut report);
    trouble::cancels(history, facts, &mut report);
    let taken = trouble::lost_runs(history, facts, &mut report);
    trouble::refusals(history, &mut report);
    trouble::memory(history, &mut report);
    sent.right(facts, taken, min_right, &mut report);
    report
}

/// What was submitted.
#[derive(Debug, Default)]
struct Sent<'a> {
    asked: BTreeMap<u64, (Asked, &'a str)>,
    accepted: BTreeMap<u64, &'a str>,
    unknown: BTreeSet<u64>,
    /// Whose cancel was answered.
    cancelled: BTreeSet<&'a str>,
}

impl<'a> Sent<'a> {
    fn of(history: &'a [Record]) -> Self {
        let mut sent = Self::default();
        for record in history {
            match record {
                Record::Sent { number, session, asked } => {
                    sent.asked.insert(*number, (*asked, session));
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
                | Record::Struck { .. }
                | Record::Peak { .. }
                | Record::Ready { .. } => {}
            }
        }
        sent
    }

    fn count(&self, history: &[Record], facts: &Facts, report: &mut Report) {
        let of = |wanted: fn(&Record) -> bool| history.iter().filter(|record| wanted(record)).count() as u64;
        let mut count = |name: &str, count: u64| report.counts.push((name.to_owned(), count));
        count("killed", of(|record| matches!(record, Record::Killed { .. })));
        count("… while starting", of(|record| matches!(record, Record::Killed { starting: true })));
        let mut struck: BTreeMap<String, u64> = BTreeMap::new();
        for record in history {
            if let Record::Struck { nemesis, how, .. } = record {
                *struck.entry(format!("{nemesis:?}: {how}").to_lowercase()).or_default() += 1;
            }
        }
        for (how, times) in struck {
            count(&how, times);
        }
        count("jobs accepted", self.accepted.len() as u64);
        count("… refused", of(|record| matches!(record, Record::Refused { .. })));
        count("… without an answer", self.unknown.len() as u64);
        count("jobs in the end", facts.jobs.len() as u64);
        count("commands run", facts.ran.values().flatten().filter(|number| **number > 0).count() as u64);
        count("… until the deadline", facts.lived.len() as u64);
        count("cancels answered", of(|record| matches!(record, Record::Cancelled { .. })));
        count("runs lost", facts.lost.len() as u64);
        count("events", facts.events.values().map(|events| events.len() as u64).sum());
        count("frames read live", of(|record| matches!(record, Record::Frame { .. })));
        count("looks at jobs", of(|record| matches!(record, Record::Seen { .. })));
        let ready = history
            .iter()
            .filter_map(|record| if let Record::Ready { millis } = record { Some(*millis) } else { None });
        count("slowest start, ms", ready.max().unwrap_or_default());
        count("most memory, MiB", trouble::peak(history));
    }

    /// Every accepted job against what it was asked. A run that was taken away (if any may have been) is no fault.
    fn right(&self, facts: &Facts, taken: bool, min_right: f64, report: &mut Report) {
        let mut wrong = Vec::new();
        for (number, job) in &self.accepted {
            let state = facts.jobs.get(*job).map_or("unknown", String::as_str);
            let asked = self.asked.get(number).map(|(asked, _)| *asked);
            // one that fails the first time is lost the first time, and fails the second
            let excused = taken && (facts.lost.contains(*job) || asked == Some(Asked::Again));
            // it takes a minute: while a store was away for longer, nobody could cancel it
            let late = asked == Some(Asked::Cancel) && !self.cancelled.contains(*job) && state == "succeeded";
            if !excused && !late && asked.is_none_or(|asked| !asked.may_end_in(state)) {
                wrong.push(format!("job {job} (number {number}) was asked {asked:?} and is {state}"));
            }
        }
        let all = self.accepted.len();
        report.counts.push(("came out as asked".to_owned(), (all - wrong.len()) as u64));
        #[expect(clippy::cast_precision_loss, reason = "counts of jobs are small")]
        if all == 0 || ((all - wrong.len()) as f64) < min_right * all as f64 {
            wrong.insert(0, format!("only {} of {all} jobs came out as asked", all - wrong.len()));
            for how in wrong {
                report.breaks(Promise::Right, how);
            }
        } else {
            report.odd = wrong;
        }
    }
}

/// Every accepted job is known and has ended; every known job has one end.
fn ends(sent: &Sent<'_>, facts: &Facts, report: &mut Report) {
    for (number, job) in &sent.accepted {
        match facts.jobs.get(*job) {
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
    for event in facts.events.values().flatten() {
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
    for (job, state) in &facts.jobs {
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

/// Every command wrote its number as often as it may run, in its own session, if it ran at all; and it did not begin
/// again before it had ended.
fn runs(sent: &Sent<'_>, facts: &Facts, report: &mut Report) {
    let mut begun: BTreeMap<(&str, u64), i64> = BTreeMap::new();
    let mut ended: BTreeMap<(&str, u64), i64> = BTreeMap::new();
    for (session, ran) in &facts.ran {
        for line in ran {
            let number = (session.as_str(), line.unsigned_abs());
            if *line < 0 {
                *ended.entry(number).or_default() += 1;
                continue;
            }
            let times = begun.entry(number).or_default();
            *times += 1;
            let ended = ended.get(&number).copied().unwrap_or_default();
            if *times > ended + 1 && facts.lost.is_empty() {
                report.breaks(Promise::RunOnce, format!("number {line} ran twice at once"));
            }
        }
    }
    for event in facts.events.values().flatten().filter(|event| event.kind == "log") {
        if let Some(number) = event.text.strip_prefix("ran ").and_then(|number| number.parse().ok())
            && sent.accepted.get(&number).is_some_and(|job| *job != event.job)
        {
            report.breaks(Promise::RunOnce, format!("number {number} ran as job {} too", event.job));
        }
    }
    for ((session, number), times) in &begun {
        let asked = sent.asked.get(number);
        let most = asked.map_or(1, |(asked, _)| asked.most_runs());
        if usize::try_from(*times).is_ok_and(|times| times > most) {
            report.breaks(Promise::RunOnce, format!("number {number} ran {times} times"));
        }
        if asked.is_none_or(|(_, asked_in)| asked_in != session) {
            report.breaks(
                Promise::RunOnce,
                format!("number {number} ran in session {session}, where nobody asked for it"),
            );
        }
    }
    for (number, job) in &sent.accepted {
        let Some((_, session)) = sent.asked.get(number) else { continue };
        let succeeded = facts.jobs.get(*job).is_some_and(|state| state == "succeeded");
        if succeeded && !begun.contains_key(&(*session, *number)) {
            report.breaks(Promise::RunOnce, format!("job {job} (number {number}) succeeded and never ran"));
        }
    }
}

fn numbers(facts: &Facts, report: &mut Report) {
    for (session, events) in &facts.events {
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

/// What live readers got is what is stored, each event once, in order.
fn reads(history: &[Record], facts: &Facts, report: &mut Report) {
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
        let stored = facts.events.get(session).into_iter().flatten().find(|stored| stored.seq == *id);
        if stored.is_none_or(|stored| stored.kind != *event || stored.job != *job) {
            report.breaks(
                Promise::ReadOnce,
                format!("session {session}: frame {id} was {event}, and stored is {stored:?}"),
            );
        }
    }
}

/// A job that somebody saw is known, and an end that somebody saw is its end.
fn sights(history: &[Record], facts: &Facts, report: &mut Report) {
    for record in history {
        let Record::Seen { job, status, state } = record else { continue };
        if *status == 404 {
            report.breaks(Promise::NoneLost, format!("job {job} was accepted, and once unknown"));
        } else if *status == 200 && is_final(state) && facts.jobs.get(job) != Some(state) {
            let now = facts.jobs.get(job);
            report.breaks(Promise::OneEnd, format!("job {job} was seen {state}, and is {now:?}"));
        }
    }
}

fn strangers(sent: &Sent<'_>, facts: &Facts, report: &mut Report) {
    let accepted: BTreeSet<&str> = sent.accepted.values().copied().collect();
    if accepted.len() != sent.accepted.len() {
        report.breaks(Promise::NoneInvented, "two submissions got the same job".to_owned());
    }
    let others = facts.jobs.keys().filter(|job| !accepted.contains(job.as_str())).count();
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
