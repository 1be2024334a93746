//! One invocation that is being run: its outputs, its commands, and how it ended.

use std::time::Duration;

use mgx_protocol::{AgentEvent, Exit};
use tokio::sync::mpsc;

/// One invocation that is being run: its outputs, and a channel for commands to its runner.
#[derive(Debug)]
pub struct Run {
    outputs: mpsc::Receiver<Output>,
    commands: mpsc::Sender<Command>,
}

impl Run {
    /// How many outputs may be unread before the runner has to wait.
    pub const BACKLOG: usize = 256;

    /// A run whose outputs come from `outputs` and whose commands go to `commands`.
    pub fn new(outputs: mpsc::Receiver<Output>, commands: mpsc::Sender<Command>) -> Self {
        Self { outputs, commands }
    }

    /// A run that had ended before it was resumed.
    pub(crate) fn ended(ended: Ended) -> Self {
        let (outputs, outputs_of_run) = mpsc::channel(1);
        let (commands, _) = mpsc::channel(1);
        outputs.try_send(Output::Ended(ended)).ok();
        Self::new(outputs_of_run, commands)
    }

    /// Waits for the next output; returns it with all that are there already, at most `limit`. The last output of a run
    /// is [`Output::Ended`]. Cancel-safe.
    pub async fn next(&mut self, limit: usize) -> Vec<Output> {
        let mut outputs = Vec::new();
        if self.outputs.recv_many(&mut outputs, limit).await == 0 {
            outputs.push(Output::Ended(Ended::Lost));
        }
        outputs
    }

    /// Sends `command` to the runner. After the end of the run it is dropped, which is no error.
    pub async fn tell(&self, command: Command) {
        self.commands.send(command).await.ok();
    }
}

/// What a run produces.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// An event of the agent.
    Event(AgentEvent),
    /// The invocation has ended; nothing follows.
    Ended(Ended),
}

/// How an invocation ended, and from where that is known.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// From the runner, after the last process of the command was gone.
    Reported(Exit),
    /// From the engine: the container ended before its runner had reported.
    Died {
        /// The exit code of PID 1, 128 + the signal's number if a signal ended it.
        code: i64,
    },
    /// The container was started again, by hand or by a tool: its first runner is gone, and the command may have run.
    Restarted,
    /// The container is gone, and neither runner nor engine has told how it ended.
    Lost,
}

/// What the platform tells a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Events up to this number are stored.
    Ack(u64),
    /// End the command: SIGTERM now, SIGKILL after this grace time.
    Stop(Duration),
    /// The exit is stored.
    Dismiss,
}
