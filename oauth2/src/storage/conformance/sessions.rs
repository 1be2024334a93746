//! The promises of a storage about browser sessions and devices.

use futures_util::future::join;

use crate::accounts::browser_session::BrowserSession;
use crate::grants::device::{Device, DevicePoll};
use crate::storage::Storage;
use crate::storage::conformance::samples::{
    at, digest, sample_browser, sample_client, sample_device, sample_grant, sample_user,
};

pub(super) async fn run(storage: &dyn Storage) {
    a_session_is_found_by_its_cookie_until_it_ends(storage).await;
    a_device_waits_for_the_decision(storage).await;
    a_device_without_a_decision_expires(storage).await;
}

/// A device that polls both processes is given its grant once.
pub(super) async fn once_on_two(one: &dyn Storage, other: &dyn Storage) {
    for _ in 0..10 {
        let (user, client) = (sample_user(), sample_client());
        let device = sample_device(&client);
        assert!(one.add_device(&device, at(0)).await.unwrap());
        assert!(!other.add_device(&Device { digest: digest(), ..device.clone() }, at(1)).await.unwrap());
        let (yes, no) = (sample_grant(&user, &client), sample_grant(&user, &client));
        let said = join(
            one.decide_device(&device.user_code, Some(&yes), at(1)),
            other.decide_device(&device.user_code, Some(&no), at(1)),
        )
        .await;
        assert_eq!([said.0.unwrap(), said.1.unwrap()].into_iter().filter(|said| *said).count(), 1);
        let polled = join(
            one.poll_device(device.digest, &client.id, at(10)),
            other.poll_device(device.digest, &client.id, at(10)),
        )
        .await;
        let given = [polled.0.unwrap(), polled.1.unwrap()];
        assert_eq!(
            given.iter().filter(|poll| matches!(poll, DevicePoll::Allowed(_))).count(),
            1,
            "{given:?}"
        );
        assert_eq!(one.grants_of(user.id, at(10), 10).await.unwrap().len(), 1, "and nothing else is left");
    }
}

async fn a_session_is_found_by_its_cookie_until_it_ends(storage: &dyn Storage) {
    let user = sample_user();
    let one = sample_browser(&user);
    let two = BrowserSession { auth_time: at(1), ..sample_browser(&user) };
    storage.add_session(&one).await.unwrap();
    storage.add_session(&two).await.unwrap();
    assert_eq!(storage.session_of_cookie(one.cookie, at(3599)).await.unwrap().as_ref(), Some(&one));
    assert_eq!(storage.session_of_cookie(one.cookie, at(3600)).await.unwrap(), None);
    assert_eq!(storage.session_of_cookie(digest(), at(0)).await.unwrap(), None);
    assert_eq!(
        storage.sessions_of(user.id, at(0), 10).await.unwrap(),
        [two.clone(), one.clone()],
        "newest first"
    );
    assert_eq!(storage.sessions_of(user.id, at(0), 1).await.unwrap(), std::slice::from_ref(&two));

    let again = BrowserSession { cookie: digest(), auth_time: at(2), ..one.clone() };
    storage.remove_session(one.id).await.unwrap();
    storage.add_session(&again).await.unwrap();
    assert_eq!(
        storage.session_of_cookie(one.cookie, at(0)).await.unwrap(),
        None,
        "the old cookie is not valid"
    );
    assert_eq!(storage.session_of_cookie(again.cookie, at(0)).await.unwrap().as_ref(), Some(&again));
    assert!(
        storage.remove_session(again.id).await.unwrap() && !storage.remove_session(again.id).await.unwrap()
    );
    let others = sample_browser(&sample_user());
    storage.add_session(&others).await.unwrap();
    storage.remove_sessions_of(user.id).await.unwrap();
    assert_eq!(storage.session_of_cookie(two.cookie, at(0)).await.unwrap(), None);
    assert_eq!(storage.session_of_cookie(others.cookie, at(0)).await.unwrap(), Some(others));
}

async fn a_device_waits_for_the_decision(storage: &dyn Storage) {
    let (user, client) = (sample_user(), sample_client());
    let device = sample_device(&client);
    assert!(storage.add_device(&device, at(0)).await.unwrap());
    let same = Device { user_code: device.user_code.clone(), ..sample_device(&client) };
    assert!(!storage.add_device(&same, at(599)).await.unwrap(), "the code is taken");
    assert_eq!(storage.device(&device.user_code).await.unwrap().as_ref(), Some(&device));
    let poll = |now| storage.poll_device(device.digest, &client.id, at(now));
    assert_eq!(poll(0).await.unwrap(), DevicePoll::Pending);
    assert_eq!(poll(4).await.unwrap(), DevicePoll::SlowDown);
    assert_eq!(poll(13).await.unwrap(), DevicePoll::SlowDown, "ten seconds from then on");
    assert_eq!(poll(40).await.unwrap(), DevicePoll::Pending);
    assert_eq!(storage.poll_device(digest(), &client.id, at(60)).await.unwrap(), DevicePoll::Unknown);
    assert_eq!(
        storage.poll_device(device.digest, &sample_client().id, at(60)).await.unwrap(),
        DevicePoll::Unknown
    );

    let grant = sample_grant(&user, &client);
    assert!(storage.decide_device(&device.user_code, Some(&grant), at(70)).await.unwrap());
    assert!(!storage.decide_device(&device.user_code, None, at(70)).await.unwrap(), "once");
    let (one, two) = join(poll(80), poll(80)).await;
    let mut both = [one.unwrap(), two.unwrap()];
    both.sort_by_key(|poll| matches!(poll, DevicePoll::Unknown));
    assert_eq!(both, [DevicePoll::Allowed(Box::new(grant)), DevicePoll::Unknown], "once");
    assert_eq!(storage.device(&device.user_code).await.unwrap(), None);
}

async fn a_device_without_a_decision_expires(storage: &dyn Storage) {
    let client = sample_client();
    let (late, denied) = (sample_device(&client), sample_device(&client));
    storage.add_device(&late, at(0)).await.unwrap();
    storage.add_device(&denied, at(0)).await.unwrap();
    assert!(!storage.decide_device(&late.user_code, None, at(600)).await.unwrap());
    assert_eq!(storage.poll_device(late.digest, &client.id, at(600)).await.unwrap(), DevicePoll::Expired);
    assert!(storage.decide_device(&denied.user_code, None, at(1)).await.unwrap());
    assert_eq!(storage.poll_device(denied.digest, &client.id, at(2)).await.unwrap(), DevicePoll::Denied);
    assert_eq!(storage.poll_device(denied.digest, &client.id, at(60)).await.unwrap(), DevicePoll::Unknown);
    let again = Device { user_code: late.user_code.clone(), expires_at: at(1200), ..sample_device(&client) };
    assert!(storage.add_device(&again, at(600)).await.unwrap(), "the code is free again");
    assert_eq!(storage.device(&late.user_code).await.unwrap(), Some(again));
}
