//! API tokens: made, used, expired, removed.

use jiff::Timestamp;
use mgx_oauth2::{ApiTokenError, MAX_API_TOKENS_PER_USER, User};
use secrecy::ExposeSecret as _;

use crate::fixture::Fixture;

#[tokio::test]
async fn a_token_is_valid_until_it_expires_or_is_removed() {
    let fixture = Fixture::new().await;
    let (ann, end) = (fixture.ann.id, Timestamp::from_second(fixture.now() + 100).unwrap());
    let scope = || "api".parse().unwrap();
    let (stored, text) = fixture
        .provider
        .administration(None)
        .add_api_token(ann, "my script", scope(), Some(end))
        .await
        .unwrap();
    let text = text.expose_secret().to_owned();
    assert!(text.starts_with("mgx_pat_") && text.len() == 8 + 43);
    let (user, token) = fixture.provider.api_token(&text).await.unwrap().unwrap();
    assert_eq!((user.id, &token, token.scope.to_string()), (ann, &stored, "api".to_owned()));
    for wrong in ["", "mgx_pat_", &text[1..], &format!("{text}x"), &text.to_uppercase()] {
        assert_eq!(fixture.provider.api_token(wrong).await.unwrap(), None, "{wrong}");
    }
    assert!(!fixture.storage_text().contains(&text[8..]), "only its hash is kept");
    fixture.pass(100);
    assert_eq!(fixture.provider.api_token(&text).await.unwrap(), None);

    let (stored, text) =
        fixture.provider.administration(None).add_api_token(ann, "for ever", scope(), None).await.unwrap();
    let counts = async || fixture.provider.api_token(text.expose_secret()).await.unwrap().is_some();
    assert!(counts().await);
    fixture
        .provider
        .administration(None)
        .change_user(&User { disabled: true, ..fixture.ann.clone() })
        .await
        .unwrap();
    assert!(!counts().await, "a user who is disabled has none");
    fixture.provider.administration(None).change_user(&fixture.ann).await.unwrap();
    assert!(counts().await);
    assert!(fixture.provider.administration(None).remove_api_token(ann, stored.id).await.unwrap());
    assert!(
        !counts().await
            && !fixture.provider.administration(None).remove_api_token(ann, stored.id).await.unwrap()
    );
}

#[tokio::test]
async fn a_user_has_at_most_a_hundred() {
    let fixture = Fixture::new().await;
    let add = async || {
        fixture
            .provider
            .administration(None)
            .add_api_token(fixture.ann.id, "x", "api".parse().unwrap(), None)
            .await
    };
    for _ in 0..MAX_API_TOKENS_PER_USER {
        add().await.unwrap();
    }
    assert!(matches!(add().await, Err(ApiTokenError::TooMany)));
    let nameless = fixture
        .provider
        .administration(None)
        .add_api_token(fixture.ann.id, "", "api".parse().unwrap(), None)
        .await;
    assert!(matches!(nameless, Err(ApiTokenError::Name)));
}
