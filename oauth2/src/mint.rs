//! Making tokens.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::client::Client;
use crate::dpop::Thumbprint;
use crate::grant::{Grant, RefreshToken};
use crate::ids::{SessionId, TokenId, UserId};
use crate::jws::{self, Kind};
use crate::provider::Provider;
use crate::scope::{GROUPS, OPENID, PROFILE, Scope};
use crate::user::User;
use crate::verifier::{Claims, Confirmation};

/// What the token endpoint answers (RFC 6749 section 5.1).
#[derive(Debug, Serialize)]
pub struct TokenResponse {
    /// An access token (RFC 9068).
    pub access_token: String,
    /// How it is used: `Bearer`, or `DPoP` if it is bound to a key.
    pub token_type: &'static str,
    /// How many seconds it lives.
    pub expires_in: i64,
    /// The next access token can be had for this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// Who the user is, with scope `openid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
    /// What the access token is good for.
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
}

/// What tokens are made from, for a user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behalf<'a> {
    pub(crate) client: &'a Client,
    pub(crate) user: &'a User,
    pub(crate) grant: &'a Grant,
}

impl Provider {
    /// Tokens for a user.
    pub(crate) fn mint(
        &self,
        behalf: Behalf<'_>,
        scope: Scope,
        nonce: Option<&str>,
        refresh: Option<&RefreshToken>,
        key: Option<&Thumbprint>,
    ) -> TokenResponse {
        let id_token = scope.has(OPENID).then(|| self.id_token(behalf, nonce));
        let access_token = self.access_token(behalf.client, Some(behalf), &scope, key);
        let refresh = refresh.map(RefreshToken::text);
        TokenResponse { refresh_token: refresh, id_token, ..self.response(access_token, scope, key) }
    }

    /// A token for the client itself.
    pub(crate) fn mint_for_client(
        &self,
        client: &Client,
        scope: Scope,
        key: Option<&Thumbprint>,
    ) -> TokenResponse {
        let access_token = self.access_token(client, None, &scope, key);
        self.response(access_token, scope, key)
    }

    fn response(&self, access_token: String, scope: Scope, key: Option<&Thumbprint>) -> TokenResponse {
        let expires_in = self.settings.access.as_secs();
        let token_type = if key.is_some() { "DPoP" } else { "Bearer" };
        TokenResponse { access_token, token_type, expires_in, refresh_token: None, id_token: None, scope }
    }

    fn access_token(
        &self,
        client: &Client,
        behalf: Option<Behalf<'_>>,
        scope: &Scope,
        key: Option<&Thumbprint>,
    ) -> String {
        let now = self.clock.now().as_second();
        let user = behalf.map(|behalf| behalf.user);
        // the platform itself knows who its users are, whatever a token of its own is good for
        let tells = |word| client.first_party || scope.has(word);
        let claims = Claims {
            iss: self.settings.issuer.as_str().to_owned(),
            aud: client.audience.clone(),
            sub: user.map_or_else(|| client.id.to_string(), |user| user.id.to_string()),
            client_id: client.id.clone(),
            scope: scope.clone(),
            jti: TokenId(self.chance.id()),
            iat: now,
            exp: now + self.settings.access.as_secs(),
            nbf: None,
            gid: behalf.map(|behalf| behalf.grant.id),
            auth_time: behalf.map(|behalf| behalf.grant.auth_time.as_second()),
            preferred_username: user.filter(|_| tells(PROFILE)).map(|user| user.name.clone()),
            cnf: key.map(|key| Confirmation { jkt: key.as_str().to_owned() }),
            groups: user.filter(|_| tells(GROUPS)).map_or_else(BTreeSet::new, |user| user.groups.clone()),
        };
        jws::sign(&self.keys, Kind::Access, &claims)
    }

    fn id_token(&self, behalf: Behalf<'_>, nonce: Option<&str>) -> String {
        let now = self.clock.now().as_second();
        let claims = IdClaims {
            iss: self.settings.issuer.as_str(),
            sub: behalf.user.id,
            aud: behalf.client.id.as_str(),
            exp: now + self.settings.id.as_secs(),
            iat: now,
            auth_time: behalf.grant.auth_time.as_second(),
            nonce,
            sid: behalf.grant.session,
        };
        jws::sign(&self.keys, Kind::Id, &claims)
    }
}
