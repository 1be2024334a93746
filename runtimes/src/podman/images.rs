//! The images of Podman.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::PodmanEngine;
use super::client::{Client, Request, escaped};
use crate::engine::deadline;
use crate::engine::image::{CONTENT_LABEL, FoundImage, Image, Images, NamedImage};
use crate::{RuntimeError, RuntimeErrorKind};

/// An image in libpod's list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    created: i64,
}

#[async_trait]
impl Images for PodmanEngine {
    async fn find(&self, name: &str) -> Result<Option<FoundImage>, RuntimeError> {
        // the image is the first thing that is asked for: an unfit service is refused here
        self.service().await?;
        let what = "cannot look for the agent image";
        let request = Request::get(format!("/images/{}/json", escaped(name)));
        match self.client.send(deadline::INSPECT, what, request).await {
            Ok(answer) => {
                let image: Value = answer.json(what)?;
                let entry_point = image["Config"]["Entrypoint"].as_array();
                let words = entry_point.into_iter().flatten().filter_map(Value::as_str);
                Ok(Some(FoundImage {
                    content: image["Labels"][CONTENT_LABEL].as_str().map(str::to_owned),
                    entry_point: words.map(str::to_owned).collect(),
                }))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn import(&self, name: &str, image: Image) -> Result<(), RuntimeError> {
        import(&self.client, name, image).await
    }

    async fn of_repository(&self, repository: &str) -> Result<Vec<NamedImage>, RuntimeError> {
        let what = "cannot list the images";
        let filters = json!({ "reference": [repository] }).to_string();
        let request = Request::get("/images/json").with("filters", filters);
        let rows: Vec<Row> = self.client.send(deadline::INSPECT, what, request).await?.json(what)?;
        Ok(rows
            .into_iter()
            .flat_map(|row| {
                let (labels, created) = (row.labels.unwrap_or_default(), row.created);
                let content = labels.get(CONTENT_LABEL).cloned();
                let named = move |name| NamedImage { name, content: content.clone(), created };
                row.repo_tags.unwrap_or_default().into_iter().map(named)
            })
            .collect())
    }

    async fn remove(&self, name: &str) -> Result<bool, RuntimeError> {
        let request = Request::delete(format!("/images/{}", escaped(name)));
        match self.client.send(deadline::REMOVE, "cannot remove an image", request).await {
            Ok(_) => Ok(true),
            Err(error) if is_missing(&error) => Ok(true),
            // a container uses it
            Err(error) if error.kind() == RuntimeErrorKind::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Imports `image` as `name` through the service of `client`.
pub(super) async fn import(client: &Client, name: &str, image: Image) -> Result<(), RuntimeError> {
    let mut request = Request::post("/images/import").with("reference", name).tar(Bytes::from(image.rootfs));
    for change in image.changes {
        request = request.with("changes", change);
    }
    client.send(deadline::IMPORT, "cannot import the agent image", request).await.map(drop)
}

fn is_missing(error: &RuntimeError) -> bool {
    matches!(error.kind(), RuntimeErrorKind::ImageMissing | RuntimeErrorKind::NotFound)
}
