//! The promises of a storage about users, clients, API tokens and the audit log.

use crate::accounts::audit::{AuditEntry, AuditEvent};
use crate::accounts::user::{PasswordHash, User};
use crate::clients::client::ClientKind;
use crate::storage::Storage;
use crate::storage::conformance::samples::{
    at, digest, sample_browser, sample_client, sample_device, sample_grant, sample_token, sample_user,
};

pub(super) async fn run(storage: &dyn Storage) {
    users_are_stored_and_names_are_unique(storage).await;
    a_password_is_set_only_if_it_is_still_the_expected_one(storage).await;
    users_and_clients_are_listed_in_order(storage).await;
    removing_a_user_or_client_removes_everything_of_theirs(storage).await;
    clients_are_stored_and_replaced(storage).await;
    api_tokens_belong_to_their_users(storage).await;
    the_audit_log_is_read_newest_first(storage).await;
}

async fn users_are_stored_and_names_are_unique(storage: &dyn Storage) {
    let user = sample_user();
    assert!(storage.add_user(&user).await.unwrap());
    assert_eq!(storage.user(user.id).await.unwrap().as_ref(), Some(&user));
    assert_eq!(storage.user_named(&user.name).await.unwrap().as_ref(), Some(&user));
    let (same_name, same_id) =
        (User { name: user.name.clone(), ..sample_user() }, User { id: user.id, ..sample_user() });
    assert!(!storage.add_user(&same_name).await.unwrap() && !storage.add_user(&same_id).await.unwrap());
    assert_eq!(storage.user(user.id).await.unwrap().as_ref(), Some(&user), "signed_in was first stays");

    let other = sample_user();
    storage.add_user(&other).await.unwrap();
    assert!(!storage.change_user(&User { name: user.name.clone(), ..other.clone() }).await.unwrap());
    let renamed = User {
        name: format!("{}-2", other.name).parse().unwrap(),
        disabled: true,
        email: Some("x@example.org".to_owned()),
        password: None,
        ..other.clone()
    };
    assert!(storage.change_user(&renamed).await.unwrap());
    let kept = User { password: other.password.clone(), ..renamed.clone() };
    assert_eq!(storage.user_named(&renamed.name).await.unwrap(), Some(kept), "all but the password");
    assert_eq!(storage.user_named(&other.name).await.unwrap(), None);
    assert!(!storage.change_user(&sample_user()).await.unwrap(), "there is no such user");
}

async fn a_password_is_set_only_if_it_is_still_the_expected_one(storage: &dyn Storage) {
    let user = sample_user();
    storage.add_user(&user).await.unwrap();
    let hash = |text: &str| PasswordHash::stored(text.to_owned());
    let (one, two, three) = (user.password.clone().unwrap(), hash("two"), hash("three"));
    assert!(storage.set_password(user.id, Some(&one), &two).await.unwrap());
    assert!(!storage.set_password(user.id, Some(&one), &three).await.unwrap());
    assert!(!storage.set_password(user.id, None, &three).await.unwrap());
    assert_eq!(storage.user(user.id).await.unwrap().unwrap().password, Some(two));
    let without = User { password: None, ..sample_user() };
    storage.add_user(&without).await.unwrap();
    assert!(storage.set_password(without.id, None, &one).await.unwrap());
    assert!(!storage.set_password(sample_user().id, None, &one).await.unwrap());
}

async fn users_and_clients_are_listed_in_order(storage: &dyn Storage) {
    let mut users: Vec<User> = std::iter::repeat_with(sample_user).take(3).collect();
    users.sort_by(|one, other| one.name.cmp(&other.name));
    for user in users.iter().rev() {
        storage.add_user(user).await.unwrap();
    }
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = storage.users(after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        assert!(page.len() <= 2);
        found.extend(page.into_iter().filter(|user| users.contains(user)));
    }
    assert_eq!(found, users);

    let mut clients: Vec<_> = std::iter::repeat_with(sample_client).take(3).collect();
    clients.sort_by(|one, other| one.id.cmp(&other.id));
    for client in &clients {
        storage.put_client(client).await.unwrap();
    }
    let after = storage.clients(Some(&clients[0].id), 1000).await.unwrap();
    let ours: Vec<_> = after.into_iter().filter(|client| clients.contains(client)).collect();
    assert_eq!(ours, clients[1..]);
    assert!(storage.clients(None, 1).await.unwrap().len() == 1);
}

async fn removing_a_user_or_client_removes_everything_of_theirs(storage: &dyn Storage) {
    let (user, other, client) = (sample_user(), sample_user(), sample_client());
    storage.add_user(&user).await.unwrap();
    storage.put_client(&client).await.unwrap();
    let (grant, browser) = (sample_grant(&user, &client), sample_browser(&user));
    let kept = sample_grant(&other, &client);
    storage.add_grant(&grant, None).await.unwrap();
    storage.add_grant(&kept, None).await.unwrap();
    storage.add_session(&browser).await.unwrap();
    storage.set_consent(user.id, &client.id, &client.scope).await.unwrap();
    assert!(storage.remove_user(user.id).await.unwrap() && !storage.remove_user(user.id).await.unwrap());
    assert_eq!(storage.user_named(&user.name).await.unwrap(), None);
    assert_eq!(storage.grant(grant.id).await.unwrap(), None);
    assert_eq!(storage.session_of_cookie(browser.cookie, at(0)).await.unwrap(), None);
    assert_eq!(storage.consent(user.id, &client.id).await.unwrap(), None);
    assert_eq!(storage.grant(kept.id).await.unwrap(), Some(kept.clone()));

    let device = sample_device(&client);
    storage.add_device(&device, at(0)).await.unwrap();
    storage.set_consent(other.id, &client.id, &client.scope).await.unwrap();
    assert!(
        storage.remove_client(&client.id).await.unwrap() && !storage.remove_client(&client.id).await.unwrap()
    );
    assert_eq!(storage.client(&client.id).await.unwrap(), None);
    assert_eq!(storage.grant(kept.id).await.unwrap(), None);
    assert_eq!(storage.device(&device.user_code).await.unwrap(), None);
    assert_eq!(storage.consent(other.id, &client.id).await.unwrap(), None);
}

async fn clients_are_stored_and_replaced(storage: &dyn Storage) {
    let mut client = sample_client();
    assert_eq!(storage.client(&client.id).await.unwrap(), None);
    storage.put_client(&client).await.unwrap();
    assert_eq!(storage.client(&client.id).await.unwrap().as_ref(), Some(&client));
    client.kind = ClientKind::Public;
    storage.put_client(&client).await.unwrap();
    assert_eq!(storage.client(&client.id).await.unwrap(), Some(client));
}

async fn api_tokens_belong_to_their_users(storage: &dyn Storage) {
    let (user, other) = (sample_user(), sample_user());
    storage.add_user(&user).await.unwrap();
    let (one, two) = (sample_token(&user, 1), sample_token(&user, 2));
    storage.add_api_token(&one).await.unwrap();
    storage.add_api_token(&two).await.unwrap();
    assert_eq!(storage.api_token(one.digest).await.unwrap().as_ref(), Some(&one));
    assert_eq!(storage.api_token(digest()).await.unwrap(), None);
    assert_eq!(storage.api_tokens_of(user.id).await.unwrap(), [two.clone(), one.clone()]);
    assert!(!storage.remove_api_token(other.id, one.id).await.unwrap());
    assert!(storage.remove_api_token(user.id, one.id).await.unwrap());
    assert!(!storage.remove_api_token(user.id, one.id).await.unwrap());
    assert_eq!(storage.api_tokens_of(user.id).await.unwrap(), std::slice::from_ref(&two));
    storage.remove_user(user.id).await.unwrap();
    assert_eq!(storage.api_token(two.digest).await.unwrap(), None);
}

async fn the_audit_log_is_read_newest_first(storage: &dyn Storage) {
    let entry = |seconds, event| AuditEntry {
        at: at(seconds),
        event,
        user: Some(sample_user().id),
        client: None,
        by: Some("root".to_owned()),
        peer: "2001:db8::1".parse().ok(),
    };
    let entries = [
        entry(1, AuditEvent::SignedIn),
        entry(2, AuditEvent::SignInFailed { in_a_row: 7 }),
        entry(3, AuditEvent::KeyRotated { kid: "k".to_owned() }),
    ];
    for entry in &entries {
        storage.add_audit_entry(entry).await.unwrap();
    }
    let newest = storage.audit_log(None, 2).await.unwrap();
    assert_eq!(newest.iter().map(|(_, entry)| entry).collect::<Vec<_>>(), [&entries[2], &entries[1]]);
    assert!(newest[0].0 > newest[1].0);
    let before = storage.audit_log(Some(newest[1].0), 1).await.unwrap();
    assert_eq!(before[0].1, entries[0]);
}
