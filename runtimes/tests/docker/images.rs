//! The platform's own images: beside older ones while containers use them, and never in the place of another one.

use std::time::Duration;

use mgx_runtimes::image::{Made, StockImage, remove_older};
use mgx_runtimes::{ContainerSpec, RuntimeErrorKind};
use rstest::rstest;
use tokio::time::sleep;

use crate::world::{On, World, runner};

#[rstest]
#[case::docker(On::Docker)]
#[case::podman(On::Podman)]
#[case::podman_as_docker(On::PodmanAsDocker)]
#[tokio::test(flavor = "multi_thread")]
async fn an_older_image_goes_when_no_container_uses_it_and_others_stay(#[case] on: On) {
    let world = World::new(on, "images").await;
    let images = world.images();
    let repository = format!("mgx-images-test-{on:?}").to_lowercase();
    let (older, newer) = (build(&repository, 1), build(&repository, 2));
    let (older_name, newer_name) = (older.name().to_owned(), newer.name().to_owned());
    assert_eq!(older.make(&*images).await.unwrap(), Made::Built);
    assert_eq!(build(&repository, 1).make(&*images).await.unwrap(), Made::Present);
    let runtime = world.runtime();
    let placement = world.placement("images-1");
    let spec = ContainerSpec { image: older_name.clone(), ..World::spec() };
    runtime.create(&spec, &placement).await.unwrap();
    // images are told apart by the second in which they were made
    sleep(Duration::from_millis(1100)).await;
    newer.make(&*images).await.unwrap();
    let others = format!("{repository}:of-the-operator");
    on.tag(&newer_name, &repository, "of-the-operator").await;

    assert_eq!(remove_older(&*images, &newer_name).await.unwrap(), [""; 0], "a container uses it");
    assert_eq!(remove_older(&*images, &older_name).await.unwrap(), [""; 0], "the other one is newer");
    runtime.remove(&placement.slot).await.unwrap();
    // its holders of network namespaces are containers too, and end with their platform
    drop(runtime);
    let mut gone = Vec::new();
    for _ in 0..100 {
        gone.extend(remove_older(&*images, &newer_name).await.unwrap());
        if !gone.is_empty() {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert!(matches!(&gone[..], [name] if name.ends_with(&older_name)), "{gone:?}");
    assert_eq!(images.find(&older_name).await.unwrap(), None);
    for name in [&newer_name, &others] {
        assert!(images.find(name).await.unwrap().is_some(), "{name} stays");
        images.remove(name).await.unwrap();
    }
}

#[rstest]
#[case::docker(On::Docker)]
#[case::podman(On::Podman)]
#[tokio::test(flavor = "multi_thread")]
async fn another_image_of_the_same_name_is_not_replaced(#[case] on: On) {
    let world = World::new(on, "others").await;
    let images = world.images();
    let repository = format!("mgx-others-test-{on:?}").to_lowercase();
    let (theirs, ours) = (build(&repository, 1), build(&repository, 2));
    let (theirs_name, ours_name) = (theirs.name().to_owned(), ours.name().to_owned());
    theirs.make(&*images).await.unwrap();
    on.tag(&theirs_name, &repository, ours_name.rsplit(':').next().unwrap()).await;
    let before = images.find(&ours_name).await.unwrap();
    let refused = ours.make(&*images).await.unwrap_err();
    assert_eq!(refused.kind(), RuntimeErrorKind::Refused, "{refused}");
    assert_eq!(images.find(&ours_name).await.unwrap(), before);
    for name in [theirs_name, ours_name] {
        images.remove(&name).await.unwrap();
    }
}

/// An image whose runner is of another build: bytes after the end of a program do not matter to it.
fn build(repository: &str, number: u8) -> StockImage {
    let mut program = runner();
    program.push(number);
    StockImage::pack(repository, &program, None, &[]).unwrap()
}
