//! `mgx bench sse`: how long an event takes from a container to a thousand readers, what stalled readers beside them
//! change, and how fast a finished log is read again.
//!
//! The server is a process of its own: this very program, with the real store, which syncs. Its runtime only sends events.
//! Readers are sockets of this process, so both share the processors.

mod reader;
mod readers;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::Host;
use crate::shared::comparison::Comparison;
use crate::shared::output;
use crate::shared::process_memory::{ProcessMemory, mib};
use crate::shared::server::Server;
use crate::shared::statistics::{Latencies, hundredths};
use reader::{Address, Reader};
use readers::{Readers, Stalled};

/// Events of the log that is read again.
const REPLAYED: u64 = 100_000;

/// How often the log is read again.
const REPLAYS: usize = 3;

/// Events that are sent before the measurement.
const FILLER: u64 = 2000;

/// Bytes of text in an event.
const TEXT_BYTES: usize = 64;

/// How long a run may last beyond the time of its events.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Options of `mgx bench sse`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many read the same session.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=3000))]
    subscribers: u16,
    /// Events a second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    rate: u16,
    /// For how many seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// How many readers beside them stop reading; the others are measured with and without.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1000))]
    stalled: u16,
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
    let readers = u64::from(args.subscribers) + u64::from(args.stalled) + 8;
    vec![
        "runtime = \"null\"".to_owned(),
        "llm.demo_pace = \"0s\"".to_owned(),
        "log.level = \"warn\"".to_owned(),
        "history.max_events = 10000000".to_owned(),
        "history.max_bytes = \"1TiB\"".to_owned(),
        "history.max_events_per_job = 10000000".to_owned(),
        "history.max_bytes_per_job = \"1TiB\"".to_owned(),
        format!("streams.per_session = {readers}"),
        format!("streams.per_user = {readers}"),
        format!("streams.in_all = {readers}"),
    ]
}

async fn measure(server: &Server, args: &Args) -> anyhow::Result<Value> {
    let replay = replay(server).await.context("reading a log again")?;
    output::note(format_args!("replay   {replay:>9.0} events/s"));
    let idle = server.memory()?;

    let alone = live(server, args, "alone", None).await.context("live")?;
    output::note(format_args!("live     {}", shown(&alone.latencies)));
    let mut report = json!({
        "subscribers": args.subscribers,
        "rate": args.rate,
        "publish_to_receive_ms": report_of(&alone.latencies),
        "replay_events_per_s": replay.round(),
        "rss_mib": mib(alone.memory.now),
        "idle_rss_mib": mib(idle.now),
    });
    if args.stalled > 0 {
        let beside =
            live(server, args, "beside", Some(args.stalled)).await.context("beside stalled readers")?;
        output::note(format_args!("beside {} that stall: {}", args.stalled, shown(&beside.latencies)));
        let p99 = |live: &Live| hundredths(live.latencies.percentile_ms(99.0));
        let ratio = p99(&beside) / p99(&alone);
        report["stalled"] = json!({
            "readers": args.stalled,
            "publish_to_receive_ms": report_of(&beside.latencies),
            "rss_mib": mib(beside.memory.now),
        });
        report["stalled_ratio"] = json!(hundredths(ratio));
    }
    Ok(report)
}

/// Percentiles and the number of samples.
fn report_of(latencies: &Latencies) -> Value {
    let mut report = latencies.report();
    report["samples"] = json!(latencies.len());
    report
}

fn shown(latencies: &Latencies) -> String {
    format!("{latencies} of {} receipts", latencies.len())
}

/// Events a second that one reader receives of a finished log: the median of [`REPLAYS`].
async fn replay(server: &Server) -> anyhow::Result<f64> {
    let command = ["say".to_owned(), REPLAYED.to_string(), TEXT_BYTES.to_string()];
    let job = server.submit("replay", &command).await?;
    server.until_succeeded(&job, TIMEOUT).await?;
    let mut rates = Vec::new();
    for _ in 0..REPLAYS {
        let begun = Instant::now();
        let address = Address { server: server.address(), of_reader: 0 };
        let reader = Reader::open(address, server.token().expose_secret(), "replay", 0).await?;
        let seen = reader.until_finish().await?;
        ensure!(seen.last > REPLAYED, "only {} events arrived", seen.last);
        #[expect(clippy::cast_precision_loss, reason = "few")]
        rates.push(seen.last as f64 / begun.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    Ok(rates[rates.len() / 2])
}

/// The figures of one run.
struct Live {
    latencies: Latencies,
    memory: ProcessMemory,
}

async fn live(server: &Server, args: &Args, session: &str, stalled: Option<u16>) -> anyhow::Result<Live> {
    server.post("/api/sessions", &json!({ "session_id": session, "framework": "nextjs" })).await?;
    let token = server.token().expose_secret();
    let stalled = Stalled::open(server.address(), token, session, stalled.unwrap_or(0)).await?;
    // more than any buffer takes, so that the stalled readers have stalled before the others begin
    let filler = ["say".to_owned(), FILLER.to_string(), "1000".to_owned()];
    let filler = server.submit(session, &filler).await?;
    server.until_succeeded(&filler, TIMEOUT).await?;
    let after = newest(server, session).await?;
    let readers = Readers::open(server.address(), token, session, after, args.subscribers).await?;
    let count = u64::from(args.rate) * u64::from(args.seconds);
    let command = ["say".to_owned(), count.to_string(), TEXT_BYTES.to_string(), args.rate.to_string()];
    let job = server.submit(session, &command).await?;
    let time = Duration::from_secs(args.seconds.into());
    let latencies = tokio::time::timeout(time + TIMEOUT, readers.until_finish(count))
        .await
        .context("it takes too long")??;
    let memory = server.memory()?;
    server.until_succeeded(&job, TIMEOUT).await?;
    drop(stalled);
    Ok(Live { latencies, memory })
}

/// The sequence number of a session's newest event.
async fn newest(server: &Server, session: &str) -> anyhow::Result<u64> {
    let page = server.page(&format!("/api/sessions/{session}/events?after={FILLER}")).await?;
    let events = page["events"].as_array().context("no page of events")?;
    events.last().and_then(|event| event["seq"].as_u64()).context("no event")
}
