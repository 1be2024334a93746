//! The primes of an RSA key of 2048 bits, for RS256 (RFC 7518 section 3.3).
//!
//! ring signs with RSA in constant time but makes no keys. So the two primes are drawn here with crypto-primes, the other
//! numbers of the key are computed from them with crypto-bigint, and ring checks them all when it loads the key.

use std::convert::Infallible;

use crypto_bigint::rand_core::{TryCryptoRng, TryRng};
use crypto_bigint::{NonZero, Odd, U1024, U2048};
use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, is_prime, sieve_and_find};
use ring::rand::{SecureRandom, SystemRandom};
use ring::rsa::{KeyPair, KeyPairComponents, PublicKeyComponents};

/// The two primes, the larger one first.
pub(super) struct RsaPrimes(U1024, U1024);

/// The public exponent, which is the same for all keys.
pub(super) const EXPONENT: [u8; 3] = [1, 0, 1];

/// The length of a prime in bits.
const PRIME_BITS: u32 = 1024;

impl RsaPrimes {
    /// Draws two primes, which takes about half a second.
    pub(super) fn generate() -> Self {
        loop {
            let drawn = Self::ordered(prime(), prime());
            if drawn.key_pair().is_some() {
                return drawn;
            }
        }
    }

    /// The primes from [`Self::bytes`].
    pub(super) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let half = bytes.len() / 2;
        let fits = bytes.len() == 2 * U1024::BYTES;
        fits.then(|| {
            Self::ordered(U1024::from_be_slice(&bytes[..half]), U1024::from_be_slice(&bytes[half..]))
        })
    }

    /// Both primes, one after the other.
    pub(super) fn bytes(&self) -> Vec<u8> {
        [self.0.to_be_bytes().as_ref(), self.1.to_be_bytes().as_ref()].concat()
    }

    fn ordered(one: U1024, other: U1024) -> Self {
        if one > other { Self(one, other) } else { Self(other, one) }
    }

    /// The key pair with these primes (RFC 8017 section 3.2); `None` if they make none.
    pub(super) fn key_pair(&self) -> Option<KeyPair> {
        let Self(p, q) = self;
        let less = |prime: &U1024| prime.wrapping_sub(&U1024::ONE);
        let exponent = U1024::from_be_slice(&[&[0; U1024::BYTES - 3][..], &EXPONENT].concat());
        let wide = U2048::from_be_slice(&[&[0; U2048::BYTES - 3][..], &EXPONENT].concat());
        let (p_less, q_less) = (less(p), less(q));
        let modulus: U2048 = p.concatenating_mul(q);
        let totient: U2048 = p_less.concatenating_mul(&q_less);
        let d = wide.invert_mod(&NonZero::new(totient).into_option()?).into_option()?;
        let of_p = exponent.invert_mod(&NonZero::new(p_less).into_option()?).into_option()?;
        let of_q = exponent.invert_mod(&NonZero::new(q_less).into_option()?).into_option()?;
        let q_inverse = q.invert_odd_mod(&Odd::new(*p).into_option()?).into_option()?;
        let components = KeyPairComponents {
            public_key: PublicKeyComponents { n: shortest(modulus.to_be_bytes()), e: EXPONENT.to_vec() },
            d: shortest(d.to_be_bytes()),
            p: shortest(p.to_be_bytes()),
            q: shortest(q.to_be_bytes()),
            dP: shortest(of_p.to_be_bytes()),
            dQ: shortest(of_q.to_be_bytes()),
            qInv: shortest(q_inverse.to_be_bytes()),
        };
        KeyPair::from_components(&components).ok()
    }
}

/// A prime whose two highest bits are set, so that the product of two has 2048 bits.
fn prime() -> U1024 {
    let sieve = SmallFactorsSieveFactory::new(Flavor::Any, PRIME_BITS, SetBits::TwoMsb);
    let sieve = sieve.expect("1024 bits are enough for a prime");
    let found =
        sieve_and_find(&mut Kernel(SystemRandom::new()), sieve, |_, number| is_prime(Flavor::Any, number));
    found.expect("the kernel's randomness never fails").expect("the sieve is endless")
}

/// The number without leading zeros, as ring reads it.
fn shortest(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    bytes.as_ref().iter().copied().skip_while(|byte| *byte == 0).collect()
}

/// The randomness of the kernel.
struct Kernel(SystemRandom);

impl TryRng for Kernel {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes).expect("a kernel that has started gives randomness");
        Ok(())
    }
}

impl TryCryptoRng for Kernel {}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaPublicKeyComponents};

    use super::*;

    #[test]
    fn drawn_primes_make_a_key_that_signs_and_survives_storing() {
        let drawn = RsaPrimes::generate();
        let bytes = drawn.bytes();
        let pair = RsaPrimes::of_bytes(&bytes).unwrap().key_pair().unwrap();
        assert_eq!(pair.public().modulus_len(), 256);
        let mut signature = vec![0; 256];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), b"a message", &mut signature).unwrap();
        let PublicKeyComponents { n, e } =
            PublicKeyComponents::<Vec<u8>>::from(drawn.key_pair().unwrap().public());
        let public = RsaPublicKeyComponents { n, e };
        assert!(public.verify(&RSA_PKCS1_2048_8192_SHA256, b"a message", &signature).is_ok());
        assert!(public.verify(&RSA_PKCS1_2048_8192_SHA256, b"another", &signature).is_err());
        assert_ne!(RsaPrimes::generate().bytes(), bytes);
    }

    #[test]
    fn other_bytes_make_no_key() {
        for bytes in [vec![], vec![7; 255], vec![0; 256], vec![2; 256], vec![0xff; 256]] {
            assert!(RsaPrimes::of_bytes(&bytes).and_then(|primes| primes.key_pair()).is_none());
        }
    }
}
