//! One job, from its place in line to its end. Read from top to bottom: it is the order in which things happen.
//!
//! A life has one task, and that task is the only writer of its job. Every change is in the journal before anything
//! follows from it that cannot be taken back: the run before its invocation, the end before its announcement. How it
//! waits is in `waiting.rs`, how its container is made in `start.rs`; what an earlier process of the platform began is
//! taken up in `recovery.rs`.

mod record;
mod recovery;
mod start;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use mgx_protocol::{EventKind, SlotId};
use mgx_runtimes::{Command, Ended, Output, Run};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::core::Core;
use crate::event::NewEvent;
use crate::history::Telling;
use crate::job::{ExitStatus, Job, Outcome, State, Transition};
use crate::live::Claim;
use crate::redact::{Pieces, Redactor};
use crate::rooms::Room;
use crate::slots::{Slot, Turn};
use crate::verdict::{self, Verdict};
use record::Again;
use start::Start;
use waiting::Waited;
pub(crate) use waiting::wait;

/// How many events are stored at a time.
const BATCH: usize = 256;
/// How long a runner may take to report what is due: the deadline, or the end after SIGKILL.
const REPORT: Duration = Duration::from_millis(500);

/// One job's life.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    core: Arc<Core>,
    job: Box<Job>,
    user: Arc<str>,
    cancel: CancellationToken,
    /// How often its container has been tried to start, since the platform runs.
    starts: u32,
    /// What has happened since the last write, for the next.
    unwritten: Vec<NewEvent>,
}

/// How a life begins in this process.
#[derive(Debug)]
pub(crate) enum Begin {
    /// It waits, with its room in the bounded queue, which it keeps for as long as it does; and in line already,
    /// unless it is to begin later or an earlier process of the platform has accepted it.
    Waiting { room: Room, turn: Option<Turn> },
    /// Its command runs already, and this is its slot.
    Holding(Slot),
}

/// This life goes on elsewhere: in the next process of the platform, or in whoever has overtaken this writer.
#[derive(Debug)]
struct Handed;

/// How it goes on after an attempt.
enum Next {
    /// Back into the line, after a pause.
    Again(Duration),
    Over,
}

/// What a job holds while it has a container.
struct Seat {
    slot: Slot,
    claim: Claim,
    since: Instant,
    /// Hides the secrets that its command was given.
    redactor: Redactor,
}

impl Lifecycle {
    pub(crate) fn new(core: Arc<Core>, job: Job, user: Arc<str>, cancel: CancellationToken) -> Self {
        Self { core, job: Box::new(job), user, cancel, starts: 0, unwritten: Vec::new() }
    }

    /// Lives.
    pub(crate) async fn run(mut self, begin: Begin) {
        // what waits is many and small, what runs is few and large
        let handed = match (begin, self.job.state) {
            (Begin::Holding(slot), _) => Box::pin(self.take_up(slot)).await,
            (Begin::Waiting { room, turn }, State::Queued) => {
                let waited = match turn {
                    Some(turn) => self.wait_for(turn).await,
                    None => Box::pin(self.wait(self.until_start())).await,
                };
                drop(room);
                Box::pin(self.live(waited)).await
            }
            // its container may be there or not, but no command ran in it
            (
                Begin::Waiting { room, .. },
                State::Admitted | State::Starting | State::Running | State::Stopping(_) | State::Ended(_),
            ) => {
                drop(room);
                Box::pin(self.start_again(None)).await
            }
        };
        if handed.is_ok() {
            self.core.live.leave(self.job.id);
        }
    }

    /// From its first turn to its end.
    async fn live(&mut self, mut waited: Waited) -> Result<(), Handed> {
        loop {
            let next = match waited {
                Waited::Handed => return Err(Handed),
                Waited::Over(outcome) => return self.end(outcome, None, None).await,
                Waited::Turn(slot) => match self.start(slot).await? {
                    Start::Running(seat, run) => self.follow(seat, run).await?,
                    Start::Not(next) => next,
                },
            };
            match next {
                Next::Over => return Ok(()),
                Next::Again(pause) => waited = self.wait(pause).await,
            }
        }
    }

    /// Stores what the agents do, until they are done or have to be.
    async fn follow(&mut self, seat: Seat, mut run: Run) -> Result<Next, Handed> {
        // the runner keeps the deadline by itself, and gets the time to say that it has, or that it ended in time
        let deadline =
            self.job.deadline_at.map_or_else(Instant::now, |at| self.core.clock.instant(at)) + REPORT;
        let mut kill_at = match self.job.state {
            State::Stopping(outcome) => Some(self.stop(outcome, &run).await?),
            State::Queued | State::Admitted | State::Starting | State::Running | State::Ended(_) => None,
        };
        let (mut telling, mut pieces) = (Telling::default(), Pieces::new(seat.redactor.clone()));
        let ended = loop {
            let stopping = kill_at.is_some();
            tokio::select! {
                // in this order, so that a flood of events delays neither a cancel nor a deadline
                biased;
                () = self.core.shutdown.cancelled() => return Err(Handed),
                () = sleep_until(kill_at.unwrap_or(deadline)), if stopping => break Ended::Lost,
                () = self.cancel.cancelled(), if !stopping => {
                    kill_at = Some(self.stop(Outcome::Cancelled, &run).await?);
                }
                () = sleep_until(deadline), if !stopping => {
                    kill_at = Some(self.stop(Outcome::TimedOut, &run).await?);
                }
                outputs = run.next(BATCH) => {
                    if let Some(ended) = self.store(outputs, (&mut pieces, &mut telling), &run).await? { break ended }
                }
            }
        };
        self.core.live.set_running(self.job.id, None);
        self.core.pace.observe(seat.since.elapsed());
        let mut verdict = verdict::of(&ended);
        if let Some(error) = &mut verdict.error {
            pieces.replace(error);
        }
        match ended {
            // Nothing of the job is left in there, so its end is told at once; the empty box keeps its slot
            // until it is gone, so that the caps hold for containers too.
            Ended::Reported(_) => {
                let next = self.conclude(verdict).await?;
                run.tell(Command::Dismiss).await;
                let core = self.core.clone();
                self.core.tasks.spawn(async move { core.remove(seat.claim, Some(seat.slot)).await });
                Ok(next)
            }
            Ended::Died { .. } | Ended::Lost => {
                self.leave(seat).await?;
                self.conclude(verdict).await
            }
        }
    }

    /// The end, or another try if that is what was agreed.
    async fn conclude(&mut self, verdict: Verdict) -> Result<Next, Handed> {
        let Verdict { outcome, exit, error } = verdict;
        if let (State::Running, Outcome::Failed(failure)) = (self.job.state, outcome)
            && failure.may_pass()
            && let Some(pause) = self.job.spec.terms.retry.pause(self.job.runs)
        {
            let of = 1 + self.job.spec.terms.retry.times;
            self.requeue(&Again { reason: failure.name(), tries: Some((self.job.runs, of)), pause }).await?;
            return Ok(Next::Again(pause));
        }
        self.end(outcome, exit, error).await?;
        Ok(Next::Over)
    }

    /// Asks the command to end; answers when patience does.
    async fn stop(&mut self, outcome: Outcome, run: &Run) -> Result<Instant, Handed> {
        if matches!(self.job.state, State::Running) {
            self.advance(Transition::Stop(outcome)).await?;
        }
        run.tell(Command::Stop(self.core.config.grace)).await;
        Ok(Instant::now() + self.core.config.grace + REPORT)
    }

    /// Stores events durably, then says so to the runner.
    async fn store(
        &mut self,
        outputs: Vec<Output>,
        (pieces, telling): (&mut Pieces, &mut Telling),
        run: &Run,
    ) -> Result<Option<Ended>, Handed> {
        let mut said = Vec::with_capacity(outputs.len());
        let (mut newest, mut ended) = (None, None);
        for output in outputs {
            match output {
                Output::Event(mut event) => {
                    newest = Some(event.seq);
                    pieces.event(&mut event);
                    said.push(verdict::admit(self.job.id, self.job.attempt, event));
                }
                Output::Ended(how) => ended = Some(how),
            }
        }
        if let Some(newest) = newest {
            if !telling.is_open() {
                telling.open(self.core.history(&self.job.session).await);
            }
            let events = telling.admit(said, self.core.config.history);
            if !events.is_empty() {
                self.write(None, events).await?;
            }
            run.tell(Command::Ack(newest)).await;
        }
        Ok(ended)
    }

    /// The end: its final state and its one `finish`, in one write.
    async fn end(
        &mut self,
        outcome: Outcome,
        exit: Option<ExitStatus>,
        error: Option<String>,
    ) -> Result<(), Handed> {
        let now = self.core.clock.now();
        self.turn_to(Transition::End(outcome));
        self.job.ended_at = Some(now);
        self.job.exit = exit;
        self.job.error = self.job.state.outcome().and_then(|outcome| self.explain(outcome, error));
        self.happened(EventKind::Finish, verdict::finish(&self.job));
        self.flush().await?;
        info!(job = %self.job.id, state = %self.job.state.name(), reason = self.job.state.reason(), "a job has ended");
        Ok(())
    }

    /// Removes its container and waits until it is gone.
    async fn leave(&self, seat: Seat) -> Result<(), Handed> {
        self.core.remove(seat.claim, Some(seat.slot)).await;
        if self.core.shutdown.is_cancelled() { Err(Handed) } else { Ok(()) }
    }

    fn remove_later(&self, claim: Claim) {
        let core = self.core.clone();
        self.core.tasks.spawn(async move { core.remove(claim, None).await });
    }

    fn claim(&self) -> Claim {
        self.core.live.claim(SlotId::of(self.job.id, self.job.attempt))
    }
}
