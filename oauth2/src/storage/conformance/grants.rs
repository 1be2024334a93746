//! The promises of a storage about grants, codes and refresh tokens.

use futures_util::future::{join, join3};

use crate::grants::authorization_code::CodeRedemption;
use crate::grants::grant::{Grant, GrantFilter, RefreshOutcome};
use crate::grants::refresh_token::{ReplacedRefreshToken, StoredRefreshToken};
use crate::storage::Storage;
use crate::storage::conformance::samples::{
    at, digest, random, sample_browser, sample_client, sample_code, sample_device, sample_grant,
    sample_refresh, sample_user,
};

pub(super) async fn run(storage: &dyn Storage) {
    a_code_is_valid_once(storage).await;
    a_refresh_token_is_valid_once(storage).await;
    a_bound_refresh_token_is_valid_with_its_key_only(storage).await;
    a_used_refresh_token_may_be_used_again_for_a_while(storage).await;
    a_revoked_grant_cannot_be_extended(storage).await;
    exactly_the_selected_grants_are_revoked(storage).await;
    revoked_tokens_are_stored_until_they_expire(storage).await;
    consent_is_stored(storage).await;
    expired_records_are_deleted(storage).await;
}

/// A code that is sent to both processes is valid once; so is a refresh token, and its second use revokes the grant.
pub(super) async fn once_on_two(one: &dyn Storage, other: &dyn Storage) {
    for _ in 0..10 {
        let (grant, ended) = (grant(), grant());
        let (code, refresh) = (sample_code(&grant), ended.refresh.unwrap());
        one.add_grant(&grant, Some(&code)).await.unwrap();
        other.add_grant(&ended, None).await.unwrap();
        let shown = join(one.redeem_code(code.digest, at(1)), other.redeem_code(code.digest, at(1))).await;
        let firsts =
            [shown.0, shown.1].into_iter().filter(|shown| matches!(shown, Ok(CodeRedemption::First(..))));
        assert_eq!(firsts.count(), 1);
        let next = StoredRefreshToken { current: digest(), ..refresh };
        let turns = join(
            one.rotate_refresh_token(refresh.family, refresh.current, &ended.client, next, at(1)),
            other.rotate_refresh_token(refresh.family, refresh.current, &ended.client, next, at(1)),
        )
        .await;
        let both = [turns.0.unwrap(), turns.1.unwrap()];
        assert_eq!(
            both.iter().filter(|turn| matches!(turn, RefreshOutcome::Rotated(_))).count(),
            1,
            "{both:?}"
        );
        assert!(other.grant(ended.id).await.unwrap().unwrap().revoked_at.is_some());
    }
}

fn grant() -> Grant {
    sample_grant(&sample_user(), &sample_client())
}

async fn a_code_is_valid_once(storage: &dyn Storage) {
    let grant = grant();
    let code = sample_code(&grant);
    storage.add_grant(&grant, Some(&code)).await.unwrap();
    assert_eq!(storage.grant(grant.id).await.unwrap().as_ref(), Some(&grant));
    assert_eq!(storage.redeem_code(digest(), at(0)).await.unwrap(), CodeRedemption::Unknown);
    let CodeRedemption::First(shown, of) = storage.redeem_code(code.digest, at(59)).await.unwrap() else {
        panic!("first")
    };
    assert_eq!(
        (shown.nonce, shown.challenge, of),
        (code.nonce.clone(), code.challenge.clone(), grant.clone())
    );
    let CodeRedemption::Replayed(of) = storage.redeem_code(code.digest, at(61)).await.unwrap() else {
        panic!("replayed")
    };
    assert_eq!((of.id, of.revoked_at), (grant.id, Some(at(61))));
    assert_eq!(storage.grant(grant.id).await.unwrap().unwrap().revoked_at, Some(at(61)));
    assert!(!storage.extend_grant(grant.id, at(100), None).await.unwrap());

    let grant = self::grant();
    let late = sample_code(&grant);
    storage.add_grant(&grant, Some(&late)).await.unwrap();
    assert_eq!(storage.redeem_code(late.digest, at(60)).await.unwrap(), CodeRedemption::Unknown);

    let grant = self::grant();
    let code = sample_code(&grant);
    storage.add_grant(&grant, Some(&code)).await.unwrap();
    let show = || storage.redeem_code(code.digest, at(1));
    let (one, two, three) = join3(show(), show(), show()).await;
    let firsts = [one, two, three].into_iter().filter(|shown| matches!(shown, Ok(CodeRedemption::First(..))));
    assert_eq!(firsts.count(), 1, "however many ask at the same time");
}

async fn a_refresh_token_is_valid_once(storage: &dyn Storage) {
    let grant = Grant { refresh: None, ..grant() };
    storage.add_grant(&grant, None).await.unwrap();
    let first = sample_refresh();
    assert_eq!(storage.grant_of_refresh_token(first.family).await.unwrap(), None);
    assert!(storage.extend_grant(grant.id, at(3600), Some(first)).await.unwrap());
    assert_eq!(storage.grant_of_refresh_token(first.family).await.unwrap().unwrap().refresh, Some(first));

    let next = |expires_at| StoredRefreshToken { current: digest(), expires_at, ..first };
    let turn = |turn, client, next, now| storage.rotate_refresh_token(first.family, turn, client, next, now);
    let second = next(at(9000));
    let others = sample_client();
    assert_eq!(
        turn(first.current, &others.id, second, at(1)).await.unwrap(),
        RefreshOutcome::Unknown,
        "another client"
    );
    assert_eq!(
        turn(first.current, &grant.client, second, at(1800)).await.unwrap(),
        RefreshOutcome::Unknown,
        "unused too long"
    );
    let unknown =
        storage.rotate_refresh_token(digest(), first.current, &grant.client, second, at(1)).await.unwrap();
    assert_eq!(unknown, RefreshOutcome::Unknown, "another family");
    let RefreshOutcome::Rotated(turned) = turn(first.current, &grant.client, second, at(1799)).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(
        turned.refresh,
        Some(StoredRefreshToken { expires_at: at(3600), ..second }),
        "no longer than its grant"
    );
    assert_eq!(storage.grant_of_refresh_token(first.family).await.unwrap(), Some(turned));

    let show = || turn(second.current, &grant.client, next(at(3600)), at(1800));
    let (one, two) = join(show(), show()).await;
    let both = [one.unwrap(), two.unwrap()];
    assert_eq!(both.iter().filter(|turn| matches!(turn, RefreshOutcome::Rotated(_))).count(), 1, "{both:?}");
    assert_eq!(both.iter().filter(|turn| matches!(turn, RefreshOutcome::Reused(_))).count(), 1, "{both:?}");
    let dead = storage.grant(grant.id).await.unwrap().unwrap();
    assert_eq!(dead.revoked_at, Some(at(1800)));
    let last = dead.refresh.unwrap().current;
    assert_eq!(turn(last, &grant.client, next(at(3600)), at(1801)).await.unwrap(), RefreshOutcome::Unknown);
}

async fn a_bound_refresh_token_is_valid_with_its_key_only(storage: &dyn Storage) {
    let bound = StoredRefreshToken { key: Some(digest()), ..sample_refresh() };
    let grant = Grant { refresh: Some(bound), ..grant() };
    storage.add_grant(&grant, None).await.unwrap();
    for key in [None, Some(digest())] {
        let next = StoredRefreshToken { current: digest(), key, ..bound };
        let turn = storage
            .rotate_refresh_token(bound.family, bound.current, &grant.client, next, at(1))
            .await
            .unwrap();
        assert_eq!(turn, RefreshOutcome::Unknown);
    }
    let next = StoredRefreshToken { current: digest(), ..bound };
    let turn =
        storage.rotate_refresh_token(bound.family, bound.current, &grant.client, next, at(1)).await.unwrap();
    assert!(matches!(turn, RefreshOutcome::Rotated(_)));
}

async fn a_used_refresh_token_may_be_used_again_for_a_while(storage: &dyn Storage) {
    let grant = grant();
    let first = grant.refresh.unwrap();
    storage.add_grant(&grant, None).await.unwrap();
    let turn = |token, next| storage.rotate_refresh_token(first.family, token, &grant.client, next, at(1));
    // as two tabs of a browser may do it
    let next = || {
        let current = digest();
        let replaced = ReplacedRefreshToken { token: first.current, first_answer: current, until: at(31) };
        StoredRefreshToken { current, replaced: Some(replaced), ..first }
    };
    let (one, two) = (next(), next());
    let both = join(turn(first.current, one), turn(first.current, two)).await;
    for outcome in [both.0.unwrap(), both.1.unwrap()] {
        assert!(matches!(outcome, RefreshOutcome::Rotated(_)), "{outcome:?}");
    }
    let stored = storage.grant(grant.id).await.unwrap().unwrap().refresh.unwrap();
    let first_answer = stored.replaced.unwrap().first_answer;
    let mut known = [first_answer, stored.current];
    let mut both = [one.current, two.current];
    known.sort_by_key(|digest| digest.0);
    both.sort_by_key(|digest| digest.0);
    assert_eq!(known, both, "both answers are known");
    let last = StoredRefreshToken { current: digest(), ..first };
    assert!(matches!(turn(first_answer, last).await.unwrap(), RefreshOutcome::Rotated(_)));
    let last = StoredRefreshToken { current: digest(), ..first };
    assert!(matches!(turn(stored.current, last).await.unwrap(), RefreshOutcome::Reused(_)));
}

async fn a_revoked_grant_cannot_be_extended(storage: &dyn Storage) {
    let grant = grant();
    storage.add_grant(&grant, None).await.unwrap();
    assert_eq!(storage.revoke_grants(&GrantFilter::Grant(grant.id), at(7)).await.unwrap(), [grant.id]);
    assert_eq!(
        storage.revoke_grants(&GrantFilter::Grant(grant.id), at(8)).await.unwrap(),
        [],
        "it was already"
    );
    assert_eq!(storage.grant(grant.id).await.unwrap().unwrap().revoked_at, Some(at(7)));
    assert!(!storage.extend_grant(grant.id, at(100), None).await.unwrap());
    let refresh = grant.refresh.unwrap();
    let turn = storage
        .rotate_refresh_token(refresh.family, refresh.current, &grant.client, sample_refresh(), at(9))
        .await
        .unwrap();
    assert_eq!(turn, RefreshOutcome::Unknown);
    assert!(!storage.extend_grant(self::grant().id, at(100), None).await.unwrap(), "there is no such grant");
}

async fn exactly_the_selected_grants_are_revoked(storage: &dyn Storage) {
    let (ann, bob, one, two) = (sample_user(), sample_user(), sample_client(), sample_client());
    let filter: [fn(&Grant) -> GrantFilter; 4] = [
        |grant| GrantFilter::Session(grant.session.unwrap()),
        |grant| GrantFilter::User(grant.user),
        |grant| GrantFilter::Client(grant.client.clone()),
        |grant| GrantFilter::UserAndClient(grant.user, grant.client.clone()),
    ];
    for filter in filter {
        let mut grants = [(&ann, &one), (&ann, &two), (&bob, &one), (&bob, &two)]
            .map(|(user, client)| sample_grant(user, client));
        grants[0].created_at = at(-1);
        for grant in &grants {
            storage.add_grant(grant, None).await.unwrap();
        }
        let listed: Vec<_> =
            storage.grants_of(ann.id, at(0), 10).await.unwrap().into_iter().map(|grant| grant.id).collect();
        assert_eq!(listed, [grants[1].id, grants[0].id], "newest first");
        assert_eq!(storage.grants_of(ann.id, at(0), 1).await.unwrap().len(), 1);
        assert_eq!(storage.grants_of(ann.id, at(3600), 10).await.unwrap(), []);
        let meant = filter(&grants[0]);
        let mut revoked = storage.revoke_grants(&meant, at(1)).await.unwrap();
        revoked.sort_unstable();
        let mut expected: Vec<_> =
            grants.iter().filter(|grant| grant.matches(&meant)).map(|grant| grant.id).collect();
        expected.sort_unstable();
        assert_eq!(revoked, expected, "{meant:?}");
        for grant in &grants {
            let counts = storage.grant(grant.id).await.unwrap().unwrap().revoked_at.is_none();
            assert_eq!(counts, !grant.matches(&meant), "{meant:?}");
            storage.revoke_grants(&GrantFilter::Grant(grant.id), at(2)).await.unwrap();
        }
    }
}

async fn revoked_tokens_are_stored_until_they_expire(storage: &dyn Storage) {
    let (one, two) = (random().id(), random().id());
    storage.revoke_tokens(&[one, two], at(10)).await.unwrap();
    storage.revoke_tokens(&[two], at(20)).await.unwrap();
    let remembered = async |now| {
        let mut all = storage.revoked_tokens(at(now)).await.unwrap();
        all.retain(|(id, _)| *id == one || *id == two);
        all.sort_by_key(|(_, until)| *until);
        all
    };
    assert_eq!(remembered(9).await, [(one, at(10)), (two, at(20))]);
    assert_eq!(remembered(10).await, [(two, at(20))]);
}

async fn consent_is_stored(storage: &dyn Storage) {
    let (user, client) = (sample_user(), sample_client());
    assert_eq!(storage.consent(user.id, &client.id).await.unwrap(), None);
    for scope in ["openid", "api openid"] {
        let scope = scope.parse().unwrap();
        storage.set_consent(user.id, &client.id, &scope).await.unwrap();
        assert_eq!(storage.consent(user.id, &client.id).await.unwrap(), Some(scope));
    }
    assert_eq!(storage.consent(sample_user().id, &client.id).await.unwrap(), None);
}

async fn expired_records_are_deleted(storage: &dyn Storage) {
    let (user, client) = (sample_user(), sample_client());
    let grant = sample_grant(&user, &client);
    let (code, browser, device) = (sample_code(&grant), sample_browser(&user), sample_device(&client));
    storage.add_grant(&grant, Some(&code)).await.unwrap();
    storage.add_session(&browser).await.unwrap();
    storage.add_device(&device, at(0)).await.unwrap();
    storage.delete_expired(at(600), 1000).await.unwrap();
    assert!(storage.device(&device.user_code).await.unwrap().is_some());
    storage.delete_expired(at(601), 1000).await.unwrap();
    assert!(storage.device(&device.user_code).await.unwrap().is_none());
    assert!(
        storage.grant(grant.id).await.unwrap().is_some(),
        "its code is kept as long: it may be shown again"
    );
    assert!(matches!(storage.redeem_code(code.digest, at(59)).await.unwrap(), CodeRedemption::First(..)));
    while storage.delete_expired(at(3601), 1000).await.unwrap() > 0 {}
    assert!(storage.grant(grant.id).await.unwrap().is_none());
    assert_eq!(storage.redeem_code(code.digest, at(59)).await.unwrap(), CodeRedemption::Unknown);
    assert_eq!(storage.sessions_of(user.id, at(0), 10).await.unwrap(), []);
}
