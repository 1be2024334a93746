//! The images of an engine that speaks the Docker API.

use std::collections::HashMap;

use async_trait::async_trait;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
};
use bytes::Bytes;
use futures_util::TryStreamExt;

use super::connection::{DockerConnection, status, within};
use crate::RuntimeError;
use crate::engine::deadline;
use crate::engine::image::{CONTENT_LABEL, FoundImage, Image, Images, NamedImage};
use crate::podman;

#[async_trait]
impl Images for DockerConnection {
    async fn find(&self, name: &str) -> Result<Option<FoundImage>, RuntimeError> {
        let client = &self.connected().await?.client;
        let inspecting = async {
            match client.inspect_image(name).await {
                Err(error) if status(&error) == Some(404) => Ok(None),
                answer => answer.map(Some),
            }
        };
        let image = within(deadline::INSPECT, "cannot look for the agent image", inspecting).await?;
        Ok(image.map(|image| {
            let config = image.config.unwrap_or_default();
            FoundImage {
                content: config.labels.and_then(|mut labels| labels.remove(CONTENT_LABEL)),
                entry_point: config.entrypoint.unwrap_or_default(),
            }
        }))
    }

    async fn import(&self, name: &str, image: Image) -> Result<(), RuntimeError> {
        let connected = self.connected().await?;
        if connected.is_podman {
            // through the Docker API it takes all instructions for one
            return podman::import(self.host(), name, image).await;
        }
        let client = &connected.client;
        let options =
            CreateImageOptionsBuilder::new().from_src("-").repo(name).changes(image.changes).build();
        let importing = client
            .create_image(Some(options), Some(bollard::body_full(Bytes::from(image.rootfs))), None)
            .try_collect::<Vec<_>>();
        within(deadline::IMPORT, "cannot import the agent image", importing).await.map(drop)
    }

    async fn of_repository(&self, repository: &str) -> Result<Vec<NamedImage>, RuntimeError> {
        let client = &self.connected().await?.client;
        let filters = HashMap::from([("reference", vec![repository.to_owned()])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let listing = client.list_images(Some(options));
        let images = within(deadline::INSPECT, "cannot list the images", listing).await?;
        Ok(images
            .into_iter()
            .flat_map(|image| {
                let (content, created) = (image.labels.get(CONTENT_LABEL).cloned(), image.created);
                let named = move |name| NamedImage { name, content: content.clone(), created };
                image.repo_tags.into_iter().map(named)
            })
            .collect())
    }

    async fn remove(&self, name: &str) -> Result<bool, RuntimeError> {
        let client = &self.connected().await?.client;
        let options = RemoveImageOptionsBuilder::new().force(false).build();
        let removing = async {
            match client.remove_image(name, Some(options), None).await {
                Err(error) if status(&error) == Some(404) => Ok(true),
                // a container uses it
                Err(error) if status(&error) == Some(409) => Ok(false),
                answer => answer.map(|_| true),
            }
        };
        within(deadline::REMOVE, "cannot remove an image", removing).await
    }
}
