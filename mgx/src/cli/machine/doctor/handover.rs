//! The last handover: what the server that runs, or ran last, took over from the one before it.

use std::io;

use super::Finding;
use crate::config::Config;
use crate::data_dir;
use crate::server::HandoverReport;

const CHECK: &str = "handover";

/// Looks at the report of the last handover.
pub(super) fn look(config: &Config) -> Option<Finding> {
    let dir = &config.server.data_dir;
    let server = data_dir::server(dir, &config.process()).ok().flatten().map(|holder| holder.pid);
    finding(server, HandoverReport::last(dir))
}

/// The finding about the last report. `server` is the process that runs, if one does.
fn finding(server: Option<u32>, last: io::Result<Option<HandoverReport>>) -> Option<Finding> {
    let last = match last {
        Ok(last) => last,
        Err(error) => {
            let remedy = "restart the server: it writes a new report";
            return Some(Finding::warn(CHECK, format!("the report cannot be read: {error}"), remedy));
        }
    };
    match (server, last) {
        (Some(server), last) if last.as_ref().is_none_or(|last| last.process != server) => {
            Some(Finding::warn(
                CHECK,
                format!(
                    "process {server} has not taken over yet: the engine has not listed its containers yet"
                ),
                "start the container engine; what waits begins then",
            ))
        }
        (_, None) => None,
        (_, Some(HandoverReport { process, version, handover })) => {
            let what = format!("{:.0}, by process {process} (mgx {version}): {handover}", handover.at);
            Some(match handover.lost {
                0 => Finding::ok(CHECK, what),
                _ => Finding::warn(
                    CHECK,
                    what,
                    "`mgx ps --all` shows what failed with runtime_lost; with live-restore, containers outlive the engine",
                ),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mgx_scheduler::RecoveryReport;
    use std::fmt::Write as _;

    fn report(lost: u64) -> HandoverReport {
        let handover = RecoveryReport {
            at: "2026-11-22T10:30:00.123Z".parse().unwrap(),
            took_ms: 412,
            listed_after_ms: 12,
            engine_was_away: false,
            reattached: 30,
            finalised: 2,
            lost,
            started_again: 3,
            left_alone: 120,
            cleared: 4,
            orphans: 1,
        };
        HandoverReport { process: 7, version: "1.2.3".to_owned(), handover }
    }

    #[test]
    fn the_last_handover_is_reported() {
        let mut text = String::new();
        for (server, last) in [
            (None, Ok(None)),
            (Some(7), Ok(Some(report(0)))),
            (None, Ok(Some(report(2)))),
            (Some(8), Ok(Some(report(0)))),
            (Some(8), Ok(None)),
            (None, Err(io::Error::other("no report"))),
        ] {
            match finding(server, last) {
                None => text.push_str("nothing\n"),
                Some(finding) => {
                    writeln!(text, "{:?}: {}", finding.verdict, finding.what).unwrap();
                    if let Some(remedy) = finding.remedy {
                        writeln!(text, "  → {remedy}").unwrap();
                    }
                }
            }
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_report_takes_the_place_of_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(HandoverReport::last(dir.path()).unwrap(), None);
        for lost in [1, 2] {
            report(lost).keep(dir.path()).unwrap();
            assert_eq!(HandoverReport::last(dir.path()).unwrap(), Some(report(lost)));
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        std::fs::write(dir.path().join("handover.json"), "{").unwrap();
        assert!(HandoverReport::last(dir.path()).is_err());
    }
}
