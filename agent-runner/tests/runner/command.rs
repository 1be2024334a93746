//! The command of an invocation: its environment, its output, how it ends.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use mgx_protocol::{Exit, ExitCause, ReportedResult, ToRunner};
use rustix::process::{Pid, Signal, test_kill_process};

use crate::platform::{Platform, RunnerProcess, printed};

/// Runs `script` to its end, with a deadline of 400 ms and a grace of 300 ms if it is `slow`.
async fn run(script: &str, slow: bool) -> (Vec<String>, Exit) {
    let runner = RunnerProcess::start(&[]);
    let (_platform, mut control) = Platform::meet(&runner).await;
    let mut invocation = runner.invocation(Some(script));
    if slow {
        (invocation.timeout_ms, invocation.grace_ms) = (400, 300);
    }
    control.invoke(&invocation).await;
    let (events, exit) = control.finish().await;
    assert!(events.iter().map(|event| event.seq).eq(1..=exit.last_seq), "numbered without gaps");
    assert!(runner.exits().await);
    (printed(&events), exit)
}

#[tokio::test]
async fn a_command_runs_with_its_environment_and_what_it_prints_arrives() {
    let script = "echo \"$PROMPT\"; echo oops >&2; basename \"$PWD\"; env | cut -d= -f1 | sort | tr '\\n' ' '; \
                  cat /proc/self/oom_score_adj; printf 'no newline'; exit 7";
    let (mut lines, exit) = run(script, false).await;
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"));
    assert_eq!((exit.code, exit.signal, exit.cause), (Some(7), None, ExitCause::Ended));
    assert_eq!((exit.oom_kills, exit.reported, exit.error), (0, None, None));
}

#[tokio::test]
async fn a_command_that_ignores_sigterm_is_killed_after_its_deadline_and_grace() {
    let start = Instant::now();
    let (lines, exit) = run("trap '' TERM; echo stubborn; while :; do sleep 1; done", true).await;
    assert!(start.elapsed() >= Duration::from_millis(700), "not before");
    assert_eq!(lines, ["stdout: stubborn"]);
    assert_eq!((exit.code, exit.signal, exit.cause), (None, Some(9), ExitCause::Deadline));
}

#[tokio::test]
async fn a_command_that_was_suspended_is_killed_too() {
    let (_, exit) = run("kill -STOP $$", true).await;
    assert_eq!((exit.signal, exit.cause), (Some(9), ExitCause::Deadline));
}

#[tokio::test]
async fn processes_that_a_command_leaves_are_gone_before_its_exit_is_reported() {
    let (lines, exit) = run("sleep 1000 & echo $!; exit 0", false).await;
    let pid: i32 = lines[0].strip_prefix("stdout: ").unwrap().parse().unwrap();
    assert_eq!(exit.code, Some(0));
    assert!(test_kill_process(Pid::from_raw(pid).unwrap()).is_err(), "the sleeper is gone");
}

#[tokio::test]
async fn a_command_that_cannot_be_executed_says_why() {
    let runner = RunnerProcess::start(&[]);
    let (_platform, mut control) = Platform::meet(&runner).await;
    let mut invocation = runner.invocation(None);
    invocation.argv = vec!["no-such-program".into()];
    control.invoke(&invocation).await;
    let (_, exit) = control.finish().await;
    assert_eq!((exit.cause, exit.code), (ExitCause::NotStarted, None));
    insta::assert_snapshot!(exit.error.unwrap(), @"cannot execute no-such-program: No such file or directory (os error 2)");

    let runner = RunnerProcess::start(&[]);
    let (_platform, mut control) = Platform::meet(&runner).await;
    let mut invocation = runner.invocation(Some("true"));
    invocation.workdir = "/no/such/directory".into();
    control.invoke(&invocation).await;
    let (_, exit) = control.finish().await;
    assert_eq!((exit.cause, exit.code), (ExitCause::NotStarted, None));
    insta::assert_snapshot!(exit.error.unwrap(), @"cannot enter /no/such/directory: No such file or directory (os error 2)");
}

#[tokio::test]
async fn a_stop_lets_a_command_finish_within_its_grace_and_a_second_one_is_harder() {
    for (trap, expected) in [("echo bye; exit 0", (Some(0), None)), ("", (None, Some(9)))] {
        let runner = RunnerProcess::start(&[]);
        let (_platform, mut control) = Platform::meet(&runner).await;
        let script = format!("trap '{trap}' TERM; echo ready; while :; do sleep 0.05; done");
        control.invoke(&runner.invocation(Some(&script))).await;
        assert_eq!(printed(&[control.event().await]), ["stdout: ready"]);
        control.send(ToRunner::Stop { grace_ms: 600_000 }).await;
        if trap.is_empty() {
            control.send(ToRunner::Stop { grace_ms: 0 }).await;
        }
        let (events, exit) = control.finish().await;
        assert_eq!(((exit.code, exit.signal), exit.cause), (expected, ExitCause::Stopped));
        let printed_bye = printed(&events).contains(&"stdout: bye".to_owned());
        assert_eq!(printed_bye, !trap.is_empty(), "its last output arrives");
    }
}

#[tokio::test]
async fn sigterm_to_the_runner_stops_the_command_and_ends_an_idle_runner() {
    let runner = RunnerProcess::start(&[]);
    let (_platform, mut control) = Platform::meet(&runner).await;
    control.invoke(&runner.invocation(Some("echo ready; exec sleep 1000"))).await;
    control.event().await;
    runner.signal(Signal::TERM);
    let (_, exit) = control.finish().await;
    assert_eq!((exit.signal, exit.cause), (Some(15), ExitCause::Stopped));

    let runner = RunnerProcess::start(&[]);
    let _kept = Platform::meet(&runner).await;
    runner.signal(Signal::TERM);
    assert!(runner.exits().await);
}

#[tokio::test]
async fn any_process_of_the_container_can_report_events_and_the_result() {
    let runner = RunnerProcess::start(&[]);
    let (_platform, mut control) = Platform::meet(&runner).await;
    control
        .invoke(&runner.invocation(Some("echo $MGX_EVENTS; until [ -e done ]; do sleep 0.01; done")))
        .await;
    let socket = printed(&[control.event().await])[0].strip_prefix("stdout: ").unwrap().to_owned();
    for number in 0..20 {
        let mut reporter = UnixStream::connect(&socket).unwrap();
        writeln!(reporter, "{{\"type\":\"note\",\"agent\":\"a\",\"data\":{{\"number\":{number}}}}}").unwrap();
    }
    let finish = b"{\"type\":\"finish\",\"data\":{\"status\":\"error\",\"error\":\"gave up\"}}";
    UnixStream::connect(&socket).unwrap().write_all(finish).unwrap();
    std::fs::write(runner.workspace().join("done"), "").unwrap();
    let (events, exit) = control.finish().await;
    let mut numbers: Vec<_> = events.iter().map(|event| event.data["number"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(
        numbers,
        (0..20).collect::<Vec<_>>(),
        "what was written before the end arrives before the exit"
    );
    assert_eq!(
        exit.reported,
        Some(ReportedResult { success: false, error: Some("gave up".into()), resume_after_s: None })
    );
    assert!(!std::path::Path::new(&socket).exists());
}

/// Runs the runner as PID 1 with unshare(1): orphans outside of the command's session must be killed and reaped.
#[tokio::test]
#[ignore = "needs the right to make PID namespaces"]
async fn pid_1_leaves_no_orphan_behind() {
    let runner =
        RunnerProcess::start(&["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]);
    let (_platform, mut control) = Platform::meet(&runner).await;
    let script = "setsid sh -c 'trap \"\" TERM; touch escaped; while :; do sleep 1; done' & \
                  until [ -e escaped ]; do sleep 0.01; done; cat /proc/1/cmdline | tr '\\0' ' '; exit 4";
    control.invoke(&runner.invocation(Some(script))).await;
    let (events, exit) = control.finish().await;
    assert!(printed(&events)[0].ends_with("mgx-agent-runner "), "{:?}", printed(&events));
    assert_eq!((exit.code, exit.cause, exit.error), (Some(4), ExitCause::Ended, None));
    assert!(runner.exits().await);
}
