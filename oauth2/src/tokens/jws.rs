//! Signed tokens in compact serialization (RFC 7515): access tokens with ES256, id tokens with ES256 or RS256.
//!
//! Written on ring instead of a JWT library: with one algorithm for each key, one `typ` for each purpose and three header
//! members, nothing can be configured wrongly, no clock is read, and no URL in a token is fetched.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::base::signing_algorithm::SigningAlgorithm;
use crate::tokens::public_keys::PublicKeys;
use crate::tokens::signing_keys::SigningKeys;

/// The longest accepted token, in bytes.
const LONGEST: usize = 8 * 1024;

/// The purpose of a token. A token of one type is never accepted as another (RFC 8725 section 3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenType {
    /// An access token (RFC 9068).
    Access,
    /// An id token (OpenID Connect Core section 2).
    Id,
}

impl TokenType {
    fn typ(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Id => "JWT",
        }
    }

    fn allows(self, algorithm: SigningAlgorithm) -> bool {
        match self {
            Self::Access => algorithm == SigningAlgorithm::Es256,
            Self::Id => true,
        }
    }
}

/// The header, with these members only. Members that name another key (`jku`, `x5u`, `jwk`) or demand to be understood
/// (`crit`) are refused as unknown.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// The token is malformed, of another type, or not signed by a known key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidJws;

/// The claims of a verified token, and the `kid` of its key.
#[derive(Debug)]
pub(crate) struct VerifiedJws<T> {
    pub(crate) claims: T,
    pub(crate) kid: String,
}

/// Signs `claims`.
pub(crate) fn sign(
    keys: &SigningKeys,
    algorithm: SigningAlgorithm,
    token_type: TokenType,
    claims: &impl Serialize,
) -> String {
    let encode = |json: Vec<u8>| URL_SAFE_NO_PAD.encode(json);
    let claims = encode(serde_json::to_vec(claims).expect("claims are texts and numbers"));
    let (mut token, signature) = keys.sign(algorithm, |kid| {
        let (alg, typ) = (algorithm.name().to_owned(), token_type.typ().to_owned());
        let header = Header { alg, typ, kid: kid.to_owned() };
        format!("{}.{claims}", encode(serde_json::to_vec(&header).expect("a header is texts")))
    });
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    token
}

/// The claims of a token of this type that one of `keys` has signed. The claims themselves are not checked.
pub(crate) fn verify<T: DeserializeOwned>(
    token: &str,
    token_type: TokenType,
    keys: &PublicKeys,
    now: Timestamp,
) -> Result<VerifiedJws<T>, InvalidJws> {
    if token.len() > LONGEST {
        return Err(InvalidJws);
    }
    let mut parts = token.split('.');
    let (Some(head), Some(body), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(InvalidJws);
    };
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidJws);
    let header: Header = serde_json::from_slice(&decode(head)?).map_err(|_| InvalidJws)?;
    if header.typ != token_type.typ() {
        return Err(InvalidJws);
    }
    let all = keys.all();
    let counts = |until: Option<Timestamp>| until.is_none_or(|until| now < until);
    let key = all.iter().find(|key| key.kid() == header.kid && counts(key.until)).ok_or(InvalidJws)?;
    // the key says what it is for; the header only has to agree
    if header.alg != key.algorithm().name() || !token_type.allows(key.algorithm()) {
        return Err(InvalidJws);
    }
    let message = &token.as_bytes()[..head.len() + 1 + body.len()];
    if !key.verifies(message, &decode(signature)?) {
        return Err(InvalidJws);
    }
    let claims = serde_json::from_slice(&decode(body)?).map_err(|_| InvalidJws)?;
    Ok(VerifiedJws { claims, kid: header.kid })
}
