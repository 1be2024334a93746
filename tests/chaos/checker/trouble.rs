//! What the judge asks where more than the server was in trouble: deadlines, cancels, runs, refusals and memory.

use super::{Promise, Report, SHOWN, Sent};
use crate::asked::{Asked, TOLERANCE};
use crate::facts::Facts;
use crate::history::Record;

/// What may be short for a while, as a status and a code.
const SHORTAGES: [(u16, &str); 6] = [
    (429, "queue-full"),
    (503, "draining"),
    (503, "no-scheduler"),
    (503, "store-unavailable"),
    (503, "runtime-unavailable"),
    (503, "store-full"),
];

/// How much memory the server may have resident, in MiB.
const MEMORY: u64 = 512;

/// Who was given time got all of it and no more, and whoever did not need it all was not told that it is up.
pub(super) fn deadlines(sent: &Sent<'_>, facts: &Facts, report: &mut Report) {
    for (number, (asked, _)) in &sent.asked {
        let state = sent.accepted.get(number).and_then(|job| facts.jobs.get(*job)).map(String::as_str);
        let lived = facts.lived.get(number);
        match (asked, lived) {
            (Asked::TimeOut(seconds), Some(lived)) => {
                #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
                let late = lived - *seconds as f64;
                // one that was lost has lived as long as its container
                if late > TOLERANCE || (late < -TOLERANCE && state == Some("timed_out")) {
                    report
                        .breaks(Promise::InTime, format!("number {number} lived {lived:.1} s of {seconds}"));
                }
            }
            (Asked::TimeOut(_), None) if state == Some("timed_out") => {
                report.breaks(Promise::InTime, format!("number {number} timed out and never lived"));
            }
            (Asked::TimeOut(_), None) => {}
            (Asked::Succeed | Asked::Fail | Asked::Again | Asked::Cancel, _) => {
                if state == Some("timed_out") {
                    report.breaks(Promise::InTime, format!("number {number} timed out, and had 120 s"));
                }
            }
        }
    }
}

pub(super) fn cancels(history: &[Record], facts: &Facts, report: &mut Report) {
    for record in history {
        let Record::Cancelled { job } = record else { continue };
        let state = facts.jobs.get(job);
        if state.is_none_or(|state| state != "cancelled") {
            report.breaks(Promise::Cancelled, format!("job {job} was to be cancelled, and is {state:?}"));
        }
    }
}

/// An engine that goes may take along as many runs as there are slots. Whether any did.
pub(super) fn lost_runs(history: &[Record], facts: &Facts, report: &mut Report) -> bool {
    let (mut slots, mut ends) = (0, 0);
    for record in history {
        match record {
            Record::Run { slots: all, .. } => slots = *all,
            Record::Struck { ends_runs: true, .. } => ends += 1,
            Record::Struck { ends_runs: false, .. }
            | Record::Sent { .. }
            | Record::Accepted { .. }
            | Record::Refused { .. }
            | Record::Unknown { .. }
            | Record::Cancelled { .. }
            | Record::Seen { .. }
            | Record::Frame { .. }
            | Record::ReaderRefused { .. }
            | Record::Killed { .. }
            | Record::Peak { .. }
            | Record::Ready { .. } => {}
        }
    }
    let lost = facts.lost.len() as u64;
    if lost > slots * ends {
        let most = slots * ends;
        let some: Vec<_> = facts.lost.iter().take(SHOWN).collect();
        report.breaks(Promise::NoRunLost, format!("{lost} runs are lost, at most {most} may be: {some:?}"));
    }
    ends > 0
}

pub(super) fn refusals(history: &[Record], report: &mut Report) {
    for record in history {
        if let Record::Refused { number, status, code } = record
            && *status != 0
            && !SHORTAGES.contains(&(*status, code.as_str()))
        {
            report.breaks(Promise::Refused, format!("number {number} was refused with {status} {code:?}"));
        }
    }
}

pub(super) fn memory(history: &[Record], report: &mut Report) {
    let peak = peak(history);
    if peak > MEMORY {
        report.breaks(Promise::Bounded, format!("{peak} MiB of memory, more than {MEMORY}"));
    }
}

pub(super) fn peak(history: &[Record]) -> u64 {
    let peaks =
        history.iter().filter_map(|record| if let Record::Peak { mib } = record { Some(*mib) } else { None });
    peaks.max().unwrap_or_default()
}
