//! The runner when its platform goes away and comes back.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mgx_protocol::{FromRunner, ToRunner};

use crate::platform::{Platform, RunnerProcess, printed};

#[tokio::test]
async fn a_platform_that_dies_again_and_again_hears_every_event_once_and_in_order() {
    const LINES: u64 = 500;
    let runner = RunnerProcess::start(&[]);
    let (mut platform, mut control) = Platform::meet(&runner).await;
    let script = format!("i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo $i; done; exit 5");
    let invocation = runner.invocation(Some(&script));
    control.invoke(&invocation).await;
    // each process of the platform stores some events, acknowledges fewer than it has read, and is killed
    let mut stored = Vec::new();
    for process in 1..=10u64 {
        for _ in 0..process * 7 {
            let FromRunner::Event(event) = control.next().await else {
                panic!("the exit comes after {LINES}")
            };
            stored.push(event);
        }
        let acknowledged = stored.len() - 3;
        control.send(ToRunner::Ack { seq: stored[acknowledged - 1].seq }).await;
        // the acknowledgement may be lost as well, because no later frame proves that it was received
        drop((platform, control));
        platform = Platform::listen(runner.dir.path(), None);
        control = platform.control().await;
        assert_eq!(control.ready.invoked, Some((invocation.job, invocation.attempt)), "it is busy");
        // a runner that has an invocation takes no second
        control.invoke(&runner.invocation(Some("echo another"))).await;
        let FromRunner::Event(first) = control.next().await else { panic!("the exit comes after {LINES}") };
        let resumed = usize::try_from(first.seq).unwrap() - 1;
        assert!(resumed <= acknowledged, "only what was acknowledged is forgotten");
        assert_eq!(stored.get(resumed).unwrap_or(&first), &first, "an event sent twice is the same event");
        stored.truncate(resumed);
        stored.push(first);
    }
    let (rest, exit) = control.finish().await;
    stored.extend(rest);
    assert!(stored.iter().map(|event| event.seq).eq(1..=LINES));
    let expected: Vec<_> = (1..=LINES).map(|line| format!("stdout: {line}")).collect();
    assert_eq!(printed(&stored), expected);
    assert_eq!((exit.last_seq, exit.code), (LINES, Some(5)));
    assert!(runner.exits().await);
}

#[tokio::test]
async fn the_exit_is_repeated_until_the_platform_dismisses() {
    let mut runner = RunnerProcess::start(&[]);
    let (mut platform, mut control) = Platform::meet(&runner).await;
    control.invoke(&runner.invocation(Some("echo once"))).await;
    let event = control.event().await;
    let FromRunner::Exit(exit) = control.next().await else { panic!("one event only") };
    for _ in 0..3 {
        drop((platform, control));
        platform = Platform::listen(runner.dir.path(), None);
        control = platform.control().await;
        assert_eq!(control.event().await, event, "not acknowledged yet");
        assert_eq!(control.next().await, FromRunner::Exit(exit.clone()));
    }
    assert!(runner.alive(), "the platform has not dismissed it");
    control.send(ToRunner::Ack { seq: 1 }).await;
    control.send(ToRunner::Dismiss).await;
    assert!(runner.exits().await);
}

#[tokio::test]
async fn a_command_waits_while_its_output_is_not_read_and_goes_on_when_it_is() {
    const LINES: u64 = 40_000;
    let runner = RunnerProcess::start(&[]);
    let (mut platform, mut control) = Platform::meet(&runner).await;
    control.invoke(&runner.invocation(Some(&format!("seq {LINES}; touch done")))).await;
    control.event().await;
    drop((platform, control));
    platform = Platform::listen(runner.dir.path(), None);
    control = platform.control().await;
    // more than the spool, the pipe and the socket hold: the command cannot have come to its end
    for seq in 1..=1000 {
        assert_eq!(control.event().await.seq, seq);
    }
    assert!(!runner.workspace().join("done").exists());
    control.send(ToRunner::Ack { seq: 1000 }).await;
    let (events, exit) = control.finish().await;
    assert!(events.iter().map(|event| event.seq).eq(1001..=LINES));
    assert_eq!(exit.last_seq, LINES);
    assert!(runner.workspace().join("done").exists());
}

#[tokio::test]
async fn output_that_is_not_read_takes_a_share_of_the_memory_and_holds_the_command_up() {
    const MEMORY: u64 = 32 << 20;
    const LINES: u64 = 4000;
    let runner = RunnerProcess::start(&[]);
    let (platform, mut control) = Platform::meet(&runner).await;
    let mut invocation = runner.invocation(Some(&format!(
        "line=$(printf '%9000s' x); i=0; while [ $i -lt {LINES} ]; do echo \"$line\"; i=$((i+1)); done; touch done"
    )));
    invocation.memory_bytes = MEMORY;
    let before = runner.peak_memory();
    control.invoke(&invocation).await;
    control.event().await;
    drop((platform, control));
    // until it grows no more: the command waits
    let (mut peak, mut quiet) = (0, 0);
    while quiet < 10 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        quiet = if runner.peak_memory() == peak { quiet + 1 } else { 0 };
        peak = runner.peak_memory();
    }
    assert!(
        !runner.workspace().join("done").exists(),
        "{LINES} lines of 9 kB are more than a share of 32 MiB"
    );
    assert!(peak - before < MEMORY / 4, "it took {} KiB", (peak - before) / 1024);
    let mut platform = Platform::listen(runner.dir.path(), None);
    let mut control = platform.control().await;
    let (events, exit) = control.finish().await;
    assert!(events.iter().map(|event| event.seq).eq(1..=LINES));
    assert_eq!((exit.code, exit.last_seq), (Some(0), LINES));
}

/// Many processes that report at once hold no more than that either.
#[tokio::test]
async fn events_of_many_processes_that_are_not_read_take_a_share_of_the_memory() {
    const MEMORY: u64 = 32 << 20;
    let runner = RunnerProcess::start(&[]);
    let (platform, mut control) = Platform::meet(&runner).await;
    let mut invocation = runner.invocation(Some("echo $MGX_EVENTS; until [ -e done ]; do sleep 0.1; done"));
    invocation.memory_bytes = MEMORY;
    control.invoke(&invocation).await;
    let socket = printed(&[control.event().await])[0].strip_prefix("stdout: ").unwrap().to_owned();
    let before = runner.peak_memory();
    drop((platform, control));
    // many small values take more memory than their text
    let list = vec!["[]"; 20_000].join(",");
    let line = format!("{{\"type\":\"note\",\"data\":{{\"list\":[{list}]}}}}\n");
    for _ in 0..64 {
        let (socket, line) = (socket.clone(), line.clone());
        std::thread::spawn(move || {
            let mut reporter = UnixStream::connect(&socket).unwrap();
            while reporter.write_all(line.as_bytes()).is_ok() {}
        });
    }
    let (mut peak, mut quiet) = (0, 0);
    while quiet < 10 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        quiet = if runner.peak_memory() == peak { quiet + 1 } else { 0 };
        peak = runner.peak_memory();
    }
    assert!(peak - before < MEMORY / 3, "it took {} KiB", (peak - before) / 1024);
}

#[tokio::test]
async fn a_stop_before_the_invocation_has_no_effect() {
    let runner = RunnerProcess::start(&[]);
    let (_platform, mut control) = Platform::meet(&runner).await;
    control.send(ToRunner::Stop { grace_ms: 0 }).await;
    control.send(ToRunner::Dismiss).await;
    control.invoke(&runner.invocation(Some("echo here"))).await;
    let (events, exit) = control.finish().await;
    assert_eq!(printed(&events), ["stdout: here"]);
    assert_eq!(exit.code, Some(0));
}
