//! How long a container takes to become ready, beside what the engine alone takes.

use std::time::{Duration, Instant};

use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use mgx_runtimes::hardening::{Dialect, Hardening};

use crate::world::{On, World};

const ROUNDS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, for a quiet machine: cargo test -p mgx-runtimes --test docker -- --ignored --nocapture"]
async fn create_to_ready_beside_the_engine_alone() {
    let world = World::new(On::Docker, "bench").await;
    let runtime = world.runtime();
    runtime.info().await.unwrap();
    let mut ours = Vec::new();
    let mut floor = Vec::new();
    let mut bare = Vec::new();
    for round in 0..ROUNDS {
        let placement = world.placement(&format!("bench-{round}"));
        let start = Instant::now();
        runtime.create(&World::spec(), &placement).await.unwrap();
        ours.push(start.elapsed());
        runtime.remove(&placement.slot).await.unwrap();

        let hardening = Hardening {
            instance: "bench".to_owned(),
            user: "10001:10001".to_owned(),
            swappiness: true,
            dialect: Dialect::Docker,
        };
        let link = world.link_directory(&placement.slot);
        std::fs::create_dir_all(&link).unwrap();
        let body = hardening.container(&World::spec(), &placement, &link);
        floor.push(create_and_start(&format!("mgx-{}", placement.slot), body).await);

        let plain = bollard::models::ContainerCreateBody {
            image: Some(World::spec().image),
            env: Some(vec!["MGX_SLOT=bench".to_owned()]),
            host_config: Some(bollard::models::HostConfig {
                network_mode: Some("none".to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        };
        bare.push(create_and_start(&format!("mgx-{}", placement.slot), plain).await);
    }
    println!("create to Ready            {}", summary(ours));
    println!("engine create+start, same  {}", summary(floor));
    println!("engine create+start, plain {}", summary(bare));
}

async fn create_and_start(name: &str, body: bollard::models::ContainerCreateBody) -> Duration {
    let client = On::Docker.client().await;
    let start = Instant::now();
    let options = CreateContainerOptionsBuilder::new().name(name).build();
    client.create_container(Some(options), body).await.unwrap();
    client.start_container(name, None).await.unwrap();
    let took = start.elapsed();
    let options = RemoveContainerOptionsBuilder::new().force(true).build();
    client.remove_container(name, Some(options)).await.unwrap();
    took
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    format!("n={} min {:?} p50 {:?} p90 {:?} max {:?}", times.len(), at(0), at(50), at(90), at(100))
}
