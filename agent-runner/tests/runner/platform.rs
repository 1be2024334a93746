//! A platform for tests: listens on the runner link as the real one does, and can go away and come back.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use mgx_protocol::JsonFrames;
use mgx_protocol::{
    AgentEvent, Conversation, EventKind, Exit, FromRunner, Invocation, LINK_SOCKET, Ready, Team, ToRunner,
    VERSION,
};
use mgx_protocol::{Attempt, JobId};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::codec::Framed;

/// How long one step of a test may take.
pub(crate) const STEP_LIMIT: Duration = Duration::from_secs(30);

type Frames = Framed<UnixStream, JsonFrames<FromRunner, ToRunner>>;

/// A runner process, and the directories that it sees.
#[derive(Debug)]
pub(crate) struct RunnerProcess {
    pub(crate) dir: TempDir,
    process: Child,
}

/// The platform's side of the link; dropping it cuts every connection, as `kill -9` does.
#[derive(Debug)]
pub(crate) struct Platform {
    controls: mpsc::Receiver<(Ready, Frames)>,
    _accepting: JoinSet<()>,
}

/// One control connection.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) ready: Ready,
    frames: Frames,
}

impl RunnerProcess {
    /// A runner that waits for its platform. `wrapper` is a program to start it with, if any.
    pub(crate) fn start(wrapper: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("workspace")).unwrap();
        let program = env!("CARGO_BIN_EXE_mgx-agent-runner");
        let line: Vec<&str> = wrapper.iter().copied().chain([program]).collect();
        let process = Command::new(line[0])
            .args(&line[1..])
            .env("MGX_LINK", dir.path().join(LINK_SOCKET))
            .env("MGX_SLOT", "slot-1")
            .env("TMPDIR", dir.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { dir, process }
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.dir.path().join("workspace")
    }

    /// An invocation of `sh -c script`, or of the team if there is no script.
    pub(crate) fn invocation(&self, script: Option<&str>) -> Invocation {
        Invocation {
            job: JobId::new(),
            attempt: Attempt(1),
            session: "session".parse().unwrap(),
            workspace: "workspace".parse().unwrap(),
            argv: script.map(|script| ["sh", "-c", script].map(Into::into).to_vec()).unwrap_or_default(),
            env: [("PATH", "/usr/bin:/bin"), ("PROMPT", "make a page"), ("OPENAI_API_KEY", "attempt-token")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            workdir: self.workspace().display().to_string(),
            timeout_ms: 60_000,
            grace_ms: 5_000,
            memory_bytes: 0,
            team: Team::default(),
            conversation: Conversation::default(),
        }
    }

    /// The most memory that the runner has had, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Sends a signal to the runner itself.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.process.id().unwrap()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Waits until the runner has exited by itself; whether with success.
    pub(crate) async fn exits(mut self) -> bool {
        timeout(STEP_LIMIT, self.process.wait()).await.expect("the runner goes").unwrap().success()
    }

    /// Whether the runner is still there.
    pub(crate) fn alive(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }
}

impl Platform {
    /// Listens in `directory`; tunnels lead to `proxy`.
    pub(crate) fn listen(directory: &Path, proxy: Option<SocketAddr>) -> Self {
        let socket = directory.join(LINK_SOCKET);
        std::fs::remove_file(&socket).ok();
        let listener = UnixListener::bind(&socket).unwrap();
        let (sender, controls) = mpsc::channel(16);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut tunnels = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut frames = Framed::new(stream, JsonFrames::default());
                match frames.next().await {
                    Some(Ok(FromRunner::Ready(ready))) => sender.send((ready, frames)).await.unwrap(),
                    Some(Ok(FromRunner::Tunnel)) => {
                        let mut client = frames.into_parts();
                        let proxy = proxy.expect("this test opens no tunnel");
                        tunnels.spawn(async move {
                            let mut server = TcpStream::connect(proxy).await.unwrap();
                            tokio::io::AsyncWriteExt::write_all(&mut server, &client.read_buf).await.unwrap();
                            copy_bidirectional(&mut client.io, &mut server).await.ok();
                        });
                    }
                    other => panic!("a connection opened with {other:?}"),
                }
            }
        });
        Self { controls, _accepting: accepting }
    }

    /// A platform without tunnels, and its first control connection.
    pub(crate) async fn meet(runner: &RunnerProcess) -> (Self, Control) {
        let mut platform = Self::listen(runner.dir.path(), None);
        let control = platform.control().await;
        assert_eq!(control.ready.invoked, None);
        (platform, control)
    }

    /// The next control connection.
    pub(crate) async fn control(&mut self) -> Control {
        let (ready, frames) =
            timeout(STEP_LIMIT, self.controls.recv()).await.expect("the runner calls").unwrap();
        assert_eq!((ready.version, ready.slot.as_str()), (VERSION, "slot-1"));
        Control { ready, frames }
    }
}

impl Control {
    pub(crate) async fn send(&mut self, frame: ToRunner) {
        self.frames.send(&frame).await.unwrap();
    }

    pub(crate) async fn invoke(&mut self, invocation: &Invocation) {
        self.send(ToRunner::Invocation(invocation.clone().into())).await;
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> FromRunner {
        timeout(STEP_LIMIT, self.frames.next())
            .await
            .expect("the runner speaks")
            .expect("and goes on")
            .unwrap()
    }

    /// The next frame, which is an event.
    pub(crate) async fn event(&mut self) -> AgentEvent {
        match self.next().await {
            FromRunner::Event(event) => event,
            other => panic!("not an event: {other:?}"),
        }
    }

    /// Every event, acknowledged, and the exit, dismissed.
    pub(crate) async fn finish(&mut self) -> (Vec<AgentEvent>, Exit) {
        let mut events = Vec::new();
        loop {
            match self.next().await {
                FromRunner::Event(event) => {
                    self.send(ToRunner::Ack { seq: event.seq }).await;
                    events.push(event);
                }
                FromRunner::Exit(exit) => {
                    self.send(ToRunner::Dismiss).await;
                    return (events, exit);
                }
                other => panic!("neither event nor exit: {other:?}"),
            }
        }
    }
}

/// The lines that the command printed, as `stream: text`.
pub(crate) fn printed(events: &[AgentEvent]) -> Vec<String> {
    let text = |event: &AgentEvent, key: &str| event.data[key].as_str().unwrap().to_owned();
    let logs = events.iter().filter(|event| event.kind == EventKind::Log);
    logs.map(|event| format!("{}: {}", text(event, "stream"), text(event, "text"))).collect()
}
