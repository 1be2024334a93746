//! Refresh tokens: each good once; one that is used again ends all of its family.

use mgx_oauth2::AuditEvent;
use serde_json::Value;

use crate::house::House;

fn text<'a>(tokens: &'a Value, name: &str) -> &'a str {
    tokens[name].as_str().unwrap_or_else(|| panic!("no {name}: {tokens}"))
}

const DAY: i64 = 86_400;

#[tokio::test]
async fn a_refresh_token_is_changed_for_the_next() {
    let house = House::new().await;
    let first = house.tokens().await;
    let second = house.refresh("web", text(&first, "refresh_token")).await.json();
    assert_ne!(text(&first, "refresh_token"), text(&second, "refresh_token"));
    let verifier = house.provider.verifier("mgx");
    let (one, other) =
        (verifier.verify(text(&first, "access_token")), verifier.verify(text(&second, "access_token")));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((one.grant, &one.subject), (other.grant, &other.subject));
    assert_ne!(one.token, other.token);
    assert!(second["id_token"].is_string());
    house.refresh("web", text(&second, "refresh_token")).await.json();
}

#[tokio::test]
async fn a_refresh_token_that_is_used_again_ends_its_family() {
    let house = House::new().await;
    let first = house.tokens().await;
    let second = house.refresh("web", text(&first, "refresh_token")).await.json();
    let third = house.refresh("web", text(&second, "refresh_token")).await.json();
    let verifier = house.provider.verifier("mgx");
    assert!(verifier.verify(text(&third, "access_token")).is_ok());

    let invalid = (400, "invalid_grant".to_owned());
    assert_eq!(house.refresh("web", text(&first, "refresh_token")).await.error(), invalid);
    assert_eq!(
        house.refresh("web", text(&third, "refresh_token")).await.error(),
        invalid,
        "the newest is dead too"
    );
    for tokens in [&first, &second, &third] {
        assert!(verifier.verify(text(tokens, "access_token")).is_err(), "and every access token");
    }
    let reused = |event: &&AuditEvent| matches!(event, AuditEvent::RefreshReused { .. });
    assert_eq!(house.audit().await.iter().filter(reused).count(), 1, "told once");
    assert!(house.restarted().await.verify(text(&third, "access_token")).is_err());
}

#[tokio::test]
async fn of_two_at_once_one_wins_and_the_family_is_dead() {
    let house = House::new().await;
    let first = house.tokens().await;
    let token = text(&first, "refresh_token");
    let (one, other) = tokio::join!(house.refresh("web", token), house.refresh("web", token));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
    let won = if one.status == 200 { one.json() } else { other.json() };
    let next = house.refresh("web", text(&won, "refresh_token")).await;
    assert_eq!(next.error(), (400, "invalid_grant".into()));
}

#[tokio::test]
async fn a_refresh_token_lives_a_week_unused_and_a_month_in_all() {
    let house = House::new().await;
    let mut tokens = house.tokens().await;
    house.pass(7 * DAY);
    assert_eq!(
        house.refresh("web", text(&tokens, "refresh_token")).await.error(),
        (400, "invalid_grant".into())
    );

    tokens = house.tokens().await;
    for _ in 0..4 {
        house.pass(7 * DAY - 1);
        let answer = house.refresh("web", text(&tokens, "refresh_token")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        tokens = answer.json();
    }
    house.pass(2 * DAY + 4);
    let last = house.refresh("web", text(&tokens, "refresh_token")).await;
    assert_eq!(last.error(), (400, "invalid_grant".into()));
}

#[tokio::test]
async fn a_refresh_token_is_its_clients_alone_and_gives_no_more_than_before() {
    let house = House::new().await;
    let tokens = house.tokens().await;
    let token = text(&tokens, "refresh_token");
    for client in ["other", "tool"] {
        assert_eq!(house.refresh(client, token).await.error(), (400, "invalid_grant".into()), "{client}");
    }
    let ask = |scope| [("grant_type", "refresh_token"), ("refresh_token", token), ("scope", scope)];
    for more in ["openid email", "openid profile api", "\"", "admin"] {
        let answer = house.post_as("web", "/oauth2/token", &ask(more)).await;
        assert_eq!(answer.error(), (400, "invalid_scope".into()), "{more}");
    }
    let less = house.post_as("web", "/oauth2/token", &ask("openid")).await.json();
    assert_eq!(less["scope"], "openid", "and what was refused has not used it up");
    let back = house.refresh("web", text(&less, "refresh_token")).await.json();
    assert_eq!(back["scope"], "openid profile", "the grant is what it was");
    for nonsense in
        ["x", "mgx_rt_", "mgx_rt_a.b", &token[..token.len() - 1], &format!("{token}x"), "mgx_rt_é"]
    {
        assert_eq!(house.refresh("web", nonsense).await.error(), (400, "invalid_grant".into()), "{nonsense}");
    }
}

#[tokio::test]
async fn nothing_that_is_stored_is_a_token() {
    let house = House::new().await;
    let tokens = house.tokens().await;
    let stored = house.storage_text();
    let (family, turn) =
        text(&tokens, "refresh_token").strip_prefix("mgx_rt_").unwrap().split_once('.').unwrap();
    let secret = house.secrets["web"].clone();
    for canary in [family, turn, &secret, crate::house::ANN, text(&tokens, "access_token")] {
        assert!(!stored.contains(canary));
    }
}

#[tokio::test]
async fn a_user_who_is_disabled_gets_nothing_any_more() {
    let house = House::new().await;
    let tokens = house.tokens().await;
    let disabled = mgx_oauth2::User { disabled: true, ..house.ann.clone() };
    house.provider.actor(None).change_user(&disabled).await.unwrap();
    assert_eq!(
        house.refresh("web", text(&tokens, "refresh_token")).await.error(),
        (400, "invalid_grant".into())
    );
    assert!(house.provider.verifier("mgx").verify(text(&tokens, "access_token")).is_err());
    let answer = house.browser().try_sign_in("ann", crate::house::ANN).await;
    assert_eq!(answer.status, 401);
}
