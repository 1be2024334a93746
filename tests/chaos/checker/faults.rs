//! The promises that hold under faults of everything around the server: deadlines, cancels, runs, refusals and memory.

use super::{Promise, Report, SHOWN, Submissions};
use crate::final_state::FinalState;
use crate::history::Record;
use crate::workload::{TOLERANCE, Workload};

/// The refusals that tell of a temporary shortage, as a status and a code.
const SHORTAGES: [(u16, &str); 6] = [
    (429, "queue-full"),
    (503, "draining"),
    (503, "no-scheduler"),
    (503, "store-unavailable"),
    (503, "runtime-unavailable"),
    (503, "store-full"),
];

/// How much memory the server may have resident, in MiB.
const MAX_MEMORY_MIB: u64 = 512;

/// A command with a timeout ran for all of it and no longer, and a command that ends by itself did not time out.
pub(super) fn deadlines(sent: &Submissions<'_>, found: &FinalState, report: &mut Report) {
    for (number, (workload, _)) in &sent.jobs {
        let state = sent.accepted.get(number).and_then(|job| found.jobs.get(*job)).map(String::as_str);
        let lived = found.lived.get(number);
        match (workload, lived) {
            (Workload::TimeOut(seconds), Some(lived)) => {
                #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
                let late = lived - *seconds as f64;
                // a command that was lost has run as long as its container
                if late > TOLERANCE || (late < -TOLERANCE && state == Some("timed_out")) {
                    report
                        .breaks(Promise::InTime, format!("number {number} lived {lived:.1} s of {seconds}"));
                }
            }
            (Workload::TimeOut(_), None) if state == Some("timed_out") => {
                report.breaks(Promise::InTime, format!("number {number} timed out and never lived"));
            }
            (Workload::TimeOut(_), None) => {}
            (Workload::Succeed | Workload::Fail | Workload::FailOnce | Workload::Cancel, _) => {
                if state == Some("timed_out") {
                    report.breaks(Promise::InTime, format!("number {number} timed out, and had 120 s"));
                }
            }
        }
    }
}

pub(super) fn cancels(history: &[Record], found: &FinalState, report: &mut Report) {
    for record in history {
        let Record::Cancelled { job } = record else { continue };
        let state = found.jobs.get(job);
        if state.is_none_or(|state| state != "cancelled") {
            report.breaks(Promise::Cancelled, format!("job {job} was to be cancelled, and is {state:?}"));
        }
    }
}

/// An engine that ends its containers may end as many runs as there are slots. Whether any engine did.
pub(super) fn lost_runs(history: &[Record], found: &FinalState, report: &mut Report) -> bool {
    let (mut slots, mut ends) = (0, 0);
    for record in history {
        match record {
            Record::Run { slots: all, .. } => slots = *all,
            Record::Disturbed { ends_runs: true, .. } => ends += 1,
            Record::Disturbed { ends_runs: false, .. }
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
    let lost = found.lost.len() as u64;
    if lost > slots * ends {
        let most = slots * ends;
        let some: Vec<_> = found.lost.iter().take(SHOWN).collect();
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
    if peak > MAX_MEMORY_MIB {
        report.breaks(Promise::Bounded, format!("{peak} MiB of memory, more than {MAX_MEMORY_MIB}"));
    }
}

pub(super) fn peak(history: &[Record]) -> u64 {
    let peaks =
        history.iter().filter_map(|record| if let Record::Peak { mib } = record { Some(*mib) } else { None });
    peaks.max().unwrap_or_default()
}
