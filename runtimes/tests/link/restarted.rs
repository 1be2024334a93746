//! A container that is started again: its second runner is never given what its first one had.

use std::future::pending;

use mgx_protocol::Nonce;
use mgx_runtimes::conformance::invocation;
use mgx_runtimes::link::Runner as Connected;
use mgx_runtimes::{Ended, Links, Output};
use tokio::sync::mpsc;

use crate::runner::{Runner, event};
use crate::{LinkFixture, STEP_LIMIT, numbers, outputs};

#[tokio::test]
async fn an_invocation_is_given_to_one_runner_and_never_to_a_second_one() {
    let link = LinkFixture::new();
    let (first, second) = (Some(Nonce::new()), Some(Nonce::new()));
    let mut runner = Runner::connect_idle(&link.socket(), &link.slot, first).await;
    link.links.ready(&link.slot, STEP_LIMIT).await.unwrap();
    let mut run = link.links.start(&link.slot, invocation(Vec::new()), pending()).unwrap();
    assert!(runner.receives_invocation().await);
    runner.sends(event(1)).await;
    assert_eq!(numbers(&outputs(&mut run, 1).await), [1]);
    drop(runner);
    let mut runner = Runner::connect_idle(&link.socket(), &link.slot, second).await;
    assert_eq!(outputs(&mut run, 1).await, [Output::Ended(Ended::Restarted)]);
    assert!(!runner.receives_invocation().await);
}

#[tokio::test]
async fn the_same_runner_is_given_it_again_if_it_has_not_received_it() {
    for nonce in [Some(Nonce::new()), None] {
        let link = LinkFixture::new();
        let mut runner = Runner::connect_idle(&link.socket(), &link.slot, nonce).await;
        link.links.ready(&link.slot, STEP_LIMIT).await.unwrap();
        let mut run = link.links.start(&link.slot, invocation(Vec::new()), pending()).unwrap();
        assert!(runner.receives_invocation().await, "but a runner that loses it says that it has none");
        drop(runner);
        let mut runner = Runner::connect_idle(&link.socket(), &link.slot, nonce).await;
        assert!(runner.receives_invocation().await);
        runner.sends(event(1)).await;
        assert_eq!(numbers(&outputs(&mut run, 1).await), [1]);
    }
}

#[tokio::test]
async fn a_runner_of_the_first_version_does_not_say_which_one_it_is_and_is_given_it_once() {
    let link = LinkFixture::new();
    let mut runner = Runner::connect_as(&link.socket(), &link.slot, None, 1).await;
    link.links.ready(&link.slot, STEP_LIMIT).await.unwrap();
    let mut run = link.links.start(&link.slot, invocation(Vec::new()), pending()).unwrap();
    assert!(runner.receives_invocation().await);
    drop(runner);
    let _another = Runner::connect_as(&link.socket(), &link.slot, None, 1).await;
    assert_eq!(outputs(&mut run, 1).await, [Output::Ended(Ended::Restarted)]);
}

#[tokio::test]
async fn a_later_process_of_the_platform_tells_the_runner_from_another_one() {
    let link = LinkFixture::new();
    let nonce = Nonce::new();
    let mut runner = Runner::connect_idle(&link.socket(), &link.slot, Some(nonce)).await;
    link.links.ready(&link.slot, STEP_LIMIT).await.unwrap();
    let run = link.links.start(&link.slot, invocation(Vec::new()), pending()).unwrap();
    assert!(runner.receives_invocation().await);
    let LinkFixture { root, links, tunnels, slot } = link;
    drop((links, tunnels, run, runner));

    for (nonce, invoked, connected) in [
        (Some(nonce), false, Connected::Idle),
        (Some(Nonce::new()), false, Connected::Another),
        // a claimed runner has no nonce left, and this one was not claimed
        (None, false, Connected::Another),
        (None, true, Connected::Invoked),
    ] {
        let (sender, _tunnels) = mpsc::channel(1);
        let links = Links::new(root.path().join("links"), sender).unwrap();
        links.open(&slot).unwrap();
        let socket = root.path().join("links").join(slot.as_str()).join(mgx_protocol::LINK_SOCKET);
        let invoked = invoked.then(|| (mgx_protocol::JobId::new(), mgx_protocol::Attempt(1)));
        let _runner = match invoked {
            Some(_) => Runner::connect(&socket, &slot, invoked).await,
            None => Runner::connect_idle(&socket, &slot, nonce).await,
        };
        assert_eq!(links.ready(&slot, STEP_LIMIT).await.unwrap(), connected, "{nonce:?}");
    }
}
