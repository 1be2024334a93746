//! The runner when its platform goes away and comes back.

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
