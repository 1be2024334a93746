//! `mgx pools`: what waits in the warm pools, what that has cost, and what it has saved.

use std::process::ExitCode;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use mgx_client::Client;
use mgx_client::pools::{Pool, WorkspaceDelivery};

use super::out::{self, Outcome, harmless};

/// How to show the pools.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the answer of the server as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Shows the pools.
pub(crate) async fn run(client: &Client, args: &Args) -> Outcome {
    let list = client.pools().await?;
    if args.json {
        out::json(&list);
        return Ok(ExitCode::SUCCESS);
    }
    let pools = list.pools.as_slice();
    if pools.is_empty() {
        out::note("there is no warm pool; `runtime = \"pool:docker\"` makes one");
        return Ok(ExitCode::SUCCESS);
    }
    out::line(table(pools));
    for sentence in pools.iter().flat_map(remarks) {
        out::note(harmless(&sentence));
    }
    Ok(ExitCode::SUCCESS)
}

fn table(pools: &[Pool]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "IMAGE",
        "PARKED",
        "HITS",
        "MISSES",
        "HIT RATE",
        "QUARANTINED",
        "CLAIM P50",
        "P99",
        "COLD",
        "SAVED",
        "WASTED",
    ]);
    for pool in pools {
        let millis = |millis: f64| format!("{millis:.1} ms");
        let cells = [
            name(pool),
            format!("{}/{}", pool.parked, pool.target),
            pool.hits.to_string(),
            pool.misses.to_string(),
            pool.hit_rate.map(|rate| format!("{:.1} %", rate * 100.0)).unwrap_or_default(),
            pool.quarantined.to_string(),
            millis(pool.claim_ms.p50),
            millis(pool.claim_ms.p99),
            millis(pool.create_ms),
            format!("{} ms", pool.cold_ms_avoided),
            format!("{} MiB·s", pool.wasted_mib_s),
        ];
        table.add_row(cells.map(|cell| harmless(&cell)));
    }
    table
}

/// The image of a pool, and its OCI runtime if that is not the engine's default.
fn name(pool: &Pool) -> String {
    match &pool.oci_runtime {
        Some(runtime) => format!("{} ({runtime})", pool.image),
        None => pool.image.clone(),
    }
}

/// What is wrong with a pool, as sentences.
fn remarks(pool: &Pool) -> Vec<String> {
    let image = name(pool);
    let mut remarks = Vec::new();
    if pool.workspaces.known() == Some(WorkspaceDelivery::Cold) {
        remarks.push(format!(
            "{image}: workspaces cannot be mounted into containers that run, so jobs start cold; `mgx doctor` says why"
        ));
    }
    if pool.broken {
        remarks.push(format!(
            "{image}: making containers fails, so the pool waits before it tries again; the server's log says why"
        ));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pool_is_one_line_and_what_is_wrong_with_it_one_more() {
        let well = json!({
            "image": "mgx-agent:latest", "workspaces": "propagated", "parked": 4, "target": 4, "making": 0, "hits": 99,
            "misses": 1, "hit_rate": 0.99, "quarantined": 0, "wasted_mib_s": 81920, "cold_ms_avoided": 21312,
            "claim_ms": { "p50": 2.25, "p99": 6.5 }, "create_ms": 221.25, "broken": false
        });
        let well: Pool = serde_json::from_value(well).unwrap();
        let ill = Pool {
            image: "other:1".to_owned(),
            oci_runtime: Some("crun".to_owned()),
            hit_rate: None,
            workspaces: WorkspaceDelivery::Cold.into(),
            broken: true,
            ..well.clone()
        };
        let pools = [well, ill];
        let remarks: Vec<_> = pools.iter().flat_map(remarks).collect();
        insta::assert_snapshot!(format!("{}\n{}", table(&pools), remarks.join("\n")));
    }
}
