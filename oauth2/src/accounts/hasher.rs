//! argon2id hashing that reuses its memory between hashes and frees it when none is in progress.
//!
//! A hash takes 19 MiB for a moment. With memory from the allocator, every thread that ever hashed would retain as
//! much.

use std::sync::{Mutex, MutexGuard, PoisonError};

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use subtle::ConstantTimeEq;

use crate::accounts::user::PasswordHash;

/// The cost of a hash: the parameters of argon2id (RFC 9106 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Cost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Degree of parallelism.
    pub lanes: u32,
}

impl Argon2Cost {
    /// The minimum that OWASP recommends: 19 MiB, two passes, one lane.
    pub const OWASP: Self = Self { memory_kib: 19_456, passes: 2, lanes: 1 };
}

/// argon2id does not support this cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("argon2 has no such cost: at least 8 KiB for each lane, one pass and one lane")]
pub struct BadCost;

/// Hashes and verifies passwords. Every call blocks its thread.
#[derive(Debug)]
pub(crate) struct Hasher {
    argon: Argon2<'static>,
    memory: Mutex<Vec<Vec<Block>>>,
}

/// The length of a hash, in bytes.
const LENGTH: usize = 32;

impl Hasher {
    pub(crate) fn new(cost: Argon2Cost) -> Result<Self, BadCost> {
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, None).map_err(|_| BadCost)?;
        Ok(Self { argon: argon(params), memory: Mutex::default() })
    }

    /// The hash of a password; `None` if argon2 refuses the input.
    pub(crate) fn hash(&self, password: &str, salt: [u8; 16]) -> Option<PasswordHash> {
        let mut out = [0; LENGTH];
        self.fill(&self.argon, password, &salt, &mut out)?;
        let (params, encode) = (self.argon.params(), |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes));
        let (m, t, p) = (params.m_cost(), params.t_cost(), params.p_cost());
        let (salt, out) = (encode(&salt), encode(&out));
        Some(PasswordHash::stored(format!("$argon2id$v=19$m={m},t={t},p={p}${salt}${out}")))
    }

    /// Whether `hash` is the hash of this password, whatever its cost.
    pub(crate) fn verify(&self, password: &str, hash: &PasswordHash) -> bool {
        let compare = || {
            let hash = Phc::new(hash.as_str()).ok()?;
            let (salt, known) = (hash.salt.as_ref()?, hash.hash.as_ref()?);
            let mut out = vec![0; known.as_bytes().len()];
            self.fill(&argon(params(&hash)?), password, salt, &mut out)?;
            Some(out.ct_eq(known.as_bytes()).into())
        };
        compare().unwrap_or(false)
    }

    /// Whether the hash was made at the configured cost.
    pub(crate) fn is_current(&self, hash: &PasswordHash) -> bool {
        let of = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        let params = Phc::new(hash.as_str()).ok().and_then(|hash| params(&hash));
        params.is_some_and(|params| of(&params) == of(self.argon.params()))
    }

    /// Frees the memory that is kept for the next hash.
    pub(crate) fn free_memory(&self) {
        self.lock().clear();
    }

    fn fill(&self, argon: &Argon2<'_>, password: &str, salt: &[u8], out: &mut [u8]) -> Option<()> {
        let mut memory = self.lock().pop().unwrap_or_default();
        memory.resize(argon.params().block_count(), Block::default());
        let filled = argon.hash_password_into_with_memory(password.as_bytes(), salt, out, &mut memory);
        self.lock().push(memory);
        filled.ok()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<Block>>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn argon(params: Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// The cost of a hash, if it was made with argon2id, version 0x13.
fn params(hash: &Phc) -> Option<Params> {
    let ours = hash.algorithm.as_str() == "argon2id" && hash.version == Some(Version::V0x13.into());
    Params::try_from(hash).ok().filter(|_| ours)
}
