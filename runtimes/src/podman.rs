//! Podman, over its own API (libpod): rootful or rootless, 4.x and 5.x.
//!
//! Podman ignores some of what it is asked for without an error. So every container is inspected before it is started,
//! and is not started if a part of the hardening is missing (`spec.rs`). `docs/runtimes.md` has the requirements of the
//! service, and the measurements.

mod client;
pub mod config;
mod images;
mod service;
mod spec;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use mgx_protocol::SlotId;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

pub use service::{Obstacle, Service};

use crate::engine::image::{Image, Images};
use crate::engine::runtime::EngineRuntime;
use crate::engine::{
    ContainerEngine, ContainerExit, ExitStream, MAX_LOG_TAIL_BYTES, container_name, deadline,
};
use crate::hardening::profile::write_profile;
use crate::hardening::{INSTANCE_LABEL, SLOT_LABEL, max_processes};
use crate::link::Links;
use crate::{ContainerSpec, Ended, EngineInfo, Listed, Placement, RuntimeError, RuntimeErrorKind};
use client::{Client, Request};
use config::PodmanConfig;
use spec::PodmanSpec;

/// The runtime of Podman.
pub type Podman = EngineRuntime<PodmanEngine>;

/// Podman, through libpod.
#[derive(Debug)]
pub struct PodmanEngine {
    client: Client,
    config: PodmanConfig,
    /// Set after the first call that was answered.
    service: OnceCell<Service>,
    /// Set when the system-call profile has been written.
    profile: OnceCell<()>,
    max_processes: i64,
}

impl Podman {
    /// A runtime on the service of `config`, whose runners connect to `links`. It connects with the first call, so the
    /// service may start later than the platform.
    pub fn connect(config: PodmanConfig, links: Links) -> Self {
        Self::new(PodmanEngine::new(config), links)
    }

    /// The images of Podman.
    pub fn images(&self) -> Arc<dyn Images> {
        Arc::clone(self.engine()) as _
    }
}

impl PodmanEngine {
    /// The engine of `config`.
    pub fn new(config: PodmanConfig) -> Self {
        let client = Client::new(&config.host);
        let (service, profile) = (OnceCell::new(), OnceCell::new());
        Self { client, config, service, profile, max_processes: max_processes() }
    }

    /// The description of the service, if it can isolate untrusted code.
    async fn service(&self) -> Result<&Service, RuntimeError> {
        self.service
            .get_or_try_init(|| async {
                let service = service::describe(&self.client).await?;
                let is_root = rustix::process::geteuid().is_root();
                if let Some(obstacle) = service.obstacle(is_root) {
                    return Err(RuntimeError::new(RuntimeErrorKind::Refused, obstacle.to_string()));
                }
                Ok(service)
            })
            .await
    }
}

/// Imports `image` as `name` into the Podman at `host`.
///
/// # Errors
/// It does not answer, or refuses.
pub(crate) async fn import(host: &str, name: &str, image: Image) -> Result<(), RuntimeError> {
    images::import(&Client::new(host), name, image).await
}

/// The description of the service at `host`.
///
/// # Errors
/// It does not answer.
pub async fn describe(host: &str) -> Result<Service, RuntimeError> {
    service::describe(&Client::new(host)).await
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    state: State,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
    exit_code: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    state: String,
    #[serde(default)]
    labels: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    action: String,
    actor: Actor,
    #[serde(default, rename = "timeNano")]
    time_nano: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Actor {
    #[serde(default)]
    attributes: std::collections::BTreeMap<String, String>,
}

#[async_trait]
impl ContainerEngine for PodmanEngine {
    async fn create(
        &self,
        spec: &ContainerSpec,
        placement: &Placement,
        link: &Path,
    ) -> Result<(), RuntimeError> {
        let service = self.service().await?;
        self.profile.get_or_try_init(|| write_profile(&self.config.profile)).await?;
        let body = self.spec(service, spec, placement).body(link);
        let request = Request::post("/containers/create").json(&body);
        self.client.send(deadline::CREATE, "cannot create the container", request).await.map(drop)
    }

    async fn inspect(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        let service = self.service().await?;
        let inspected: Value = self.inspected(&placement.slot).await?;
        self.spec(service, spec, placement).missing(&inspected).map_or(Ok(()), |missing| {
            let message = format!("Podman made a container without what was asked for: {missing}");
            Err(RuntimeError::new(RuntimeErrorKind::Refused, message))
        })
    }

    async fn start(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        let request = Request::post(format!("/containers/{}/start", container_name(slot)));
        self.client.send(deadline::CREATE, "cannot start the container", request).await.map(drop)
    }

    async fn exit_of(&self, slot: &SlotId) -> Result<Option<Ended>, RuntimeError> {
        let Inspected { state } = self.inspected(slot).await?;
        Ok(match state.status.as_str() {
            "exited" | "stopped" => Some(Ended::Died { code: state.exit_code }),
            "removing" => Some(Ended::Lost),
            // configured, created, initialized, running, paused, stopping, or a state of a newer version
            _ => None,
        })
    }

    async fn log_tail(&self, slot: &SlotId) -> String {
        // not with `tail`: it loses the first half of a line that was written in two
        let request = Request::get(format!("/containers/{}/logs", container_name(slot)))
            .with("stdout", "true")
            .with("stderr", "true");
        match self.client.send(deadline::INSPECT, "cannot read the container's log", request).await {
            Ok(answer) => log_text(&answer.bytes()),
            Err(_) => String::new(),
        }
    }

    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        // the timeout is between SIGTERM and SIGKILL
        let request = Request::delete(format!("/containers/{}", container_name(slot)))
            .with("force", "true")
            .with("v", "true")
            .with("timeout", "0");
        match self.client.send(deadline::REMOVE, "cannot remove the container", request).await {
            Err(error) if error.kind() == RuntimeErrorKind::NotFound => Ok(()),
            answer => answer.map(drop),
        }
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        let what = "cannot list the containers";
        let request = Request::get("/containers/json")
            .with("all", "true")
            .with("filters", json!({ "label": [self.label()] }).to_string());
        let rows: Vec<Row> = self.client.send(deadline::INSPECT, what, request).await?.json(what)?;
        Ok(rows.into_iter().filter_map(listed).collect())
    }

    async fn ping(&self) -> Result<(), RuntimeError> {
        let what = "cannot reach the container engine";
        self.client.send(deadline::PING, what, Request::get("/_ping")).await.map(drop)
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        let what = "cannot reach the container engine";
        let answer = self.client.send(deadline::PING, what, Request::get("/_ping")).await?;
        Ok(EngineInfo { name: "podman".to_owned(), version: answer.version().to_owned() })
    }

    async fn exits(&self, since: Option<i64>) -> Result<ExitStream, RuntimeError> {
        let filters = json!({ "type": ["container"], "event": ["died", "remove"], "label": [self.label()] });
        let mut request = Request::get("/events").with("stream", "true").with("filters", filters.to_string());
        if let Some(nanos) = since {
            request =
                request.with("since", format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000));
        }
        let lines = self.client.lines(deadline::INSPECT, "cannot read the engine's events", request).await?;
        Ok(lines.map(|line| Ok(container_exit(&line?))).boxed())
    }
}

impl PodmanEngine {
    fn spec<'a>(
        &'a self,
        service: &'a Service,
        spec: &'a ContainerSpec,
        placement: &'a Placement,
    ) -> PodmanSpec<'a> {
        PodmanSpec { config: &self.config, service, spec, placement, max_processes: self.max_processes }
    }

    async fn inspected<T: serde::de::DeserializeOwned>(&self, slot: &SlotId) -> Result<T, RuntimeError> {
        let what = "cannot inspect the container";
        let request = Request::get(format!("/containers/{}/json", container_name(slot)));
        self.client.send(deadline::INSPECT, what, request).await?.json(what)
    }

    fn label(&self) -> String {
        format!("{INSTANCE_LABEL}={}", self.config.instance)
    }
}

fn listed(row: Row) -> Option<Listed> {
    let slot = row.labels?.get(SLOT_LABEL)?.parse().ok()?;
    Some(Listed { slot, running: matches!(row.state.as_str(), "running" | "paused" | "stopping") })
}

/// The exit that a line of the event stream reports.
fn container_exit(line: &[u8]) -> ContainerExit {
    let Ok(event) = serde_json::from_slice::<Event>(line) else {
        return ContainerExit { of: None, at: None };
    };
    let attributes = &event.actor.attributes;
    let of = attributes.get(SLOT_LABEL).and_then(|slot| slot.parse().ok()).and_then(|slot| {
        let ended = match event.action.as_str() {
            // an event without a code: the comparison with the list finds the exit
            "died" => Ended::Died { code: attributes.get("containerExitCode")?.parse().ok()? },
            "remove" => Ended::Lost,
            _ => return None,
        };
        Some((slot, ended))
    });
    ContainerExit { of, at: event.time_nano }
}

/// The end of a log in the format of `attach`: frames of a stream's number, three zero bytes, a length and so many bytes.
fn log_text(mut log: &[u8]) -> String {
    let mut text = Vec::new();
    while let [_, 0, 0, 0, a, b, c, d, rest @ ..] = log {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (frame, after) = rest.split_at(length.min(rest.len()));
        text.extend_from_slice(frame);
        log = after;
    }
    let end = &text[text.len().saturating_sub(MAX_LOG_TAIL_BYTES)..];
    String::from_utf8_lossy(end).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_tells_whose_end_it_is() {
        let died = br#"{"status":"died","Type":"container","Action":"died","Actor":{"ID":"40","Attributes":
            {"containerExitCode":"137","mgx.slot":"job-1","name":"mgx-job-1"}},"time":17,"timeNano":1795640270208519972}"#;
        let slot: SlotId = "job-1".parse().unwrap();
        assert_eq!(
            container_exit(died),
            ContainerExit {
                of: Some((slot.clone(), Ended::Died { code: 137 })),
                at: Some(1_795_640_270_208_519_972)
            }
        );
        let removed = br#"{"Action":"remove","Actor":{"Attributes":{"mgx.slot":"job-1"}},"timeNano":2}"#;
        assert_eq!(container_exit(removed), ContainerExit { of: Some((slot, Ended::Lost)), at: Some(2) });
    }

    #[test]
    fn an_event_that_tells_nothing_is_passed_over() {
        let stranger = br#"{"Action":"died","Actor":{"Attributes":{"containerExitCode":"0"}},"timeNano":3}"#;
        assert_eq!(container_exit(stranger), ContainerExit { of: None, at: Some(3) });
        assert_eq!(container_exit(b"not JSON"), ContainerExit { of: None, at: None });
    }

    #[test]
    fn a_log_is_read_up_to_where_it_breaks_off() {
        let log = [&[1, 0, 0, 0, 0, 0, 0, 3][..], b"abc", &[2, 0, 0, 0, 0, 0, 0, 9], b"def"].concat();
        assert_eq!(log_text(&log), "abcdef");
        assert_eq!(log_text(b"no frame"), "");
    }
}
