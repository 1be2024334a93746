//! The runtime on a real engine: conformance, and a look at the walls from inside and outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bench;
mod outage;
mod probe;
mod world;

use mgx_runtimes::conformance::conformance;
use mgx_runtimes::image::Made;
use mgx_runtimes::{Runtime, RuntimeErrorKind};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn docker_does_what_every_runtime_must() {
    let world = World::new("conformance").await;
    conformance(&world.runtime(), &world.kit()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_made_once() {
    let world = World::new("image").await;
    assert_eq!(world.make_image().await, Made::Present, "the world has made it");
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_another_instance_are_not_ours() {
    let (world, neighbour) = (World::new("ours").await, World::new("theirs").await);
    let runtime = neighbour.runtime();
    let placement = neighbour.placement("other-instance-1");
    runtime.create(&World::spec(), &placement).await.unwrap();
    assert_eq!(world.runtime().list().await.unwrap(), []);
    assert_eq!(runtime.list().await.unwrap().len(), 1);
    runtime.remove(&placement.slot).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_cannot_start_says_why_and_is_gone() {
    let world = World::new("stillborn").await;
    let runtime = world.runtime();
    let placement = world.placement("stillborn-1");
    let spec = world.without_runner().await;
    let error = runtime.create(&spec, &placement).await.unwrap_err();
    assert_eq!(error.kind(), RuntimeErrorKind::NotReady);
    insta::assert_snapshot!(error, @r#"the container ended with code 127 before its runner was ready; its last words: "agent-runner: applet not found""#);
    assert_eq!(runtime.list().await.unwrap(), []);
    assert!(!world.link_directory(&placement.slot).exists());
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_unavailable() {
    let world = World::new("absent").await;
    let runtime = world.runtime_at("unix:///nonexistent/engine.sock");
    for error in [runtime.info().await.unwrap_err(), runtime.list().await.unwrap_err()] {
        assert_eq!(error.kind(), RuntimeErrorKind::Unavailable, "{error}");
    }
}
