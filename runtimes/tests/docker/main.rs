//! The runtimes on real engines: conformance, and the hardening as seen from inside and outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod images;
mod outage;
mod paused;
mod pool;
mod probe;
mod restarted;
mod world;

use mgx_runtimes::conformance::conformance;
use mgx_runtimes::image::Made;
use mgx_runtimes::{ContainerSpec, OciRuntime, RuntimeErrorKind};
use rstest::rstest;

use crate::world::{On, World};

#[rstest]
#[case::docker(On::Docker)]
#[case::podman(On::Podman)]
#[case::podman_as_docker(On::PodmanAsDocker)]
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_does_what_every_runtime_must(#[case] on: On) {
    let world = World::new(on, "conformance").await;
    conformance(&*world.runtime(), &world.kit()).await;
}

#[rstest]
#[case::docker(On::Docker)]
#[case::podman(On::Podman)]
#[case::podman_as_docker(On::PodmanAsDocker)]
#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_made_once(#[case] on: On) {
    let world = World::new(on, "image").await;
    assert_eq!(world.make_image().await, Made::Present, "World::new has made it");
}

#[rstest]
#[case::docker(On::Docker)]
#[case::podman(On::Podman)]
#[case::podman_as_docker(On::PodmanAsDocker)]
#[tokio::test(flavor = "multi_thread")]
async fn containers_of_another_instance_are_not_ours(#[case] on: On) {
    let (world, neighbour) = (World::new(on, "ours").await, World::new(on, "theirs").await);
    let runtime = neighbour.runtime();
    let placement = neighbour.placement("other-instance-1");
    runtime.create(&World::spec(), &placement).await.unwrap();
    assert_eq!(world.runtime().list().await.unwrap(), []);
    assert_eq!(runtime.list().await.unwrap().len(), 1);
    runtime.remove(&placement.slot).await.unwrap();
}

#[rstest]
#[case::docker(On::Docker)]
#[case::podman(On::Podman)]
#[case::podman_as_docker(On::PodmanAsDocker)]
#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_cannot_start_says_why_and_is_gone(#[case] on: On) {
    let world = World::new(on, "unstartable").await;
    let runtime = world.runtime();
    let placement = world.placement("unstartable-1");
    let spec = world.without_runner().await;
    let error = runtime.create(&spec, &placement).await.unwrap_err();
    assert_eq!(error.kind(), RuntimeErrorKind::NotReady);
    insta::allow_duplicates! {
        insta::assert_snapshot!(error, @r#"the container ended with code 127 before its runner was ready; its log ends with: "agent-runner: applet not found""#);
    }
    assert_eq!(runtime.list().await.unwrap(), []);
    assert!(!world.link_directory(&placement.slot).exists());
}

#[rstest]
#[case::docker(On::Docker)]
#[case::podman(On::Podman)]
#[case::podman_as_docker(On::PodmanAsDocker)]
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_without_the_oci_runtime_makes_no_container_with_another(#[case] on: On) {
    let world = World::new(on, "oci").await;
    let info = on.client().await.info().await.unwrap();
    let known = info.runtimes.unwrap_or_default();
    let own = info.default_runtime.unwrap_or_default();
    let is_unknown = |runtime: &OciRuntime| {
        runtime.name().is_some_and(|name| match on {
            On::Docker => !known.contains_key(name),
            On::Podman | On::PodmanAsDocker => own != name,
        })
    };
    let Some(oci_runtime) = [OciRuntime::Crun, OciRuntime::Runsc].into_iter().find(is_unknown) else {
        return;
    };
    let runtime = world.runtime();
    let spec = ContainerSpec { oci_runtime, ..World::spec() };
    let error = runtime.create(&spec, &world.placement("oci-1")).await.unwrap_err();
    let (kind, says) = match on {
        On::Docker => (RuntimeErrorKind::OciRuntimeMissing, "/etc/docker/daemon.json"),
        On::Podman => (RuntimeErrorKind::Refused, "/etc/containers/containers.conf"),
        On::PodmanAsDocker => (RuntimeErrorKind::OciRuntimeMissing, "set runtime = \"podman\""),
    };
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(says), "{error}");
    assert_eq!(runtime.list().await.unwrap(), []);
}

#[rstest]
#[case::docker(On::Docker)]
#[case::podman(On::Podman)]
#[case::podman_as_docker(On::PodmanAsDocker)]
#[tokio::test]
async fn an_engine_that_is_not_there_is_unavailable(#[case] on: On) {
    let world = World::new(on, "absent").await;
    let runtime = world.runtime_at("unix:///nonexistent/engine.sock");
    for error in [runtime.info().await.unwrap_err(), runtime.list().await.unwrap_err()] {
        assert_eq!(error.kind(), RuntimeErrorKind::Unavailable, "{error}");
    }
}
