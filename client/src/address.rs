//! The address of a server, in the one form in which two addresses can be compared.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

use crate::error::Error;

/// The address of a server: `http` or `https`, a host, perhaps a port and a path, and nothing else. Two texts that mean
/// the same are the same address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(Url);

impl Address {
    /// Reads an address as a user types it. Without a scheme it is `http` on this machine and `https` on any other, so
    /// that a token is not sent in clear unless the user has written `http://`.
    ///
    /// # Errors
    /// [`Error::Address`] says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Address { text: shown(text), why: why.to_owned() };
        let trimmed = text.trim();
        let Some(url) = read(trimmed) else {
            return Err(wrong("write it like http://127.0.0.1:8765 or https://mgx.example.com"));
        };
        if !["http", "https"].contains(&url.scheme()) {
            return Err(wrong("an address begins with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("an address has no user name and no password; `mgx login` signs in"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("an address has no ? and no #"));
        }
        Ok(Self(url))
    }

    /// The address as text, without a slash at its end.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// The IP address of the host, if the host is one and not a name.
    pub fn ip(&self) -> Option<IpAddr> {
        ip_of(&self.0)
    }

    /// The port, which is 80 or 443 if the text has none.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// Whether the host is this machine by its name: `localhost`.
    pub fn is_localhost(&self) -> bool {
        self.0.host_str() == Some("localhost")
    }

    /// Whether connections to the host do not leave this machine.
    pub fn is_on_this_machine(&self) -> bool {
        is_on_this_machine(&self.0)
    }

    /// Whether everything behind the host is sent in clear, without a path of its own: `http://host:port`.
    pub fn is_plain_origin(&self) -> bool {
        self.0.scheme() == "http" && self.0.path() == "/"
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text as a URL, with a scheme if it has none.
fn read(text: &str) -> Option<Url> {
    if text.is_empty() || text.contains(char::is_whitespace) || text.contains('\\') {
        return None;
    }
    if text.contains("://") {
        return Url::parse(text).ok();
    }
    let rest = text.trim_start_matches('/');
    let rest = if rest.starts_with(':') { format!("127.0.0.1{rest}") } else { rest.to_owned() };
    // a number alone would be an IP address in the form of one number
    if rest.split('/').next().is_none_or(|host| host.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let plain = Url::parse(&format!("http://{rest}")).ok()?;
    if is_on_this_machine(&plain) { Some(plain) } else { Url::parse(&format!("https://{rest}")).ok() }
}

fn is_on_this_machine(url: &Url) -> bool {
    match ip_of(url) {
        Some(ip) => ip.is_loopback() || ip.is_unspecified(),
        None => url.host_str().is_some_and(|host| host == "localhost" || host.ends_with(".localhost")),
    }
}

fn ip_of(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// The text for a message, without what stands before an `@`: that may be a password.
fn shown(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_understood_as_it_is_typed() {
        for (text, address) in [
            ("http://127.0.0.1:8765/", "http://127.0.0.1:8765"),
            (" 127.0.0.1:8765\n", "http://127.0.0.1:8765"),
            ("localhost:8765", "http://localhost:8765"),
            ("LocalHost:8765/", "http://localhost:8765"),
            ("[::1]:8765", "http://[::1]:8765"),
            (":8765", "http://127.0.0.1:8765"),
            ("0.0.0.0:8765", "http://0.0.0.0:8765"),
            ("mgx.example.com", "https://mgx.example.com"),
            ("//mgx.example.com/", "https://mgx.example.com"),
            ("192.168.1.5:8765", "https://192.168.1.5:8765"),
            ("HTTP://Mgx.Example.COM:80/", "http://mgx.example.com"),
            ("https://mgx.example.com:443/team/", "https://mgx.example.com/team"),
        ] {
            assert_eq!(Address::parse(text).unwrap().as_str(), address, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_a_password_in_the_message() {
        for text in [
            "",
            " ",
            "8765",
            "ftp://a",
            "unix:///run/x",
            "http://",
            "http://a b",
            "http://a:99999",
            "http:a:1",
            "http://u:canary@a",
            "http://127.0.0.1:8765@evil.example",
            "http://a/?canary=1",
            "http://a/#x",
            "http://a\\b",
            "u:canary@a:1",
        ] {
            let refused = Address::parse(text).unwrap_err().to_string();
            assert!(!refused.contains(":canary"), "{refused}");
        }
    }

    #[test]
    fn hosts_on_this_machine_are_known() {
        for (text, is) in [
            ("http://127.0.0.2:1", true),
            ("http://[::1]", true),
            ("http://app.localhost", true),
            ("http://localhost.example.com", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(Address::parse(text).unwrap().is_on_this_machine(), is, "{text}");
        }
    }
}
