//! The platform's end of the runner link: reconnections, gaps, floods, foreign connections and exits.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod restarted;
mod runner;

use std::future::{pending, ready};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use mgx_protocol::{Attempt, EventKind, SlotId};
use mgx_protocol::{Exit, FromRunner, LINK_SOCKET, MAX_EVENT_BYTES, ToRunner};
use mgx_runtimes::conformance::invocation;
use mgx_runtimes::{Command, Ended, Links, Output, Run, RuntimeErrorKind, Tunnel};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::runner::{Runner, event, exit};

/// How long one step of a test may take.
const STEP_LIMIT: Duration = Duration::from_secs(10);

/// A link of one slot, opened in a directory of its own.
struct LinkFixture {
    root: TempDir,
    links: Links,
    tunnels: mpsc::Receiver<Tunnel>,
    slot: SlotId,
}

impl LinkFixture {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        let (sender, tunnels) = mpsc::channel(1);
        let links = Links::new(root.path().join("links"), sender).unwrap();
        let slot: SlotId = "slot-1".parse().unwrap();
        links.open(&slot).unwrap();
        Self { root, links, tunnels, slot }
    }

    fn socket(&self) -> std::path::PathBuf {
        self.root.path().join("links").join(self.slot.as_str()).join(LINK_SOCKET)
    }

    /// A runner that has received its invocation, and its run.
    async fn started(&self) -> (Runner, Run) {
        let mut runner = Runner::connect(&self.socket(), &self.slot, None).await;
        self.links.ready(&self.slot, STEP_LIMIT).await.unwrap();
        let run = self.links.start(&self.slot, invocation(Vec::new()), pending()).unwrap();
        assert!(runner.receives_invocation().await);
        (runner, run)
    }
}

async fn outputs(run: &mut Run, count: usize) -> Vec<Output> {
    let mut outputs = Vec::new();
    while outputs.len() < count {
        outputs.extend(timeout(STEP_LIMIT, run.next(count - outputs.len())).await.expect("it comes in time"));
    }
    outputs
}

fn numbers(outputs: &[Output]) -> Vec<u64> {
    outputs
        .iter()
        .map(|output| match output {
            Output::Event(event) => event.seq,
            Output::Ended(Ended::Reported(exit)) => 1000 + exit.last_seq,
            Output::Ended(Ended::Died { .. } | Ended::Restarted | Ended::Lost) => 0,
        })
        .collect()
}

#[tokio::test]
async fn an_event_that_is_sent_again_after_a_reconnection_is_forwarded_once() {
    let link = LinkFixture::new();
    let (mut runner, mut run) = link.started().await;
    for seq in 1..=3 {
        runner.sends(event(seq)).await;
    }
    assert_eq!(numbers(&outputs(&mut run, 3).await), [1, 2, 3]);
    let mut runner = runner.reconnects(&link.socket()).await;
    for seq in 2..=5 {
        runner.sends(event(seq)).await;
    }
    runner.sends(exit(5)).await;
    assert_eq!(numbers(&outputs(&mut run, 3).await), [4, 5, 1005]);
    let mut runner = runner.reconnects(&link.socket()).await;
    runner.sends(exit(5)).await;
    run.tell(Command::Dismiss).await;
    assert_eq!(runner.receives().await, Some(ToRunner::Dismiss));
    assert_eq!(runner.receives().await, None, "and then the line is closed");
}

#[tokio::test]
async fn a_gap_ends_the_connection_until_it_is_filled() {
    let link = LinkFixture::new();
    let (mut runner, mut run) = link.started().await;
    runner.sends(event(1)).await;
    runner.sends(event(3)).await;
    assert_eq!(runner.receives().await, None, "cut off");
    let mut runner = runner.reconnects(&link.socket()).await;
    runner.sends(exit(3)).await;
    assert_eq!(runner.receives().await, None, "an exit may not hide a gap either");
    let mut runner = runner.reconnects(&link.socket()).await;
    for seq in 1..=3 {
        runner.sends(event(seq)).await;
    }
    runner.sends(exit(3)).await;
    assert_eq!(numbers(&outputs(&mut run, 4).await), [1, 2, 3, 1003]);
}

#[tokio::test]
async fn an_invocation_that_was_not_received_is_sent_again() {
    let link = LinkFixture::new();
    let runner = Runner::connect(&link.socket(), &link.slot, None).await;
    link.links.ready(&link.slot, STEP_LIMIT).await.unwrap();
    drop(runner);
    let mut run = link.links.start(&link.slot, invocation(Vec::new()), pending()).unwrap();
    let mut runner = Runner::connect(&link.socket(), &link.slot, None).await;
    assert!(runner.receives_invocation().await);
    runner.sends(event(1)).await;
    assert_eq!(numbers(&outputs(&mut run, 1).await), [1]);
}

#[tokio::test]
async fn commands_of_the_platform_are_repeated_after_a_reconnection() {
    let link = LinkFixture::new();
    let (mut runner, mut run) = link.started().await;
    runner.sends(event(1)).await;
    outputs(&mut run, 1).await;
    run.tell(Command::Ack(1)).await;
    assert_eq!(runner.receives().await, Some(ToRunner::Ack { seq: 1 }));
    run.tell(Command::Stop(Duration::from_mins(1))).await;
    assert_eq!(runner.receives().await, Some(ToRunner::Stop { grace_ms: 60_000 }));
    let mut runner = runner.reconnects(&link.socket()).await;
    assert_eq!(runner.receives().await, Some(ToRunner::Ack { seq: 1 }));
    let Some(ToRunner::Stop { grace_ms }) = runner.receives().await else { panic!("no stop") };
    assert!((50_000..60_000).contains(&grace_ms), "what is left of the grace time: {grace_ms}");
}

#[tokio::test]
async fn a_new_platform_goes_on_where_the_runner_resumes() {
    let link = LinkFixture::new();
    let (mut runner, mut run) = link.started().await;
    runner.sends(event(1)).await;
    outputs(&mut run, 1).await;
    let invoked = runner.invoked;
    let LinkFixture { root, links, tunnels, slot } = link;
    drop((links, tunnels, run));
    assert_eq!(runner.receives().await, None, "the old platform is gone");

    let (sender, tunnels) = mpsc::channel(1);
    let links = Links::new(root.path().join("links"), sender).unwrap();
    links.open(&slot).unwrap();
    let link = LinkFixture { root, links, tunnels, slot };
    let mut runner = Runner::connect(&link.socket(), &link.slot, invoked).await;
    assert_eq!(link.links.ready(&link.slot, STEP_LIMIT).await.unwrap(), mgx_runtimes::link::Runner::Invoked);
    let mut run = link.links.resume(&link.slot, pending()).unwrap();
    for seq in 7..=8 {
        runner.sends(event(seq)).await;
    }
    runner.sends(exit(8)).await;
    assert_eq!(numbers(&outputs(&mut run, 3).await), [7, 8, 1008]);
}

#[tokio::test]
async fn connections_that_are_not_the_slots_runner_are_closed() {
    let link = LinkFixture::new();
    let socket = link.socket();
    let other: SlotId = "slot-2".parse().unwrap();
    let mut wrong_slot = Runner::connect(&socket, &other, None).await;
    assert_eq!(wrong_slot.receives().await, None);
    let mut wrong_version = Runner::connect_as(&socket, &link.slot, None, 99).await;
    assert_eq!(wrong_version.receives().await, None);
    let mut no_greeting = Runner::connect_silently(&socket).await;
    no_greeting.sends(event(1)).await;
    assert_eq!(no_greeting.receives().await, None);
    let mut endless = Runner::connect_silently(&socket).await;
    endless.sends_bytes(&u32::MAX.to_be_bytes()).await;
    assert_eq!(endless.receives().await, None);
    let refused = link.links.ready(&link.slot, Duration::from_millis(1)).await.unwrap_err();
    assert_eq!(refused.kind(), RuntimeErrorKind::Refused);
    assert!(refused.to_string().contains("speaks version 99 of the link"), "{refused}");
}

#[tokio::test]
async fn a_runner_that_has_not_connected_is_not_ready() {
    let link = LinkFixture::new();
    let absent = link.links.ready(&link.slot, Duration::from_millis(1)).await;
    assert_eq!(absent.unwrap_err().kind(), RuntimeErrorKind::NotReady);
}

/// The exact frames of the version before: a running runner may be older than the platform that resumes its run.
#[tokio::test]
async fn the_run_of_a_runner_of_the_version_before_is_resumed() {
    let link = LinkFixture::new();
    let mut runner = Runner::connect_silently(&link.socket()).await;
    let sends = async |runner: &mut Runner, text: &str| {
        let mut bytes = u32::try_from(text.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(text.as_bytes());
        runner.sends_bytes(&bytes).await;
    };
    let job = "01a214ae-9255-7727-88e9-a18dbe603d99";
    let ready = format!(r#"{{"frame":"ready","version":1,"slot":"slot-1","invoked":["{job}",1]}}"#);
    sends(&mut runner, &ready).await;
    assert_eq!(link.links.ready(&link.slot, STEP_LIMIT).await.unwrap(), mgx_runtimes::link::Runner::Invoked);
    let mut run = link.links.resume(&link.slot, pending()).unwrap();
    let log = r#""type":"log","data":{"stream":"stdout","text":"hi"}"#;
    sends(&mut runner, &format!(r#"{{"frame":"event","seq":7,"at":"2026-11-22T10:30:00Z",{log}}}"#)).await;
    run.tell(Command::Ack(7)).await;
    assert_eq!(runner.receives().await, Some(ToRunner::Ack { seq: 7 }));
    let exit = r#"{"frame":"exit","last_seq":7,"at":"2026-11-22T10:30:01Z","code":0,"signal":null,"oom_kills":0,"cause":"ended","claim":null,"error":null}"#;
    sends(&mut runner, exit).await;
    assert_eq!(numbers(&outputs(&mut run, 2).await), [7, 1007]);
}

#[tokio::test]
async fn an_event_against_the_rules_ends_the_connection() {
    let link = LinkFixture::new();
    let (mut runner, mut run) = link.started().await;
    let mut huge = event(1);
    if let FromRunner::Event(event) = &mut huge {
        event.data.insert("x".to_owned(), "x".repeat(MAX_EVENT_BYTES).into());
    }
    let mut badly_named = event(1);
    if let FromRunner::Event(event) = &mut badly_named {
        event.kind = EventKind::of("Not A Name");
    }
    for wrong in [huge, badly_named] {
        runner.sends(wrong).await;
        assert_eq!(runner.receives().await, None);
        runner = runner.reconnects(&link.socket()).await;
    }
    runner.sends_bytes(&(2u32 << 20).to_be_bytes()).await;
    assert_eq!(runner.receives().await, None, "a frame beyond all bounds");
    let mut runner = runner.reconnects(&link.socket()).await;
    runner.sends(event(1)).await;
    assert_eq!(numbers(&outputs(&mut run, 1).await), [1], "nothing of it has come through");
}

#[tokio::test]
async fn a_flood_of_events_waits_for_the_reader() {
    const FLOOD: u32 = 20_000;
    let link = LinkFixture::new();
    let (mut runner, mut run) = link.started().await;
    let flood = tokio::spawn(async move {
        for seq in 1..=FLOOD.into() {
            runner.sends(event(seq)).await;
        }
        runner
    });
    // Stop is sent while the flood waits, although the test reads no events
    run.tell(Command::Stop(Duration::ZERO)).await;
    let first = outputs(&mut run, 1).await;
    assert_eq!(numbers(&first), [1]);
    assert!(!flood.is_finished(), "it cannot have said everything");
    let rest = outputs(&mut run, FLOOD as usize - 1).await;
    assert_eq!(numbers(&rest), (2..=FLOOD.into()).collect::<Vec<_>>());
    let mut runner = flood.await.unwrap();
    assert_eq!(runner.receives().await, Some(ToRunner::Stop { grace_ms: 0 }));
}

#[tokio::test]
async fn the_last_events_come_before_the_exit_of_the_container() {
    let link = LinkFixture::new();
    let mut runner = Runner::connect(&link.socket(), &link.slot, None).await;
    link.links.ready(&link.slot, STEP_LIMIT).await.unwrap();
    let died = Ended::Died { code: 137 };
    let mut run = link.links.start(&link.slot, invocation(Vec::new()), ready(died.clone())).unwrap();
    assert!(runner.receives_invocation().await);
    for seq in 1..=100 {
        runner.sends(event(seq)).await;
    }
    drop(runner);
    let told = outputs(&mut run, 101).await;
    assert_eq!(numbers(&told[..100]), (1..=100).collect::<Vec<_>>());
    assert_eq!(told[100], Output::Ended(died));
}

#[tokio::test]
async fn the_runners_report_counts_more_than_the_exit_of_the_container() {
    let link = LinkFixture::new();
    let mut runner = Runner::connect(&link.socket(), &link.slot, None).await;
    link.links.ready(&link.slot, STEP_LIMIT).await.unwrap();
    let mut run = link.links.start(&link.slot, invocation(Vec::new()), ready(Ended::Lost)).unwrap();
    assert!(runner.receives_invocation().await);
    runner.sends(exit(0)).await;
    drop(runner);
    assert!(matches!(
        outputs(&mut run, 1).await[..],
        [Output::Ended(Ended::Reported(Exit { last_seq: 0, .. }))]
    ));
}

#[tokio::test]
async fn a_tunnel_is_passed_on_to_the_byte_and_refused_when_there_is_no_room() {
    let mut link = LinkFixture::new();
    let mut first = Runner::connect_silently(&link.socket()).await.stream();
    first.write_all(b"\0\0\0\x12{\"frame\":\"tunnel\"}GET / HTTP/1.1\r\n").await.unwrap();
    let mut tunnel = timeout(STEP_LIMIT, link.tunnels.recv()).await.unwrap().unwrap();
    assert_eq!(tunnel.slot, link.slot);
    let mut bytes = [0; 16];
    tunnel.stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"GET / HTTP/1.1\r\n");

    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = Runner::connect_silently(&link.socket()).await.stream();
        stream.write_all(b"\0\0\0\x12{\"frame\":\"tunnel\"}").await.unwrap();
        streams.push(stream);
    }
    // one of the two has found room; the other one is closed
    let [one, other] = &mut streams[..] else { unreachable!() };
    let (mut left, mut right) = ([0], [0]);
    let closed = timeout(STEP_LIMIT, async {
        tokio::select! { read = one.read(&mut left) => read, read = other.read(&mut right) => read }
    });
    assert_eq!(closed.await.unwrap().unwrap(), 0);
    assert!(link.tunnels.try_recv().is_ok());
}

#[tokio::test]
async fn a_slot_is_invoked_once_and_is_open_until_it_is_closed() {
    let link = LinkFixture::new();
    let (_runner, _run) = link.started().await;
    let again = link.links.start(&link.slot, invocation(Vec::new()), pending());
    assert_eq!(again.unwrap_err().kind(), RuntimeErrorKind::Conflict);
    assert_eq!(link.links.open(&link.slot).unwrap_err().kind(), RuntimeErrorKind::Conflict);
    let directory = link.socket().parent().unwrap().to_owned();
    assert!(directory.exists());
    link.links.close(&link.slot);
    assert!(!directory.exists());
    let closed = link.links.start(&link.slot, invocation(Vec::new()), pending());
    assert_eq!(closed.unwrap_err().kind(), RuntimeErrorKind::NotFound);
}

#[tokio::test]
async fn a_runner_of_another_attempt_is_refused_and_does_no_harm() {
    let link = LinkFixture::new();
    let (mut runner, mut run) = link.started().await;
    let (job, attempt) = runner.invoked.unwrap();
    let mut liar = Runner::connect(&link.socket(), &link.slot, Some((job, Attempt(attempt.0 + 1)))).await;
    assert_eq!(liar.receives().await, None);
    runner.sends(event(1)).await;
    assert_eq!(numbers(&outputs(&mut run, 1).await), [1]);
}

#[test]
fn other_users_of_the_host_have_no_access() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let link = LinkFixture::new();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let socket = link.socket();
    let slot = socket.parent().unwrap();
    assert_eq!(mode(slot.parent().unwrap()), 0o700, "the host's other users");
    assert_eq!(mode(slot), 0o711, "a container connects, and writes nothing beside");
    assert_eq!(mode(&socket), 0o666);
    let (tunnels, _) = mpsc::channel(1);
    let long = Links::new(format!("/tmp/{}", "x".repeat(60)), tunnels).unwrap_err().to_string();
    assert!(long.contains("at most 32 bytes"), "{long}");
}
