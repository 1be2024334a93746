//! The machine: disk, limits, ports, certificates, and permissions of files.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Resource, getrlimit};
use tokio::net::TcpListener;

use super::{Finding, writable};
use crate::cli::server::Client;
use crate::config::{self, Config, RuntimeName};
use crate::data_dir;
use crate::image::ca_bundle;
use mgx_protocol::quantity::show_size;

/// How many files and sockets the platform may need at the same time.
const OPEN_FILES_MIN: u64 = 4096;

/// Free bytes of the disk below which a warning is due. Less than a tenth of it is a failure.
const FREE_BYTES_MIN: u64 = 5 << 30;

/// Looks at the machine.
pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let mut findings = vec![files(), disk(&config.server.data_dir)];
    findings.extend(writable::look(&config.server.data_dir));
    findings.push(port(config).await);
    if !matches!(config.runtime, RuntimeName::Process | RuntimeName::Null) {
        findings.push(ca());
    }
    findings.extend(private(&config.server.data_dir));
    findings
}

fn files() -> Finding {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < OPEN_FILES_MIN => Finding::warn(
            "limits",
            format!("at most {limit} open files"),
            format!("raise it to {OPEN_FILES_MIN}: `ulimit -n`, or LimitNOFILE="),
        ),
        Some(limit) => Finding::ok("limits", format!("{limit} open files")),
        None => Finding::ok("limits", "any number of open files"),
    }
}

fn disk(data: &Path) -> Finding {
    let there = data.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(there) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let what = format!("{} free below {}", show_size(free >> 30 << 30), there.display());
            let remedy = "free some space, or set server.data_dir to a larger disk";
            match free {
                free if free < FREE_BYTES_MIN / 10 => Finding::fail("disk", what, remedy),
                free if free < FREE_BYTES_MIN => Finding::warn("disk", what, remedy),
                _ => Finding::ok("disk", what),
            }
        }
        Err(error) => Finding::fail(
            "disk",
            format!("{}: {error}", there.display()),
            "set server.data_dir to another place",
        ),
    }
}

async fn port(config: &Config) -> Finding {
    let mut listen = config.server.listen;
    if let Ok(Some(holder)) = data_dir::server(&config.server.data_dir, &config.process()) {
        let pid = holder.pid;
        listen = holder.address.unwrap_or(listen);
        let url = config::local_url(listen);
        let client = Client::new(&url, String::new().into());
        let answer = match &client {
            Ok(client) => client.readiness().await,
            Err(_) => None,
        };
        return match answer {
            Some((true, _)) => Finding::ok("server", format!("{url} is ready (process {pid})")),
            Some((false, _)) => Finding::warn(
                "server",
                format!("{url} is up, but not ready"),
                "see the findings above, and the server's log",
            ),
            None => Finding::fail(
                "server",
                format!("process {pid} does not answer at {listen}"),
                "look at the server's log, then run `mgx down`",
            ),
        };
    }
    match TcpListener::bind(listen).await {
        Ok(_) => Finding::ok("server", format!("not up; {listen} is free (`mgx up --detach`)")),
        Err(error) => Finding::fail(
            "server",
            format!("{listen}: {error}"),
            "free the port, or set server.listen to another one",
        ),
    }
}

fn ca() -> Finding {
    match ca_bundle() {
        Some(path) => Finding::ok("tls", format!("certificate authorities in {}", path.display())),
        None => Finding::warn("tls", "no certificate authorities found", "`apt-get install ca-certificates`"),
    }
}

/// The files that only their owner may read, and the data directory, which only its owner may change.
fn private(data: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, mask) in
        [("", 0o022), (data_dir::TOKEN, 0o077), (data_dir::ATTEMPT_KEY, 0o077), ("mgx.db", 0o077)]
    {
        let path = data.join(name);
        let Ok(found) = path.symlink_metadata() else { continue };
        let mode = found.mode() & 0o7777;
        if mode & mask != 0 {
            let remedy = format!("chmod {} {}", if name.is_empty() { "go-w" } else { "600" }, path.display());
            findings.push(Finding::fail(
                "private",
                format!("{} has mode {mode:04o}", path.display()),
                remedy,
            ));
        }
    }
    if findings.is_empty() && data.exists() {
        findings.push(Finding::ok(
            "private",
            format!("only the owner can read the secrets in {}", data.display()),
        ));
    }
    findings
}
