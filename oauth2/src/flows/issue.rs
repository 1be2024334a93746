//! Issuing access tokens (RFC 9068) and id tokens (OpenID Connect Core section 2).

use std::collections::BTreeSet;

use serde::Serialize;

use crate::accounts::user::User;
use crate::base::ids::{SessionId, TokenId, UserId};
use crate::base::scope::{GROUPS, OPENID, PROFILE, Scope};
use crate::base::signing_algorithm::SigningAlgorithm;
use crate::clients::client::Client;
use crate::flows::user_claims::UserClaims;
use crate::grants::grant::Grant;
use crate::grants::refresh_token::RefreshToken;
use crate::provider::Provider;
use crate::tokens::access_token::{AccessTokenClaims, Confirmation};
use crate::tokens::dpop::Thumbprint;
use crate::tokens::jws::{self, TokenType};

/// A token response (RFC 6749 section 5.1).
#[derive(Debug, Serialize)]
pub struct TokenResponse {
    /// An access token (RFC 9068).
    pub access_token: String,
    /// `Bearer`, or `DPoP` if the access token is bound to a key (RFC 9449 section 5).
    pub token_type: &'static str,
    /// The lifetime of the access token, in seconds.
    pub expires_in: i64,
    /// A refresh token, if the client has that grant type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// An id token, with scope `openid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
    /// The scope of the access token.
    pub scope: Scope,
}

/// The claims of an id token.
#[derive(Serialize)]
struct IdClaims<'a> {
    iss: &'a str,
    sub: UserId,
    aud: &'a str,
    exp: i64,
    iat: i64,
    auth_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<SessionId>,
    /// Most clients look here and not at userinfo.
    #[serde(flatten)]
    user: UserClaims,
}

/// A grant with its client and user, for which tokens are issued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UserGrant<'a> {
    pub(crate) client: &'a Client,
    pub(crate) user: &'a User,
    pub(crate) grant: &'a Grant,
}

impl Provider {
    /// Issues the tokens of a user's grant.
    pub(crate) fn issue_user_tokens(
        &self,
        user_grant: UserGrant<'_>,
        scope: Scope,
        nonce: Option<&str>,
        refresh: Option<&RefreshToken>,
        key: Option<&Thumbprint>,
    ) -> TokenResponse {
        let id_token = scope.has(OPENID).then(|| self.id_token(user_grant, &scope, nonce));
        let access_token = self.access_token(user_grant.client, Some(user_grant), &scope, key);
        let refresh = refresh.map(RefreshToken::text);
        TokenResponse { refresh_token: refresh, id_token, ..self.response(access_token, scope, key) }
    }

    /// Issues an access token for the client itself.
    pub(crate) fn issue_client_token(
        &self,
        client: &Client,
        scope: Scope,
        key: Option<&Thumbprint>,
    ) -> TokenResponse {
        let access_token = self.access_token(client, None, &scope, key);
        self.response(access_token, scope, key)
    }

    fn response(&self, access_token: String, scope: Scope, key: Option<&Thumbprint>) -> TokenResponse {
        let expires_in = self.settings.access_token_lifetime.as_secs();
        let token_type = if key.is_some() { "DPoP" } else { "Bearer" };
        TokenResponse { access_token, token_type, expires_in, refresh_token: None, id_token: None, scope }
    }

    fn access_token(
        &self,
        client: &Client,
        user_grant: Option<UserGrant<'_>>,
        scope: &Scope,
        key: Option<&Thumbprint>,
    ) -> String {
        let now = self.clock.now().as_second();
        let user = user_grant.map(|user_grant| user_grant.user);
        // the platform's own clients need name and groups whatever the scope of their tokens
        let tells = |word| client.first_party || scope.has(word);
        let claims = AccessTokenClaims {
            iss: self.settings.issuer.as_str().to_owned(),
            aud: client.audience.clone(),
            sub: user.map_or_else(|| client.id.to_string(), |user| user.id.to_string()),
            client_id: client.id.clone(),
            scope: scope.clone(),
            jti: TokenId(self.random.id()),
            iat: now,
            exp: now + self.settings.access_token_lifetime.as_secs(),
            nbf: None,
            gid: user_grant.map(|user_grant| user_grant.grant.id),
            auth_time: user_grant.map(|user_grant| user_grant.grant.auth_time.as_second()),
            preferred_username: user.filter(|_| tells(PROFILE)).map(|user| user.name.clone()),
            cnf: key.map(|key| Confirmation { jkt: key.as_str().to_owned() }),
            groups: user.filter(|_| tells(GROUPS)).map_or_else(BTreeSet::new, |user| user.groups.clone()),
        };
        jws::sign(&self.keys, SigningAlgorithm::Es256, TokenType::Access, &claims)
    }

    fn id_token(&self, user_grant: UserGrant<'_>, scope: &Scope, nonce: Option<&str>) -> String {
        let now = self.clock.now().as_second();
        let claims = IdClaims {
            iss: self.settings.issuer.as_str(),
            sub: user_grant.user.id,
            aud: user_grant.client.id.as_str(),
            exp: now + self.settings.id_token_lifetime.as_secs(),
            iat: now,
            auth_time: user_grant.grant.auth_time.as_second(),
            nonce,
            sid: user_grant.grant.session,
            user: UserClaims::of(user_grant.user, scope),
        };
        jws::sign(&self.keys, user_grant.client.id_token_alg, TokenType::Id, &claims)
    }
}
