//! The issuer identifier (RFC 8414 section 2): the address of the provider, which every token names.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// The path under which every endpoint lies.
pub(crate) const PATH: &str = "/oauth2";

/// An issuer identifier: `https://host[:port]/oauth2`, or `http` for a platform that is served without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    text: String,
    origin: String,
    host: Host<String>,
    secure: bool,
}

/// The text is not an issuer identifier. The operator sets the address by which browsers reach the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an issuer is https://host[:port]/oauth2, or http:// without TLS, and nothing more")]
pub struct BadIssuer;

impl Issuer {
    /// The issuer as tokens name it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The origin: scheme, host and port.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The host.
    pub fn host(&self) -> &Host<String> {
        &self.host
    }

    /// Whether it is served with TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The address of an endpoint, such as `token`.
    pub fn endpoint(&self, name: &str) -> String {
        format!("{}/{name}", self.text)
    }
}

impl FromStr for Issuer {
    type Err = BadIssuer;

    fn from_str(text: &str) -> Result<Self, BadIssuer> {
        let url = Url::parse(text).map_err(|_| BadIssuer)?;
        let origin = url.origin().ascii_serialization();
        let host = url.host().map(|host| host.to_owned()).ok_or(BadIssuer)?;
        let secure = url.scheme() == "https";
        // the parser normalises the text, but clients compare it verbatim
        let same = text == format!("{origin}{PATH}");
        if same && (secure || url.scheme() == "http") {
            Ok(Self { text: text.to_owned(), origin, host, secure })
        } else {
            Err(BadIssuer)
        }
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_an_origin_and_one_path() {
        let issuer: Issuer = "https://mgx.example:8443/oauth2".parse().unwrap();
        assert_eq!((issuer.origin(), issuer.is_secure()), ("https://mgx.example:8443", true));
        assert_eq!(issuer.endpoint("token"), "https://mgx.example:8443/oauth2/token");
        assert!(!"http://127.0.0.1:8765/oauth2".parse::<Issuer>().unwrap().is_secure());
        for bad in [
            "",
            "mgx.example/oauth2",
            "https://mgx.example",
            "https://mgx.example/oauth2/",
            "https://mgx.example/oauth2?x",
            "https://mgx.example/oauth2#x",
            "https://MGX.example/oauth2",
            "https://mgx.example:443/oauth2",
            "https://user@mgx.example/oauth2",
            "ftp://mgx.example/oauth2",
            "https://mgx.example/x/../oauth2",
        ] {
            assert_eq!(bad.parse::<Issuer>(), Err(BadIssuer), "{bad}");
        }
    }
}
