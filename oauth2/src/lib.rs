//! An OAuth 2.1 authorization server and OpenID provider: accounts, clients, tokens, signing keys, sign-in pages.
//!
//! The crate knows nothing of the platform around it. The server gives a [`Provider`] its [`Storage`], a [`Clock`], a
//! [`RandomSource`] and a file for its signing key, mounts [`router`] at the root of its HTTP server, and checks access
//! tokens with a [`Verifier`].
//!
//! Each folder uses only folders that stand above it in this list. Reading order: `grants`, `flows`, `web`.

mod accounts;
mod administration;
mod base;
mod clients;
mod flows;
mod grants;
mod provider;
mod sessions;
mod storage;
mod tokens;
mod web;

pub use accounts::api_token::{API_TOKEN_PREFIX, ApiToken};
pub use accounts::audit::{AuditEntry, AuditEvent};
pub use accounts::browser_session::{BrowserSession, SignedIn};
pub use accounts::hasher::{Argon2Cost, BadCost};
pub use accounts::password_rules::{PasswordRules, WeakPassword};
pub use accounts::passwords::{Busy, PasswordCheck, Passwords};
pub use accounts::throttle::{Attempt, Throttle, ThrottleLimits, Throttled};
pub use accounts::user::{PasswordHash, User};
pub use administration::api_tokens::{ApiTokenError, MAX_API_TOKENS_PER_USER};
pub use administration::clients::{ClientChange, NewClient};
pub use administration::users::NewUser;
pub use administration::{ADMIN, AdminError, Administration};
pub use base::clock::Clock;
pub use base::digest::Digest;
pub use base::error::{ErrorCode, OAuthError};
pub use base::ids::{BadName, ClientId, GrantId, SessionId, TokenId, UserId, Username};
pub use base::issuer::{BadIssuer, Issuer};
pub use base::params::{BadParams, Params};
pub use base::random::RandomSource;
pub use base::scope::{BadScope, DEFAULT_SCOPE, Scope};
pub use base::signing_algorithm::{BadAlgorithm, SigningAlgorithm};
pub use clients::client::{BadClient, Client, ClientKind};
pub use clients::grant_type::GrantType;
pub use clients::redirect_uri::{BadRedirect, RedirectUri};
pub use flows::authorization::AuthorizationOutcome;
pub use flows::authorization_request::{AuthorizationRequest, Prompt, RejectedRequest, ResponseTarget};
pub use flows::client_authentication::Credentials;
pub use flows::device_authorization::DeviceAuthorizationResponse;
pub use flows::introspection::Introspection;
pub use flows::issue::TokenResponse;
pub use flows::pages_session::CodeExchange;
pub use flows::token_request::TokenRequest;
pub use flows::user_claims::UserClaims;
pub use flows::userinfo::UserInfo;
pub use grants::authorization_code::{AuthorizationCode, CodeRedemption};
pub use grants::device::{Device, DeviceDecision, DevicePoll};
pub use grants::grant::{Grant, GrantFilter, RefreshOutcome};
pub use grants::refresh_token::{REFRESH_PREFIX, ReplacedRefreshToken, StoredRefreshToken};
pub use grants::user_code::{BadUserCode, UserCode};
pub use provider::settings::{
    BadSettings, MAX_ACCESS_TOKEN_LIFETIME, MAX_CODE_LIFETIME, MAX_REFRESH_GRACE, Settings,
};
pub use provider::{MaintenanceError, Provider, StartError};
pub use sessions::logout::LogoutOutcome;
pub use sessions::password_change::{PasswordChange, PasswordChangeError};
pub use sessions::sign_in::SignInError;
#[cfg(feature = "testing")]
pub use storage::conformance;
#[cfg(feature = "testing")]
pub use storage::memory::MemoryStorage;
pub use storage::{Accounts, Grants, Sessions, Storage, StorageError};
pub use tokens::access_token::{AccessToken, Subject};
pub use tokens::dpop::{DpopProof, InvalidProof, Thumbprint};
pub use tokens::key_file::KeyError;
pub use tokens::public_keys::{BadKey, Jwk, Jwks, PublicKey, PublicKeys};
pub use tokens::revoked_tokens::RevokedTokens;
pub use tokens::signing_keys::{KEY_ROTATION_AGE, RETIRED_KEY_LIFETIME, SigningKeys};
pub use tokens::verifier::{BoundTokenError, InvalidToken, Verifier};
pub use web::caller::Peer;
pub use web::presented_token::PresentedToken;
pub use web::router;
