//! `mgx bench sse`: how long an event takes from a container to a thousand readers, what stalled readers beside them
//! change, and how fast a finished log is read again.
//!
//! The server is a process of its own, this very program, with its real store, which syncs; its runtime does nothing
//! but talk. Readers are sockets of this process, so both share the processors.

mod crowd;
mod lag;
mod reader;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::beside::Beside;
use super::out;
use super::resident::{Resident, mib};
use super::server::Server;
use crate::config::Config;
use crowd::{Crowd, Stalled};
use lag::Lags;
use reader::{Address, Reader};

/// How many events the log has that is read again, and how often that is.
const REPLAYED: u64 = 100_000;
const REPLAYS: usize = 3;

/// Events that are said before it is measured.
const FILLER: u64 = 2000;

/// Bytes of text in an event.
const TEXT: usize = 64;

/// How long a run may last beyond its events.
const PATIENCE: Duration = Duration::from_mins(1);

/// How much.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
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
    beside: Beside,
}

/// Measures.
pub(super) async fn run(config: &Config, args: &Args) -> anyhow::Result<ExitCode> {
    let settings = settings(args);
    let once =
        async || Server::measured(&config.store, &settings, async |server| measure(server, args).await).await;
    args.beside.measure(args.json, once).await?;
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
        format!("streams.per_session = {readers}"),
        format!("streams.per_user = {readers}"),
        format!("streams.in_all = {readers}"),
    ]
}

async fn measure(server: &Server, args: &Args) -> anyhow::Result<Value> {
    let replay = replay(server).await.context("reading a log again")?;
    out::note(format_args!("replay   {replay:>9.0} events/s"));
    let idle = server.resident()?;

    let alone = live(server, args, "alone", None).await.context("live")?;
    out::note(format_args!("live     {}", alone.lags));
    let mut report = json!({
        "subscribers": args.subscribers,
        "rate": args.rate,
        "publish_to_receive_ms": alone.lags.report(),
        "replay_events_per_s": replay.round(),
        "rss_mib": mib(alone.memory.now),
        "idle_rss_mib": mib(idle.now),
    });
    if args.stalled > 0 {
        let beside =
            live(server, args, "beside", Some(args.stalled)).await.context("beside stalled readers")?;
        out::note(format_args!("beside {} that stall: {}", args.stalled, beside.lags));
        let ratio = beside.lags.percentile(99) / alone.lags.percentile(99);
        report["stalled"] = json!({
            "readers": args.stalled,
            "publish_to_receive_ms": beside.lags.report(),
            "rss_mib": mib(beside.memory.now),
        });
        report["stalled_ratio"] = json!((ratio * 100.0).round() / 100.0);
    }
    Ok(report)
}

/// Events a second that one reader gets of a log that is there: the median of a few times.
async fn replay(server: &Server) -> anyhow::Result<f64> {
    let command = ["say".to_owned(), REPLAYED.to_string(), TEXT.to_string()];
    let job = server.submit("replay", &command).await?;
    server.ended(&job, PATIENCE).await?;
    let mut rates = Vec::new();
    for _ in 0..REPLAYS {
        let begun = Instant::now();
        let address = Address { server: server.address(), of_reader: 0 };
        let reader = Reader::open(address, server.token().expose_secret(), "replay", 0).await?;
        let seen = reader.until_finish().await?;
        ensure!(seen.last > REPLAYED, "only {} events came", seen.last);
        #[expect(clippy::cast_precision_loss, reason = "few")]
        rates.push(seen.last as f64 / begun.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    Ok(rates[rates.len() / 2])
}

/// What was measured of one run.
struct Live {
    lags: Lags,
    memory: Resident,
}

async fn live(server: &Server, args: &Args, session: &str, stalled: Option<u16>) -> anyhow::Result<Live> {
    server.post("/api/sessions", &json!({ "session_id": session, "framework": "nextjs" })).await?;
    let token = server.token().expose_secret();
    let stalled = Stalled::open(server.address(), token, session, stalled.unwrap_or(0)).await?;
    // more than any buffer takes: who stalls has stalled before the others come
    let filler = ["say".to_owned(), FILLER.to_string(), "1000".to_owned()];
    let filler = server.submit(session, &filler).await?;
    server.ended(&filler, PATIENCE).await?;
    let after = newest(server, session).await?;
    let crowd = Crowd::open(server.address(), token, session, after, args.subscribers).await?;
    let count = u64::from(args.rate) * u64::from(args.seconds);
    let command = ["say".to_owned(), count.to_string(), TEXT.to_string(), args.rate.to_string()];
    let job = server.submit(session, &command).await?;
    let time = Duration::from_secs(args.seconds.into());
    let lags =
        tokio::time::timeout(time + PATIENCE, crowd.finish(count)).await.context("it takes too long")??;
    let memory = server.resident()?;
    server.ended(&job, PATIENCE).await?;
    drop(stalled);
    Ok(Live { lags, memory })
}

/// The number of a session's newest event.
async fn newest(server: &Server, session: &str) -> anyhow::Result<u64> {
    let page = server.page(&format!("/api/sessions/{session}/events?after={FILLER}")).await?;
    let events = page["events"].as_array().context("no page of events")?;
    events.last().and_then(|event| event["seq"].as_u64()).context("no event")
}
