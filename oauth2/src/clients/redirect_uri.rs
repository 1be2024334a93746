//! Redirect URIs: where browsers may be sent with a response (RFC 6749 section 3.1.2, RFC 9700 section 4.1).

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::base::issuer::Issuer;

/// A registered redirect URI. A request must name exactly this text (RFC 9700 section 4.1.3); only the port of a
/// loopback address or of a name under `localhost` may differ (RFC 8252 section 7.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RedirectUri(String);

/// The rule that a redirect URI breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRedirect {
    /// Not an absolute URI of at most 512 characters.
    #[error("a redirect URI is an absolute URI of at most 512 printable characters")]
    Malformed,
    /// It has a fragment.
    #[error("a redirect URI has no fragment")]
    Fragment,
    /// It has a wildcard.
    #[error("a redirect URI has no wildcard")]
    Wildcard,
    /// It has a user name or a password.
    #[error("a redirect URI has no user name and no password")]
    UserInfo,
    /// It has a scheme that is not permitted.
    #[error(
        "a redirect URI is https, or http to 127.0.0.1, [::1], localhost or a name under it, or to the platform's own \
         host where that has no TLS, or an app's own scheme, such as myapp://callback or com.example.app:/callback"
    )]
    Scheme,
}

/// The longest redirect URI, in bytes.
const LONGEST: usize = 512;

/// Schemes that are not an app's own: browsers and operating systems give them a meaning.
const FOREIGN_SCHEMES: [&str; 31] = [
    "about",
    "blob",
    "chrome",
    "chrome-extension",
    "cid",
    "content",
    "data",
    "dav",
    "edge",
    "file",
    "filesystem",
    "ftp",
    "intent",
    "jar",
    "javascript",
    "ldap",
    "mailto",
    "mid",
    "moz-extension",
    "news",
    "resource",
    "sip",
    "sips",
    "sms",
    "ssh",
    "tel",
    "urn",
    "vbscript",
    "view-source",
    "ws",
    "wss",
];

impl RedirectUri {
    /// Checks a URI that is to be registered at this issuer.
    ///
    /// # Errors
    /// [`BadRedirect`] says which rule it breaks.
    pub fn register(text: &str, issuer: &Issuer) -> Result<Self, BadRedirect> {
        if text.len() > LONGEST || !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err(BadRedirect::Malformed);
        }
        if text.contains('#') {
            return Err(BadRedirect::Fragment);
        }
        if text.contains('*') {
            return Err(BadRedirect::Wildcard);
        }
        let url = Url::parse(text).map_err(|_| BadRedirect::Malformed)?;
        if !url.username().is_empty() || url.password().is_some() || authority(text).contains('@') {
            return Err(BadRedirect::UserInfo);
        }
        let fits = match url.scheme() {
            "https" => url.has_host() && text.starts_with("https://"),
            "http" => text.starts_with("http://") && may_be_plain(&url, issuer),
            own => is_an_apps_own(own, &text[own.len()..]),
        };
        if fits { Ok(Self(text.to_owned())) } else { Err(BadRedirect::Scheme) }
    }

    /// The text as it was registered.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `given` in a request matches this URI.
    pub fn admits(&self, given: &str) -> bool {
        given == self.0 || differs_in_port(&self.0, given)
    }

    /// The origin of an `https` or `http` URI, as browsers name it in `Origin` (RFC 6454 section 6.2). A request of a page
    /// there matches it, whatever its port if this URI may have any.
    pub(crate) fn is_of_origin(&self, origin: &str) -> bool {
        let Ok(url) = Url::parse(&self.0) else { return false };
        let own = url.origin();
        own.is_tuple()
            && (own.ascii_serialization() == origin || differs_in_port(&self.without_path(), origin))
    }

    /// Scheme, host and port as they were registered.
    fn without_path(&self) -> String {
        let (scheme, _) = self.0.split_once("://").unwrap_or_default();
        format!("{scheme}://{}", authority(&self.0))
    }
}

/// `uri` with further query parameters (RFC 6749 section 3.1.2).
pub(crate) fn with_query(uri: &str, query: &str) -> String {
    let joint = if uri.contains('?') { '&' } else { '?' };
    format!("{uri}{joint}{query}")
}

/// Where `uri` leads, as users are told: its origin, or its scheme.
pub(crate) fn place_of(uri: &str) -> Option<String> {
    let url = Url::parse(uri).ok()?;
    let origin = url.origin();
    Some(if origin.is_tuple() { origin.ascii_serialization() } else { format!("{}:", url.scheme()) })
}

fn authority(text: &str) -> &str {
    let after = text.split_once("://").map_or("", |(_, after)| after);
    after.split(['/', '?']).next().unwrap_or("")
}

fn may_be_plain(url: &Url, issuer: &Issuer) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) if address.is_loopback() => true,
        Some(Host::Ipv6(address)) if address.is_loopback() => true,
        Some(Host::Domain(name)) if is_local_name(name) => true,
        Some(host) => !issuer.is_secure() && &host.to_owned() == issuer.host(),
        None => false,
    }
}

/// Whether a scheme, with what follows it, is one that an app has registered with the operating system (RFC 8252 section
/// 7.1). One without a dot needs a slash, because texts such as `mailto:ann` have none.
fn is_an_apps_own(scheme: &str, rest: &str) -> bool {
    let is_path = if scheme.contains('.') { rest.len() > 1 } else { rest.starts_with(":/") };
    is_path && !FOREIGN_SCHEMES.contains(&scheme)
}

/// Whether browsers resolve the name to the loopback address (RFC 6761 section 6.3).
fn is_local_name(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// Whether both are the same URI of a loopback address, apart from the port.
fn differs_in_port(registered: &str, given: &str) -> bool {
    matches!((loopback(registered), loopback(given)), (Some(one), Some(other)) if one == other)
}

/// Scheme, host and what follows the port of a URI whose host is a loopback address or a name of one.
fn loopback(uri: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = uri.split_once("://")?;
    let end = if rest.starts_with('[') {
        rest.find(']')? + 1
    } else {
        rest.find([':', '/', '?']).unwrap_or(rest.len())
    };
    let (host, rest) = rest.split_at(end);
    let is_address = host == "[::1]" || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    let fits = matches!(scheme, "http" | "https") && (is_address || is_local_name(host));
    let after = after_port(rest)?;
    fits.then_some((scheme, host, after))
}

/// The text after an optional port; `None` if the text after the host is no port.
fn after_port(text: &str) -> Option<&str> {
    let is_end = |rest: &str| rest.is_empty() || rest.starts_with(['/', '?']);
    let Some(text) = text.strip_prefix(':') else { return is_end(text).then_some(text) };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (port, rest) = text.split_at(digits);
    (port.parse::<u16>().is_ok_and(|port| port > 0) && is_end(rest)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(text: &str) -> Result<RedirectUri, BadRedirect> {
        RedirectUri::register(text, &"https://mgx.example/oauth2".parse().unwrap())
    }

    #[test]
    fn which_redirect_uris_may_be_registered() {
        for good in [
            "https://app.example/cb",
            "https://app.example/cb?x=1",
            "http://127.0.0.1/cb",
            "http://[::1]:8080/cb",
            "http://localhost:3000/cb",
            "http://127.0.0.2:8080/cb",
            "http://app.localhost:3000/cb",
            "https://localhost:3000/cb",
            "org.example.app:/cb",
            "org.example.app:cb",
            "org.example.app://cb",
            "com.googleusercontent.apps.1-x:/oauth2redirect",
            "myapp://callback",
            "myapp://",
            "myapp:/cb",
            "MyApp://Callback",
            "my-app+x://auth/cb?x=1",
            "msal0b1c://auth",
            "exp://127.0.0.1:19000/--/cb",
            "vscode://vendor.extension/cb",
        ] {
            assert!(register(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("/cb", BadRedirect::Malformed),
            ("https://app.example/c b", BadRedirect::Malformed),
            ("https://app.example\\@evil.example/", BadRedirect::Malformed),
            ("https://app.example/cb#x", BadRedirect::Fragment),
            ("https://*.example/cb", BadRedirect::Wildcard),
            ("https://app.example@evil.example/cb", BadRedirect::UserInfo),
            ("https://:@evil.example/cb", BadRedirect::UserInfo),
            ("http://app.example/cb", BadRedirect::Scheme),
            ("http:127.0.0.1/cb", BadRedirect::Scheme),
            ("javascript:alert(1)", BadRedirect::Scheme),
            ("data:text/html,x", BadRedirect::Scheme),
            ("JavaScript://app/%0aalert(1)", BadRedirect::Scheme),
            ("vbscript:/x", BadRedirect::Scheme),
            ("file:///etc/passwd", BadRedirect::Scheme),
            ("blob:https://app.example/x", BadRedirect::Scheme),
            ("about:/blank", BadRedirect::Scheme),
            ("view-source:/x", BadRedirect::Scheme),
            ("ftp://app.example/cb", BadRedirect::Scheme),
            ("wss://app.example/cb", BadRedirect::Scheme),
            ("intent://app/cb", BadRedirect::Scheme),
            ("urn:ietf:wg:oauth:2.0:oob", BadRedirect::Scheme),
            ("mailto:ann@example.org", BadRedirect::Scheme),
            ("myapp:cb", BadRedirect::Scheme),
            ("myapp:", BadRedirect::Scheme),
            ("org.example.app:", BadRedirect::Scheme),
            ("myapp://user@host/cb", BadRedirect::UserInfo),
            ("myapp://cb#x", BadRedirect::Fragment),
            ("1app://cb", BadRedirect::Malformed),
            ("http://localhost.example/cb", BadRedirect::Scheme),
            ("http://applocalhost/cb", BadRedirect::Scheme),
        ] {
            assert_eq!(register(bad), Err(why), "{bad}");
        }
        let plain = "http://10.0.0.7:8765/oauth2".parse().unwrap();
        assert!(RedirectUri::register("http://10.0.0.7:3000/cb", &plain).is_ok(), "the platform's own host");
        assert_eq!(RedirectUri::register("http://10.0.0.8/cb", &plain), Err(BadRedirect::Scheme));
    }

    #[test]
    fn which_redirect_uris_a_request_may_name() {
        let app = register("https://app.example/cb").unwrap();
        assert!(app.admits("https://app.example/cb"));
        for bad in [
            "https://app.example/cb/",
            "https://app.example/cb2",
            "https://app.example/CB",
            "https://App.example/cb",
            "https://app.example:443/cb",
            "https://app.example:8443/cb",
            "https://app.example/cb?x",
            "https://app.example/cb#",
            "https://app.example@evil.example/cb",
            "https://evil.example/cb",
            "http://app.example/cb",
            "",
            "https://app.example/x/../cb",
        ] {
            assert!(!app.admits(bad), "{bad}");
        }
        let tool = register("http://127.0.0.1/cb").unwrap();
        for good in ["http://127.0.0.1/cb", "http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb"] {
            assert!(tool.admits(good), "{good}");
        }
        for bad in [
            "http://127.0.0.1:0/cb",
            "http://127.0.0.1:65536/cb",
            "http://127.0.0.1:/cb",
            "http://127.0.0.1:8a/cb",
            "http://127.0.0.1:80@evil.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://127.0.0.1:80/CB",
            "http://localhost:80/cb",
            "http://[::1]/cb",
            "https://127.0.0.1/cb",
        ] {
            assert!(!tool.admits(bad), "{bad}");
        }
        for (registered, good, bad) in [
            ("http://localhost/cb", "http://localhost:5173/cb", "http://localhost:5173/cb/"),
            ("http://localhost:3000/cb", "http://localhost/cb", "http://localhost.evil.example:3000/cb"),
            ("http://app.localhost:3000/cb", "http://app.localhost:1/cb", "http://other.localhost:3000/cb"),
            ("https://localhost:3000/cb", "https://localhost:4000/cb", "http://localhost:4000/cb"),
            ("http://127.0.0.2/cb", "http://127.0.0.2:8/cb", "http://127.0.0.1:8/cb"),
            ("http://[::1]:8080/cb?x=1", "http://[::1]/cb?x=1", "http://[::1]:8080/cb?x=2"),
            ("myapp://callback", "myapp://callback", "myapp://callback:80"),
            ("myapp://localhost/cb", "myapp://localhost/cb", "myapp://localhost:1/cb"),
        ] {
            let registered = register(registered).unwrap();
            assert!(registered.admits(good) && !registered.admits(bad), "{registered:?}");
        }
    }

    #[test]
    fn which_origins_a_redirect_uri_belongs_to() {
        let of = |uri: &str, origin: &str| register(uri).unwrap().is_of_origin(origin);
        assert!(of("https://app.example/cb?x", "https://app.example"));
        assert!(of("https://app.example:443/cb", "https://app.example"));
        assert!(of("http://localhost:3000/cb", "http://localhost:5173"));
        for (uri, origin) in [
            ("https://app.example/cb", "http://app.example"),
            ("https://app.example/cb", "https://app.example:8443"),
            ("https://app.example/cb", "https://app.example.evil.example"),
            ("https://app.example/cb", "https://app.example/cb"),
            ("https://app.example/cb", "null"),
            ("http://localhost:3000/cb", "http://127.0.0.1:3000"),
            ("myapp://callback", "null"),
            ("myapp://callback", "myapp://callback"),
            ("org.example.app:/cb", "null"),
        ] {
            assert!(!of(uri, origin), "{uri} {origin}");
        }
    }
}
