//! What `mgx bench` measures: starts of jobs beside the engine's own floor, runtimes beside each other, the speed and the
//! fairness of the queue, memory, event streams, the LLM proxy. Each can be compared with another program, in turns.
//!
//! The program that the benchmarks are part of implements [`Host`]. Read [`host`], then the file of a benchmark.

pub mod host;

mod dispatch;
mod duel;
mod fairness;
mod ingest;
mod llm;
mod memory;
mod shared;
mod sse;
mod start;

use std::process::ExitCode;

pub use host::{Host, Overrides, Platform, RUNTIMES, RuntimeDecorator, Settings};

/// What to measure.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// From POST to the first event of an agent on the stream; and from the agent's end to the end on the stream.
    Start(start::Args),
    /// The same jobs at the same times on several runtimes, beside each other.
    Duel(duel::Args),
    /// How many jobs a second come in and end, and how long each waits, when running them costs nothing.
    Dispatch(dispatch::Args),
    /// How long nine users wait while a tenth floods the queue, beside how long they wait without it.
    Fairness(fairness::Args),
    /// What a server holds in memory while many jobs run and many more wait.
    Memory(memory::Args),
    /// How long an event takes from a container to a thousand readers, and how fast a log is read again.
    Sse(sse::Args),
    /// How many events a second are stored, from runners that send more than that.
    Ingest(ingest::Args),
    /// What the LLM proxy adds to a reply, beside the same requests without it.
    Llm(llm::Args),
}

impl Command {
    /// Measures, and prints the figures.
    ///
    /// # Errors
    /// Something cannot be measured; the text is for people.
    pub async fn run(&self, host: &dyn Host) -> anyhow::Result<ExitCode> {
        match self {
            Self::Start(args) => Box::pin(start::run(host, args)).await,
            Self::Duel(args) => Box::pin(duel::run(host, args)).await,
            Self::Dispatch(args) => Box::pin(dispatch::run(host, args)).await,
            Self::Fairness(args) => Box::pin(fairness::run(host, args)).await,
            Self::Memory(args) => Box::pin(memory::run(host, args)).await,
            Self::Sse(args) => Box::pin(sse::run(host, args)).await,
            Self::Ingest(args) => Box::pin(ingest::run(host, args)).await,
            Self::Llm(args) => Box::pin(llm::run(args)).await,
        }
    }
}
