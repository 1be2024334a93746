//! Podman, over its own API (libpod): rootful or rootless, 4.x and 5.x.
//!
//! `docs/runtimes.md` has what was measured, and what a service needs. What the engine was asked for it does not
//! always do and does not always say so: every container is looked at before it is started, and one that has not
//! every wall is not started ([`spec`]).

mod client;
mod service;
mod spec;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use mgx_protocol::SlotId;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

pub use service::{Obstacle, Service};

use crate::contained::{Contained, Containers, End, EndStream, MAX_LAST_WORDS, name};
use crate::engine::deadline;
use crate::hardening::{INSTANCE_LABEL, SLOT_LABEL, processes};
use crate::image::{Image, Images};
use crate::link::Links;
use crate::profile::write_profile;
use crate::{ContainerSpec, Ended, EngineInfo, Listed, Placement, RuntimeError, RuntimeErrorKind};
use client::{Client, Question, escaped};
use spec::Walls;

/// Where the service is, and whose containers they are.
#[derive(Clone, Debug)]
pub struct PodmanConfig {
    /// The service's socket: `unix:///run/podman/podman.sock`, or the path alone.
    pub host: String,
    /// The OCI runtime that containers must run in, such as `runc`; empty: the service's own.
    pub oci_runtime: String,
    /// The name of this instance of the platform; containers of other instances are never touched.
    pub instance: String,
    /// `uid:gid` of every process in a container; not root.
    pub user: String,
    /// Where the system-call profile is written, for the service to read it: libpod takes a path only.
    pub profile: PathBuf,
}

/// Containers of Podman.
pub type Podman = Contained<Libpod>;

/// Podman's part of it.
#[derive(Debug)]
pub struct Libpod {
    client: Client,
    config: PodmanConfig,
    /// Known after the first call that was answered.
    service: OnceCell<Service>,
    /// Done when the profile is where the service finds it.
    profile: OnceCell<()>,
    processes: i64,
}

impl Podman {
    /// A runtime on the service of `config`, whose runners call at `links`. Reaches for it with the first call, so
    /// the service may come later than the platform.
    pub fn connect(config: PodmanConfig, links: Links) -> Self {
        Self::new(Libpod::new(config), links)
    }

    /// Where the agent image is made.
    pub fn images(&self) -> Arc<dyn Images> {
        Arc::clone(self.containers()) as _
    }
}

impl Libpod {
    /// The containers of the instance of `config`.
    pub fn new(config: PodmanConfig) -> Self {
        let client = Client::new(&config.host);
        let (service, profile) = (OnceCell::new(), OnceCell::new());
        Self { client, config, service, profile, processes: processes() }
    }

    /// What the service is, once it has been found fit to hold untrusted code.
    async fn service(&self) -> Result<&Service, RuntimeError> {
        self.service
            .get_or_try_init(|| async {
                let service = service::of(&self.client).await?;
                let is_root = rustix::process::geteuid().is_root();
                if let Some(obstacle) = service.obstacle(is_root) {
                    return Err(RuntimeError::new(RuntimeErrorKind::Refused, obstacle.to_string()));
                }
                Ok(service)
            })
            .await
    }
}

/// What the service at `host` is.
///
/// # Errors
/// It does not answer.
pub async fn look(host: &str) -> Result<Service, RuntimeError> {
    service::of(&Client::new(host)).await
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
impl Containers for Libpod {
    async fn create(
        &self,
        spec: &ContainerSpec,
        placement: &Placement,
        link: &Path,
    ) -> Result<(), RuntimeError> {
        let service = self.service().await?;
        self.profile.get_or_try_init(|| write_profile(&self.config.profile)).await?;
        let body = self.walls(service, spec, placement).body(link);
        let question = Question::post("/containers/create").json(&body);
        self.client.ask(deadline::CREATE, "cannot create the container", question).await.map(drop)
    }

    async fn inspect(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        let service = self.service().await?;
        let seen: Value = self.seen(&placement.slot).await?;
        self.walls(service, spec, placement).missing(&seen).map_or(Ok(()), |missing| {
            let message = format!("Podman made a container without what was asked for: {missing}");
            Err(RuntimeError::new(RuntimeErrorKind::Refused, message))
        })
    }

    async fn start(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        let question = Question::post(format!("/containers/{}/start", name(slot)));
        self.client.ask(deadline::CREATE, "cannot start the container", question).await.map(drop)
    }

    async fn ended(&self, slot: &SlotId) -> Result<Option<Ended>, RuntimeError> {
        let Inspected { state } = self.seen(slot).await?;
        Ok(match state.status.as_str() {
            "exited" | "stopped" => Some(Ended::Died { code: state.exit_code }),
            "removing" => Some(Ended::Lost),
            // configured, created, initialized, running, paused, stopping, and what is not known yet
            _ => None,
        })
    }

    async fn last_words(&self, slot: &SlotId) -> String {
        // not with `tail`: it loses the first half of a line that was written in two
        let question = Question::get(format!("/containers/{}/logs", name(slot)))
            .with("stdout", "true")
            .with("stderr", "true");
        match self.client.ask(deadline::LOOK, "cannot read the container's log", question).await {
            Ok(answer) => words(&answer.bytes()),
            Err(_) => String::new(),
        }
    }

    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        // the timeout is between SIGTERM and SIGKILL
        let question = Question::delete(format!("/containers/{}", name(slot)))
            .with("force", "true")
            .with("v", "true")
            .with("timeout", "0");
        match self.client.ask(deadline::KILL, "cannot remove the container", question).await {
            Err(error) if error.kind() == RuntimeErrorKind::NotFound => Ok(()),
            answer => answer.map(drop),
        }
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        let what = "cannot list the containers";
        let question = Question::get("/containers/json")
            .with("all", "true")
            .with("filters", json!({ "label": [self.label()] }).to_string());
        let rows: Vec<Row> = self.client.ask(deadline::LOOK, what, question).await?.json(what)?;
        Ok(rows.into_iter().filter_map(listed).collect())
    }

    async fn ping(&self) -> Result<(), RuntimeError> {
        let what = "cannot reach the container engine";
        self.client.ask(deadline::PING, what, Question::get("/_ping")).await.map(drop)
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        let what = "cannot reach the container engine";
        let answer = self.client.ask(deadline::PING, what, Question::get("/_ping")).await?;
        Ok(EngineInfo { name: "podman".to_owned(), version: answer.version().to_owned() })
    }

    async fn ends(&self, since: Option<i64>) -> Result<EndStream, RuntimeError> {
        let filters = json!({ "type": ["container"], "event": ["died", "remove"], "label": [self.label()] });
        let mut question =
            Question::get("/events").with("stream", "true").with("filters", filters.to_string());
        if let Some(nanos) = since {
            question =
                question.with("since", format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000));
        }
        let lines = self.client.lines(deadline::LOOK, "cannot hear the engine", question).await?;
        Ok(lines.map(|line| Ok(end(&line?))).boxed())
    }
}

impl Libpod {
    fn walls<'a>(
        &'a self,
        service: &'a Service,
        spec: &'a ContainerSpec,
        placement: &'a Placement,
    ) -> Walls<'a> {
        Walls { config: &self.config, service, spec, placement, processes: self.processes }
    }

    async fn seen<T: serde::de::DeserializeOwned>(&self, slot: &SlotId) -> Result<T, RuntimeError> {
        let what = "cannot look at the container";
        let question = Question::get(format!("/containers/{}/json", name(slot)));
        self.client.ask(deadline::LOOK, what, question).await?.json(what)
    }

    fn label(&self) -> String {
        format!("{INSTANCE_LABEL}={}", self.config.instance)
    }
}

#[async_trait]
impl Images for Libpod {
    async fn content(&self, tag: &str) -> Result<Option<String>, RuntimeError> {
        // the image comes first of all: whether the service is fit for it should be known by then
        self.service().await?;
        let what = "cannot look for the agent image";
        let question = Question::get(format!("/images/{}/json", escaped(tag)));
        match self.client.ask(deadline::LOOK, what, question).await {
            Ok(answer) => {
                let image: Value = answer.json(what)?;
                Ok(image["Labels"][crate::image::CONTENT_LABEL].as_str().map(str::to_owned))
            }
            Err(error) => match error.kind() {
                RuntimeErrorKind::ImageMissing | RuntimeErrorKind::NotFound => Ok(None),
                _ => Err(error),
            },
        }
    }

    async fn import(&self, tag: &str, image: Image) -> Result<(), RuntimeError> {
        let mut question =
            Question::post("/images/import").with("reference", tag).tar(Bytes::from(image.rootfs));
        for change in image.changes {
            question = question.with("changes", change);
        }
        self.client.ask(deadline::IMPORT, "cannot import the agent image", question).await.map(drop)
    }
}

fn listed(row: Row) -> Option<Listed> {
    let slot = row.labels?.get(SLOT_LABEL)?.parse().ok()?;
    Some(Listed { slot, running: matches!(row.state.as_str(), "running" | "paused" | "stopping") })
}

/// What a line of the event stream says.
fn end(line: &[u8]) -> End {
    let Ok(event) = serde_json::from_slice::<Event>(line) else { return End { of: None, at: None } };
    let attributes = &event.actor.attributes;
    let of = attributes.get(SLOT_LABEL).and_then(|slot| slot.parse().ok()).and_then(|slot| {
        let ended = match event.action.as_str() {
            // without a code, the next look finds it
            "died" => Ended::Died { code: attributes.get("containerExitCode")?.parse().ok()? },
            "remove" => Ended::Lost,
            _ => return None,
        };
        Some((slot, ended))
    });
    End { of, at: event.time_nano }
}

/// The end of a log: frames of a stream's number, three zero bytes, a length and so many bytes.
fn words(mut log: &[u8]) -> String {
    let mut words = Vec::new();
    while let [_, 0, 0, 0, a, b, c, d, rest @ ..] = log {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (frame, after) = rest.split_at(length.min(rest.len()));
        words.extend_from_slice(frame);
        log = after;
    }
    let end = &words[words.len().saturating_sub(MAX_LAST_WORDS)..];
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
            end(died),
            End { of: Some((slot.clone(), Ended::Died { code: 137 })), at: Some(1_795_640_270_208_519_972) }
        );
        let removed = br#"{"Action":"remove","Actor":{"Attributes":{"mgx.slot":"job-1"}},"timeNano":2}"#;
        assert_eq!(end(removed), End { of: Some((slot, Ended::Lost)), at: Some(2) });
    }

    #[test]
    fn an_event_that_tells_nothing_is_passed_over() {
        let stranger = br#"{"Action":"died","Actor":{"Attributes":{"containerExitCode":"0"}},"timeNano":3}"#;
        assert_eq!(end(stranger), End { of: None, at: Some(3) });
        assert_eq!(end(b"not JSON"), End { of: None, at: None });
    }

    #[test]
    fn a_log_is_read_up_to_where_it_breaks_off() {
        let log = [&[1, 0, 0, 0, 0, 0, 0, 3][..], b"abc", &[2, 0, 0, 0, 0, 0, 0, 9], b"def"].concat();
        assert_eq!(words(&log), "abcdef");
        assert_eq!(words(b"no frame"), "");
    }
}
