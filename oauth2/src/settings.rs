//! What an operator may choose.

use jiff::SignedDuration;

use crate::ids::ClientId;
use crate::issuer::Issuer;
use crate::passwords::Cost;
use crate::throttle::Limits;
use crate::weakness::Rules;

/// What an operator may choose. [`Settings::new`] has what is good for most.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The provider's own address.
    pub issuer: Issuer,
    /// How long an access token lives: at most [`LONGEST_ACCESS`].
    pub access: SignedDuration,
    /// How long an id token counts.
    pub id: SignedDuration,
    /// How long a code lives: at most [`LONGEST_CODE`].
    pub code: SignedDuration,
    /// How long a refresh token that is not used lives.
    pub refresh_idle: SignedDuration,
    /// How long refresh tokens of one grant live, however often they are used.
    pub refresh_absolute: SignedDuration,
    /// How long somebody stays signed in in a browser.
    pub session: SignedDuration,
    /// How long a device waits for somebody to say yes.
    pub device: SignedDuration,
    /// What a password hash costs.
    pub cost: Cost,
    /// Which passwords nobody may have.
    pub rules: Rules,
    /// How much may be guessed.
    pub limits: Limits,
    /// How many passwords are hashed at once.
    pub cores: usize,
    /// The client that a sign-in request without a client is taken for: one that has the `password` grant. For a
    /// platform that moves from a program which knows nothing else; RFC 9700 section 2.4 advises against it.
    pub legacy_client: Option<ClientId>,
}

/// The longest that an access token may live: nothing but time takes it back from verifiers elsewhere.
pub const LONGEST_ACCESS: SignedDuration = SignedDuration::from_mins(10);

/// The longest that a code may live.
pub const LONGEST_CODE: SignedDuration = SignedDuration::from_secs(60);

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
            access: LONGEST_ACCESS,
            id: SignedDuration::from_mins(10),
            code: LONGEST_CODE,
            refresh_idle: SignedDuration::from_hours(7 * 24),
            refresh_absolute: SignedDuration::from_hours(30 * 24),
            session: SignedDuration::from_hours(12),
            device: SignedDuration::from_mins(10),
            cost: Cost::OWASP,
            rules: Rules::default(),
            limits: Limits::default(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            legacy_client: None,
        }
    }

    /// Whether they may be chosen.
    ///
    /// # Errors
    /// [`BadSettings`] names the first that may not.
    pub fn check(&self) -> Result<(), BadSettings> {
        let second = SignedDuration::from_secs(1);
        let others = [self.id, self.refresh_idle, self.refresh_absolute, self.session, self.device];
        let cost = self.cost;
        if !(second..=LONGEST_ACCESS).contains(&self.access) {
            Err(BadSettings::Access)
        } else if !(second..=LONGEST_CODE).contains(&self.code) {
            Err(BadSettings::Code)
        } else if others.iter().any(|life| *life < second) || self.refresh_idle < self.access {
            Err(BadSettings::Lifetime)
        } else if cost.memory_kib < Cost::OWASP.memory_kib || cost.passes < Cost::OWASP.passes {
            Err(BadSettings::Cost)
        } else if self.rules.shortest < 8 || self.rules.longest < 64 {
            Err(BadSettings::Rules)
        } else {
            Ok(())
        }
    }
}
