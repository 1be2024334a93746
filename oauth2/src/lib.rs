//! The OAuth 2.1 and OpenID provider: accounts, clients, tokens, keys, and the pages where people sign in.
//!
//! Free-standing: it knows nothing of the platform around it. Whoever mounts it gives it a [`Storage`], a clock, a
//! source of chance and a file for its key, puts [`router`] at the root of its HTTP server, and asks a [`Verifier`]
//! whose access token it is. Read [`grant`], [`request`], [`authorize`], [`token`], in that order; `web` is HTTP only.

mod admin;
mod api_token;
mod audit;
pub mod authorize;
mod browser;
mod client;
mod client_auth;
mod clock;
#[cfg(feature = "testing")]
pub mod conformance;
pub mod device;
mod device_flow;
mod dpop;
mod error;
mod generations;
pub mod grant;
mod hasher;
mod ids;
mod issuer;
mod jws;
mod keys;
mod logout;
mod looking;
#[cfg(feature = "testing")]
mod memory;
mod mint;
mod pages;
mod params;
mod passwords;
mod provider;
mod redirect;
pub mod request;
mod revoked;
mod scope;
mod secret;
mod settings;
mod sign_in;
mod signing;
mod storage;
mod throttle;
pub mod token;
mod tokens_of;
mod user;
mod verifier;
mod weakness;
mod web;

pub use admin::{ADMIN, Actor, AdminError, NewClient, NewUser};
pub use api_token::{API_TOKEN_PREFIX, ApiToken, ApiTokenError, MOST_API_TOKENS};
pub use audit::{AuditEntry, AuditEvent};
pub use browser::BrowserSession;
pub use client::{BadClient, Client, ClientKind, GrantType};
pub use client_auth::Credentials;
pub use clock::Clock;
pub use device_flow::DeviceResponse;
pub use dpop::{BadProof, Proof, Thumbprint};
pub use error::{ErrorCode, OAuthError};
pub use ids::{BadName, ClientId, GrantId, SessionId, TokenId, UserId, Username};
pub use issuer::{BadIssuer, Issuer};
pub use keys::{BadKey, Jwk, Jwks, PublicKey, PublicKeys};
pub use logout::LogoutNext;
#[cfg(feature = "testing")]
pub use memory::Memory;
pub use mint::TokenResponse;
pub use pages::Returned;
pub use params::{BadParams, Params};
pub use passwords::{BadCost, Busy, Cost, Passwords, Verified};
pub use provider::{Provider, StartError, TendError};
pub use redirect::{BadRedirect, RedirectUri};
pub use revoked::Revoked;
pub use scope::{BadScope, Scope};
pub use secret::{Chance, Digest};
pub use settings::{BadSettings, LONGEST_ACCESS, LONGEST_CODE, Settings};
pub use sign_in::SignInError;
pub use signing::{KeyError, OVERLAP, ROTATE_AFTER, SigningKeys};
pub use storage::{Accounts, Grants, Sessions, Storage, StorageError};
pub use throttle::{Attempt, Limits, Slowed, Throttle};
pub use tokens_of::{Introspection, UserInfo};
pub use user::{PasswordHash, User};
pub use verifier::{Access, InvalidToken, Subject, Unproved, Verifier};
pub use weakness::{Rules, Weakness};
pub use web::{Peer, Shown, router};
