//! `mgx bench ingest`: how many events a second are stored, from runners that send more than that.
//!
//! The server is a process of its own: this very program, with the real scheduler and the real store, which syncs. Its
//! runtime has no containers, and only sends events. An event counts when it is durable.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Host;
use crate::shared::comparison::Comparison;
use crate::shared::process_memory::mib;
use crate::shared::server::Server;

/// How long one job may take.
const TIMEOUT: Duration = Duration::from_mins(5);

/// Options of `mgx bench ingest`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many runners send at a time, each in a session of its own.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runners: u16,
    /// How many events each sends.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    events: u32,
    /// Bytes of text in each.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(0..=60_000))]
    bytes: u16,
    /// One JSON object, nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    comparison: Comparison,
}

/// Measures.
pub(crate) async fn run(host: &dyn Host, args: &Args) -> anyhow::Result<ExitCode> {
    let settings = settings(args);
    let once = async || Server::serve(host, &settings, async |server| measure(server, args).await).await;
    args.comparison.measure(args.json, once).await?;
    Ok(ExitCode::SUCCESS)
}

fn settings(args: &Args) -> Vec<String> {
    vec![
        "runtime = \"null\"".to_owned(),
        format!("scheduler.max_running = {}", args.runners),
        "log.level = \"warn\"".to_owned(),
        "history.max_events = 10000000".to_owned(),
        "history.max_bytes = \"1TiB\"".to_owned(),
        "history.max_events_per_job = 10000000".to_owned(),
        "history.max_bytes_per_job = \"1TiB\"".to_owned(),
    ]
}

async fn measure(server: &Server, args: &Args) -> anyhow::Result<Value> {
    let command = ["say".to_owned(), args.events.to_string(), args.bytes.to_string()];
    let mut jobs = Vec::new();
    for number in 0..args.runners {
        jobs.push(server.submit(&format!("ingest-{number}"), &command).await?);
    }
    // from the start of the first job, which runs while the others are submitted, to the end of the last
    let (mut first, mut last) = (Timestamp::MAX, Timestamp::MIN);
    let time = |job: &Value, key: &str| -> anyhow::Result<Timestamp> {
        Ok(job[key].as_str().with_context(|| format!("a job has no {key}"))?.parse()?)
    };
    for job in &jobs {
        let job = server.until_succeeded(job, TIMEOUT).await?;
        first = first.min(time(&job, "started_at")?);
        last = last.max(time(&job, "ended_at")?);
    }
    let memory = server.memory()?;
    for number in 0..args.runners {
        check(server, &format!("ingest-{number}"), args.events.into()).await?;
    }
    let events = u64::from(args.events) * u64::from(args.runners);
    let seconds = last.duration_since(first).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let per_s = events as f64 / seconds;
    Ok(json!({
        "runners": args.runners,
        "events": events,
        "bytes": args.bytes,
        "seconds": (seconds * 1000.0).round() / 1000.0,
        "events_per_s": per_s.round(),
        "rss_mib": mib(memory.now),
    }))
}

/// Checks that the log of a session has `sent` events of its agent besides those of the platform, which are the first few
/// and the last: sequence numbers have no gaps, so the last one is the count.
async fn check(server: &Server, session: &str, sent: u64) -> anyhow::Result<()> {
    let mut of_platform = 0;
    let mut last = 0;
    for after in [0, sent] {
        let page = server.page(&format!("/api/sessions/{session}/events?after={after}&limit=16")).await?;
        for event in page["events"].as_array().context("no page of events")? {
            let seq = event["seq"].as_u64().context("an event without number")?;
            of_platform += u64::from(event["event_type"] != "message_delta" && seq > last);
            last = last.max(seq);
        }
    }
    ensure!(last == sent + of_platform, "{session} has {last} events, {of_platform} of them the platform's");
    Ok(())
}
