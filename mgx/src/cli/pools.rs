//! `mgx pools`: what waits in the warm pools, and what they have been good for.

use std::process::ExitCode;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use mgx_client::Client;
use serde_json::Value;

use super::out::{self, Outcome, harmless};

/// How to show it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The server's answer as it is.
    #[arg(long)]
    json: bool,
}

/// Shows the pools.
pub(crate) async fn run(client: &Client, args: &Args) -> Outcome {
    let answer = client.pools().await?;
    if args.json {
        out::line(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    let pools = answer["pools"].as_array().map(Vec::as_slice).unwrap_or_default();
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

fn table(pools: &[Value]) -> Table {
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
        let number = |key: &str| pool[key].as_u64().unwrap_or_default();
        let millis = |value: &Value| format!("{:.1} ms", value.as_f64().unwrap_or_default());
        let rate = pool["hit_rate"].as_f64();
        let cells = [
            name(pool),
            format!("{}/{}", number("parked"), number("target")),
            number("hits").to_string(),
            number("misses").to_string(),
            rate.map(|rate| format!("{:.1} %", rate * 100.0)).unwrap_or_default(),
            number("quarantined").to_string(),
            millis(&pool["claim_ms"]["p50"]),
            millis(&pool["claim_ms"]["p99"]),
            millis(&pool["create_ms"]),
            format!("{} ms", number("cold_ms_avoided")),
            format!("{} MiB·s", number("wasted_mib_s")),
        ];
        table.add_row(cells.map(|cell| harmless(&cell)));
    }
    table
}

/// Its image, and its OCI runtime if that is not the engine's own.
fn name(pool: &Value) -> String {
    let image = pool["image"].as_str().unwrap_or_default();
    match pool["oci_runtime"].as_str() {
        Some(runtime) => format!("{image} ({runtime})"),
        None => image.to_owned(),
    }
}

/// What somebody should know who looks at a pool.
fn remarks(pool: &Value) -> Vec<String> {
    let image = name(pool);
    let mut remarks = Vec::new();
    if pool["workspaces"] == "cold" {
        remarks.push(format!(
            "{image}: workspaces cannot be mounted into containers that run, so jobs start cold; `mgx doctor` says why"
        ));
    }
    if pool["broken"] == true {
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
        let mut ill = well.clone();
        ill["image"] = "other:1".into();
        ill["oci_runtime"] = "crun".into();
        ill["hit_rate"] = Value::Null;
        ill["workspaces"] = "cold".into();
        ill["broken"] = true.into();
        let pools = [well, ill];
        let remarks: Vec<_> = pools.iter().flat_map(remarks).collect();
        insta::assert_snapshot!(format!("{}\n{}", table(&pools), remarks.join("\n")));
    }
}
