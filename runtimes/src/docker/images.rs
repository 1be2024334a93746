//! The images of an engine that speaks the Docker API.

use async_trait::async_trait;
use bollard::query_parameters::CreateImageOptionsBuilder;
use bytes::Bytes;
use futures_util::TryStreamExt;

use super::connection::{DockerConnection, status, within};
use crate::RuntimeError;
use crate::engine::deadline;
use crate::engine::image::{CONTENT_LABEL, Image, Images};

#[async_trait]
impl Images for DockerConnection {
    async fn content(&self, tag: &str) -> Result<Option<String>, RuntimeError> {
        let client = &self.connected().await?.client;
        let inspecting = async {
            match client.inspect_image(tag).await {
                Err(error) if status(&error) == Some(404) => Ok(None),
                answer => answer.map(Some),
            }
        };
        let image = within(deadline::INSPECT, "cannot look for the agent image", inspecting).await?;
        let labels = image.and_then(|image| image.config).and_then(|config| config.labels);
        Ok(labels.and_then(|mut labels| labels.remove(CONTENT_LABEL)))
    }

    async fn import(&self, tag: &str, image: Image) -> Result<(), RuntimeError> {
        let client = &self.connected().await?.client;
        let options = CreateImageOptionsBuilder::new().from_src("-").repo(tag).changes(image.changes).build();
        let importing = client
            .create_image(Some(options), Some(bollard::body_full(Bytes::from(image.rootfs))), None)
            .try_collect::<Vec<_>>();
        within(deadline::IMPORT, "cannot import the agent image", importing).await.map(drop)
    }
}
