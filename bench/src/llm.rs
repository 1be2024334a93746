//! `mgx bench llm`: what the LLM proxy adds to a reply, beside the same requests to the same provider without it.
//!
//! Provider, proxy and agents are in this process and share its processors. The proxy is the real one, on tunnels as
//! containers open them; the sums of usage are kept in memory. The two ways are measured in turns, so that what changes on
//! the machine meanwhile changes for both.

mod agent;
mod platform;
mod provider;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::shared::comparison::Comparison;
use crate::shared::output;
use crate::shared::process_memory::{ProcessMemory, mib};
use crate::shared::statistics::{Latencies, hundredths};
use agent::{Agent, Sample};
use platform::Proxy;
use provider::Provider;

/// How long a round may last beyond the time of its tokens.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Options of `mgx bench llm`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many replies come at a time.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=1000))]
    streams: u16,
    /// How many tokens each has.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    tokens: u32,
    /// How many tokens of a reply come in a second.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// How many replies each stream asks for in a round, one after the other.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    replies: u32,
    /// How often each of the two ways is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    turns: u16,
    /// One JSON object, nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    comparison: Comparison,
}

/// The figures of one way.
#[derive(Debug)]
struct Times {
    /// From the request to the first byte of the reply.
    first_byte: Latencies,
    /// From the moment at which the provider writes a token to the one at which it is read.
    token: Latencies,
}

/// Measures.
pub(crate) async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.comparison.measure(args.json, async || measure(args).await).await?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(args: &Args) -> anyhow::Result<Value> {
    let pace = Duration::from_secs(1) / args.rate;
    let provider = Provider::start(args.tokens, pace).await?;
    let proxy = Proxy::start(&provider.url)?;
    let (mut straight, mut through) = (Vec::new(), Vec::new());
    for _ in 0..args.streams {
        straight.push(Agent::straight(provider.address).await?);
        through.push(Agent::through(&proxy).await?);
    }
    // connections, buffers and the pool of the proxy's client
    round(args, pace, &mut straight, &mut Times::new()).await?;
    round(args, pace, &mut through, &mut Times::new()).await?;
    let before = ProcessMemory::of(std::process::id())?;

    let (mut direct, mut proxied) = (Times::new(), Times::new());
    for number in 1..=args.turns {
        round(args, pace, &mut straight, &mut direct).await?;
        round(args, pace, &mut through, &mut proxied).await?;
        output::note(format_args!(
            "round {number} of {}: first byte {} without the proxy, {} with it",
            args.turns, direct.first_byte, proxied.first_byte
        ));
    }
    let after = ProcessMemory::of(std::process::id())?;
    let replies = u64::from(args.streams) * u64::from(args.replies) * u64::from(args.turns + 1);
    ensure!(proxy.replies() == replies, "of {replies} replies the proxy has counted {}", proxy.replies());
    Ok(json!({
        "streams": args.streams,
        "tokens_per_s": u32::from(args.streams) * args.rate,
        "first_byte_ms": beside(&direct.first_byte, &proxied.first_byte),
        "token_ms": beside(&direct.token, &proxied.token),
        "rss_mib": { "before": mib(before.now), "after": mib(after.now) },
    }))
}

/// Lets every agent ask for its replies, and adds what they measure.
async fn round(
    args: &Args,
    pace: Duration,
    agents: &mut Vec<Agent>,
    times: &mut Times,
) -> anyhow::Result<()> {
    let streams = u32::from(args.streams);
    let mut tasks = Vec::new();
    for (number, mut agent) in (0..).zip(agents.drain(..)) {
        let replies = args.replies;
        // spread over the time between two tokens, as agents that know nothing of each other are
        let delay = pace * number / streams;
        tasks.push(tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let mut samples = Vec::new();
            for _ in 0..replies {
                agent.ask(&mut samples).await?;
            }
            anyhow::Ok((agent, samples))
        }));
    }
    let limit = pace * args.tokens * args.replies + TIMEOUT;
    let all = async {
        for task in tasks {
            let (agent, samples) = task.await??;
            agents.push(agent);
            for sample in samples {
                match sample {
                    Sample::FirstByte(time) => times.first_byte.record_micros(micros(time)),
                    Sample::Token(time) => times.token.record_micros(micros(time)),
                }
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(limit, all).await?
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The percentiles of both ways, and what the proxy adds to each.
fn beside(direct: &Latencies, proxied: &Latencies) -> Value {
    let added = |percentile| hundredths(proxied.percentile_ms(percentile) - direct.percentile_ms(percentile));
    json!({
        "direct": direct.report(),
        "proxied": proxied.report(),
        "added": { "p50": added(50.0), "p99": added(99.0) },
    })
}

impl Times {
    fn new() -> Self {
        Self { first_byte: Latencies::new(), token: Latencies::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn both_ways_are_measured_and_every_reply_is_counted() {
        let line =
            ["llm", "--streams", "3", "--tokens", "4", "--rate", "1000", "--replies", "2", "--turns", "1"];
        let report = measure(&Line::parse_from(line).args).await.unwrap();
        for figure in ["first_byte_ms", "token_ms"] {
            for way in ["direct", "proxied"] {
                assert!(report[figure][way]["p50"].is_number(), "{report:#}");
            }
            assert!(report[figure]["added"]["p99"].is_number(), "{report:#}");
        }
    }
}
