//! Random hexadecimal digits for names and identifiers.

use ring::rand::{SecureRandom, SystemRandom};

/// `N` random bytes in hexadecimal.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn random_hex<const N: usize>() -> std::io::Result<String> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| std::io::Error::other("the kernel gives no random bytes"))?;
    Ok(hex(&bytes))
}

/// `bytes` in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
