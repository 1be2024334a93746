//! What an operator may choose.

use jiff::SignedDuration;

use crate::accounts::hasher::Argon2Cost;
use crate::accounts::password_rules::PasswordRules;
use crate::accounts::throttle::ThrottleLimits;
use crate::base::ids::ClientId;
use crate::base::issuer::Issuer;

/// What an operator may choose. [`Settings::new`] has what is good for most.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The provider's own address.
    pub issuer: Issuer,
    /// How long an access token lives: at most [`MAX_ACCESS_TOKEN_LIFETIME`].
    pub access_token_lifetime: SignedDuration,
    /// How long an id token counts.
    pub id_token_lifetime: SignedDuration,
    /// How long a code lives: at most [`MAX_CODE_LIFETIME`].
    pub code_lifetime: SignedDuration,
    /// How long a refresh token that is not used lives.
    pub refresh_idle: SignedDuration,
    /// How long refresh tokens of one grant live, however often they are used.
    pub refresh_absolute: SignedDuration,
    /// How long somebody stays signed in in a browser.
    pub session_lifetime: SignedDuration,
    /// How long a device waits for somebody to say yes.
    pub device_code_lifetime: SignedDuration,
    /// What a password hash costs.
    pub password_cost: Argon2Cost,
    /// Which passwords nobody may have.
    pub password_rules: PasswordRules,
    /// How much may be guessed.
    pub throttle: ThrottleLimits,
    /// How many passwords are hashed at once.
    pub hash_concurrency: usize,
    /// The client that a sign-in request without a client is taken for: one that has the `password` grant. For a
    /// platform that moves from a program which knows nothing else; RFC 9700 section 2.4 advises against it.
    pub legacy_client: Option<ClientId>,
}

/// The longest that an access token may live: nothing but time takes it back from verifiers elsewhere.
pub const MAX_ACCESS_TOKEN_LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// The longest that a code may live.
pub const MAX_CODE_LIFETIME: SignedDuration = SignedDuration::from_secs(60);

/// What may not be chosen. The operator chooses something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    /// Access tokens.
    #[error("an access token lives 1 to 600 seconds")]
    Access,
    /// Codes.
    #[error("a code lives 1 to 60 seconds")]
    Code,
    /// Anything else that has a length.
    #[error("every lifetime is longer than nothing, and refresh tokens live longer than access tokens")]
    Lifetime,
    /// The cost of a password.
    #[error("a password costs at least 19456 KiB and two passes")]
    Cost,
    /// The length of a password.
    #[error("a password has at least 8 characters, and at least 64 may be allowed")]
    Rules,
}

impl Settings {
    /// What is good for most.
    pub fn new(issuer: Issuer) -> Self {
        Self {
            issuer,
            access_token_lifetime: MAX_ACCESS_TOKEN_LIFETIME,
            id_token_lifetime: SignedDuration::from_mins(10),
            code_lifetime: MAX_CODE_LIFETIME,
            refresh_idle: SignedDuration::from_hours(7 * 24),
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

    /// Whether they may be chosen.
    ///
    /// # Errors
    /// [`BadSettings`] names the first that may not.
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
        } else if cost.memory_kib < Argon2Cost::OWASP.memory_kib || cost.passes < Argon2Cost::OWASP.passes {
            Err(BadSettings::Cost)
        } else if self.password_rules.min_chars < 8 || self.password_rules.max_chars < 64 {
            Err(BadSettings::Rules)
        } else {
            Ok(())
        }
    }
}
