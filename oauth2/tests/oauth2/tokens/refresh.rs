//! Refresh tokens: each valid once; reuse revokes the grant.

use mgx_oauth2::AuditEvent;
use serde_json::Value;

use crate::fixture::Fixture;

fn text<'a>(tokens: &'a Value, name: &str) -> &'a str {
    tokens[name].as_str().unwrap_or_else(|| panic!("no {name}: {tokens}"))
}

const DAY: i64 = 86_400;

#[tokio::test]
async fn a_refresh_token_is_replaced_at_each_use() {
    let fixture = Fixture::new().await;
    let first = fixture.tokens().await;
    let second = fixture.refresh("web", text(&first, "refresh_token")).await.json();
    assert_ne!(text(&first, "refresh_token"), text(&second, "refresh_token"));
    let verifier = fixture.provider.verifier("mgx");
    let (one, other) =
        (verifier.verify(text(&first, "access_token")), verifier.verify(text(&second, "access_token")));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((one.grant, &one.subject), (other.grant, &other.subject));
    assert_ne!(one.token, other.token);
    assert!(second["id_token"].is_string());
    fixture.refresh("web", text(&second, "refresh_token")).await.json();
}

#[tokio::test]
async fn reuse_of_a_refresh_token_revokes_its_family() {
    let fixture = Fixture::new().await;
    let first = fixture.tokens().await;
    let second = fixture.refresh("web", text(&first, "refresh_token")).await.json();
    let third = fixture.refresh("web", text(&second, "refresh_token")).await.json();
    let verifier = fixture.provider.verifier("mgx");
    assert!(verifier.verify(text(&third, "access_token")).is_ok());

    let invalid = (400, "invalid_grant".to_owned());
    assert_eq!(fixture.refresh("web", text(&first, "refresh_token")).await.error(), invalid);
    assert_eq!(
        fixture.refresh("web", text(&third, "refresh_token")).await.error(),
        invalid,
        "the newest is dead too"
    );
    for tokens in [&first, &second, &third] {
        assert!(verifier.verify(text(tokens, "access_token")).is_err(), "and every access token");
    }
    let reused = |event: &&AuditEvent| matches!(event, AuditEvent::RefreshReused { .. });
    assert_eq!(fixture.audit().await.iter().filter(reused).count(), 1, "told once");
    assert!(fixture.restarted().await.verify(text(&third, "access_token")).is_err());
}

/// The tokens in the answer to a use of a refresh token.
async fn renew(fixture: &Fixture, tokens: &Value) -> Value {
    let answer = fixture.refresh("web", text(tokens, "refresh_token")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

#[tokio::test]
async fn a_used_refresh_token_may_be_used_again_if_the_answer_was_lost() {
    let fixture = Fixture::new().await;
    let first = fixture.tokens().await;
    renew(&fixture, &first).await;
    fixture.pass(15);
    renew(&fixture, &first).await;
    fixture.pass(14);
    let third = renew(&fixture, &first).await;
    fixture.pass(3600);
    let fourth = renew(&fixture, &third).await;
    renew(&fixture, &fourth).await;
    let reused = |event: &AuditEvent| matches!(event, AuditEvent::RefreshReused { .. });
    assert!(!fixture.audit().await.iter().any(reused));
    // the time is that of the first use, and does not begin anew
    let first = fixture.tokens().await;
    renew(&fixture, &first).await;
    fixture.pass(29);
    let late = renew(&fixture, &first).await;
    fixture.pass(1);
    let invalid = (400, "invalid_grant".to_owned());
    assert_eq!(fixture.refresh("web", text(&first, "refresh_token")).await.error(), invalid);
    assert_eq!(fixture.refresh("web", text(&late, "refresh_token")).await.error(), invalid, "it has leaked");
}

#[tokio::test]
async fn two_tabs_may_refresh_at_once_and_go_on_with_either_answer() {
    for kept in [0, 1] {
        let fixture = Fixture::new().await;
        let first = fixture.tokens().await;
        let token = text(&first, "refresh_token");
        let (one, other) = tokio::join!(fixture.refresh("web", token), fixture.refresh("web", token));
        let both = [one.json(), other.json()];
        fixture.pass(600);
        let next = renew(&fixture, &both[kept]).await;
        // the other one now is a stolen one
        let theirs = text(&both[1 - kept], "refresh_token");
        assert_eq!(fixture.refresh("web", theirs).await.error(), (400, "invalid_grant".into()));
        let ours = text(&next, "refresh_token");
        assert_eq!(fixture.refresh("web", ours).await.error(), (400, "invalid_grant".into()));
    }
}

#[tokio::test]
async fn a_thief_is_noticed_at_the_next_use_in_either_order() {
    let verifier = |fixture: &Fixture| fixture.provider.verifier("mgx");
    for thief_first in [false, true] {
        let fixture = Fixture::new().await;
        let stolen = fixture.tokens().await;
        let (one, other) = (renew(&fixture, &stolen).await, renew(&fixture, &stolen).await);
        let (first, second) = if thief_first { (other, one) } else { (one, other) };
        let next = renew(&fixture, &first).await;
        // the token before is dead at once, although its time is not over
        let answer = fixture.refresh("web", text(&stolen, "refresh_token")).await;
        assert_eq!(answer.error(), (400, "invalid_grant".into()));
        for tokens in [&stolen, &first, &second, &next] {
            assert!(verifier(&fixture).verify(text(tokens, "access_token")).is_err());
        }
    }
    let fixture = Fixture::new().await;
    let stolen = fixture.tokens().await;
    renew(&fixture, &stolen).await;
    for client in ["other", "tool"] {
        let answer = fixture.refresh(client, text(&stolen, "refresh_token")).await;
        assert_eq!(answer.error(), (400, "invalid_grant".into()), "{client}: for its own client only");
    }
    renew(&fixture, &stolen).await;
}

#[tokio::test]
async fn without_a_grace_one_of_two_concurrent_uses_succeeds_and_the_family_is_revoked() {
    let fixture = Fixture::with(|settings| settings.refresh_grace = jiff::SignedDuration::ZERO).await;
    let first = fixture.tokens().await;
    let token = text(&first, "refresh_token");
    let (one, other) = tokio::join!(fixture.refresh("web", token), fixture.refresh("web", token));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
    let won = if one.status == 200 { one.json() } else { other.json() };
    let next = fixture.refresh("web", text(&won, "refresh_token")).await;
    assert_eq!(next.error(), (400, "invalid_grant".into()));
}

#[tokio::test]
async fn a_refresh_token_expires_after_a_week_unused_and_a_month_in_all() {
    let fixture = Fixture::new().await;
    let mut tokens = fixture.tokens().await;
    fixture.pass(7 * DAY);
    assert_eq!(
        fixture.refresh("web", text(&tokens, "refresh_token")).await.error(),
        (400, "invalid_grant".into())
    );

    tokens = fixture.tokens().await;
    for _ in 0..4 {
        fixture.pass(7 * DAY - 1);
        let answer = fixture.refresh("web", text(&tokens, "refresh_token")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        tokens = answer.json();
    }
    fixture.pass(2 * DAY + 4);
    let last = fixture.refresh("web", text(&tokens, "refresh_token")).await;
    assert_eq!(last.error(), (400, "invalid_grant".into()));
}

#[tokio::test]
async fn a_refresh_token_is_valid_for_its_client_and_never_widens_the_scope() {
    let fixture = Fixture::new().await;
    let tokens = fixture.tokens().await;
    let token = text(&tokens, "refresh_token");
    for client in ["other", "tool"] {
        assert_eq!(fixture.refresh(client, token).await.error(), (400, "invalid_grant".into()), "{client}");
    }
    let ask = |scope| [("grant_type", "refresh_token"), ("refresh_token", token), ("scope", scope)];
    for more in ["openid email", "openid profile api", "\"", "admin"] {
        let answer = fixture.post_as("web", "/oauth2/token", &ask(more)).await;
        assert_eq!(answer.error(), (400, "invalid_scope".into()), "{more}");
    }
    let less = fixture.post_as("web", "/oauth2/token", &ask("openid")).await.json();
    assert_eq!(less["scope"], "openid", "and what was refused has not used it up");
    let back = fixture.refresh("web", text(&less, "refresh_token")).await.json();
    assert_eq!(back["scope"], "openid profile", "the grant is what it was");
    for nonsense in
        ["x", "mgx_rt_", "mgx_rt_a.b", &token[..token.len() - 1], &format!("{token}x"), "mgx_rt_é"]
    {
        assert_eq!(
            fixture.refresh("web", nonsense).await.error(),
            (400, "invalid_grant".into()),
            "{nonsense}"
        );
    }
}

#[tokio::test]
async fn a_client_that_is_registered_for_less_is_given_less_at_once() {
    let fixture = Fixture::new().await;
    let first = fixture.tokens().await;
    let web = "web".parse().unwrap();
    let change = mgx_oauth2::ClientChange { scope: "openid email".parse().ok(), ..Default::default() };
    fixture.provider.administration(None).change_client(&web, change).await.unwrap();
    let second = renew(&fixture, &first).await;
    assert_eq!(second["scope"], "openid");
    assert!(crate::fixture::claims(&second["id_token"]).get("name").is_none());
    let grants = std::collections::BTreeSet::from([mgx_oauth2::GrantType::AuthorizationCode]);
    let change = mgx_oauth2::ClientChange { grants: Some(grants), ..Default::default() };
    fixture.provider.administration(None).change_client(&web, change).await.unwrap();
    let answer = fixture.refresh("web", text(&second, "refresh_token")).await;
    assert_eq!(answer.error(), (400, "unauthorized_client".into()));
}

#[tokio::test]
async fn no_token_is_stored() {
    let fixture = Fixture::new().await;
    let tokens = fixture.tokens().await;
    let stored = fixture.storage_text();
    let (family, turn) =
        text(&tokens, "refresh_token").strip_prefix("mgx_rt_").unwrap().split_once('.').unwrap();
    let secret = fixture.secrets["web"].clone();
    for canary in [family, turn, &secret, crate::fixture::ANN, text(&tokens, "access_token")] {
        assert!(!stored.contains(canary));
    }
}

#[tokio::test]
async fn a_disabled_user_is_issued_no_tokens() {
    let fixture = Fixture::new().await;
    let tokens = fixture.tokens().await;
    let disabled = mgx_oauth2::User { disabled: true, ..fixture.ann.clone() };
    fixture.provider.administration(None).change_user(&disabled).await.unwrap();
    assert_eq!(
        fixture.refresh("web", text(&tokens, "refresh_token")).await.error(),
        (400, "invalid_grant".into())
    );
    assert!(fixture.provider.verifier("mgx").verify(text(&tokens, "access_token")).is_err());
    let answer = fixture.browser().try_sign_in("ann", crate::fixture::ANN).await;
    assert_eq!(answer.status, 401);
}
