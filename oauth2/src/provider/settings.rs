//! The settings of the provider, and their bounds.

use jiff::SignedDuration;

use crate::accounts::hasher::Argon2Cost;
use crate::accounts::password_rules::PasswordRules;
use crate::accounts::throttle::ThrottleLimits;
use crate::base::ids::ClientId;
use crate::base::issuer::Issuer;

/// The settings of the provider; [`Settings::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The issuer identifier.
    pub issuer: Issuer,
    /// The lifetime of an access token: at most [`MAX_ACCESS_TOKEN_LIFETIME`].
    pub access_token_lifetime: SignedDuration,
    /// The lifetime of an id token.
    pub id_token_lifetime: SignedDuration,
    /// The lifetime of an authorization code: at most [`MAX_CODE_LIFETIME`].
    pub code_lifetime: SignedDuration,
    /// The lifetime of a refresh token that is not used.
    pub refresh_idle: SignedDuration,
    /// How long a used refresh token may be used again, if none that replaced it has been used: the answer to the first
    /// request may be lost. At most [`MAX_REFRESH_GRACE`]; zero: not at all.
    pub refresh_grace: SignedDuration,
    /// The lifetime of all refresh tokens of a grant together.
    pub refresh_absolute: SignedDuration,
    /// The lifetime of a browser session.
    pub session_lifetime: SignedDuration,
    /// The lifetime of device code and user code.
    pub device_code_lifetime: SignedDuration,
    /// The cost of a password hash.
    pub password_cost: Argon2Cost,
    /// The rules for new passwords.
    pub password_rules: PasswordRules,
    /// The limits on guessing passwords and user codes.
    pub throttle: ThrottleLimits,
    /// The most passwords that are hashed at a time.
    pub hash_concurrency: usize,
    /// The client, with the grant type `password`, that a token request with user name and password but without
    /// `client_id` is attributed to. For a platform that migrates from a program which sends such requests; RFC 9700
    /// section 2.4 advises against it.
    pub legacy_client: Option<ClientId>,
}

/// The longest lifetime of an access token. A verifier in another process, which has the JWK set alone, accepts a
/// revoked token for as long.
pub const MAX_ACCESS_TOKEN_LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// The longest lifetime of an authorization code.
pub const MAX_CODE_LIFETIME: SignedDuration = SignedDuration::from_secs(60);

/// The longest time in which a used refresh token may be used again.
pub const MAX_REFRESH_GRACE: SignedDuration = SignedDuration::from_mins(2);

/// The setting that is not permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    /// The lifetime of access tokens.
    #[error("an access token lives 1 to 600 seconds")]
    Access,
    /// The lifetime of authorization codes.
    #[error("a code lives 1 to 60 seconds")]
    Code,
    /// Another lifetime.
    #[error(
        "every lifetime is at least one second, and refresh tokens live at least as long as access tokens"
    )]
    Lifetime,
    /// The time in which a used refresh token may be used again.
    #[error("a used refresh token may be used again for 0 to 120 seconds")]
    Grace,
    /// The cost of a password.
    #[error("a password costs at least 19456 KiB and two passes")]
    Cost,
    /// The bounds of the length of a password.
    #[error("a password has at least 8 characters, and at least 64 may be allowed")]
    Rules,
}

impl Settings {
    /// The defaults for this issuer.
    pub fn new(issuer: Issuer) -> Self {
        Self {
            issuer,
            access_token_lifetime: MAX_ACCESS_TOKEN_LIFETIME,
            id_token_lifetime: SignedDuration::from_mins(10),
            code_lifetime: MAX_CODE_LIFETIME,
            refresh_idle: SignedDuration::from_hours(7 * 24),
            refresh_grace: SignedDuration::from_secs(30),
            refresh_absolute: SignedDuration::from_hours(30 * 24),
            session_lifetime: SignedDuration::from_hours(12),
            device_code_lifetime: SignedDuration::from_mins(10),
            password_cost: Argon2Cost::OWASP,
            password_rules: PasswordRules::default(),
            throttle: ThrottleLimits::default(),
            hash_concurrency: std::thread::available_parallelism().map_or(1, usize::from),
            legacy_client: None,
        }
    }

    /// Checks the bounds.
    ///
    /// # Errors
    /// [`BadSettings`] names the first setting that is not permitted.
    pub fn check(&self) -> Result<(), BadSettings> {
        let second = SignedDuration::from_secs(1);
        let others = [
            self.id_token_lifetime,
            self.refresh_idle,
            self.refresh_absolute,
            self.session_lifetime,
            self.device_code_lifetime,
        ];
        let cost = self.password_cost;
        if !(second..=MAX_ACCESS_TOKEN_LIFETIME).contains(&self.access_token_lifetime) {
            Err(BadSettings::Access)
        } else if !(second..=MAX_CODE_LIFETIME).contains(&self.code_lifetime) {
            Err(BadSettings::Code)
        } else if others.iter().any(|life| *life < second) || self.refresh_idle < self.access_token_lifetime {
            Err(BadSettings::Lifetime)
        } else if !(SignedDuration::ZERO..=MAX_REFRESH_GRACE).contains(&self.refresh_grace) {
            Err(BadSettings::Grace)
        } else if cost.memory_kib < Argon2Cost::OWASP.memory_kib || cost.passes < Argon2Cost::OWASP.passes {
            Err(BadSettings::Cost)
        } else if self.password_rules.min_chars < 8 || self.password_rules.max_chars < 64 {
            Err(BadSettings::Rules)
        } else {
            Ok(())
        }
    }
}
