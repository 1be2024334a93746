//! API tokens: somebody's own, for as long as they like.

use jiff::Timestamp;
use mgx_oauth2::{ApiTokenError, MOST_API_TOKENS, User};
use secrecy::ExposeSecret as _;

use crate::house::House;

#[tokio::test]
async fn a_token_is_good_for_its_scope_until_it_ends_or_is_taken_back() {
    let house = House::new().await;
    let (ann, end) = (house.ann.id, Timestamp::from_second(house.now() + 100).unwrap());
    let scope = || "api".parse().unwrap();
    let (stored, text) =
        house.provider.actor(None).add_api_token(ann, "my script", scope(), Some(end)).await.unwrap();
    let text = text.expose_secret().to_owned();
    assert!(text.starts_with("mgx_pat_") && text.len() == 8 + 43);
    let (user, token) = house.provider.api_token(&text).await.unwrap().unwrap();
    assert_eq!((user.id, &token, token.scope.to_string()), (ann, &stored, "api".to_owned()));
    for wrong in ["", "mgx_pat_", &text[1..], &format!("{text}x"), &text.to_uppercase()] {
        assert_eq!(house.provider.api_token(wrong).await.unwrap(), None, "{wrong}");
    }
    assert!(!house.storage_text().contains(&text[8..]), "only its hash is kept");
    house.pass(100);
    assert_eq!(house.provider.api_token(&text).await.unwrap(), None);

    let (stored, text) =
        house.provider.actor(None).add_api_token(ann, "for ever", scope(), None).await.unwrap();
    let counts = async || house.provider.api_token(text.expose_secret()).await.unwrap().is_some();
    assert!(counts().await);
    house.provider.actor(None).change_user(&User { disabled: true, ..house.ann.clone() }).await.unwrap();
    assert!(!counts().await, "a user who is disabled has none");
    house.provider.actor(None).change_user(&house.ann).await.unwrap();
    assert!(counts().await);
    assert!(house.provider.actor(None).remove_api_token(ann, stored.id).await.unwrap());
    assert!(!counts().await && !house.provider.actor(None).remove_api_token(ann, stored.id).await.unwrap());
}

#[tokio::test]
async fn nobody_has_more_than_a_hundred() {
    let house = House::new().await;
    let add = async || {
        house.provider.actor(None).add_api_token(house.ann.id, "x", "api".parse().unwrap(), None).await
    };
    for _ in 0..MOST_API_TOKENS {
        add().await.unwrap();
    }
    assert!(matches!(add().await, Err(ApiTokenError::TooMany)));
    let nameless =
        house.provider.actor(None).add_api_token(house.ann.id, "", "api".parse().unwrap(), None).await;
    assert!(matches!(nameless, Err(ApiTokenError::Name)));
}
