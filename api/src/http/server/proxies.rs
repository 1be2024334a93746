//! The client's address behind proxies: from `X-Forwarded-For`, if trusted proxies sent it.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer, Error, Unexpected};

use super::forward::FORWARDED;

/// The field to which a proxy adds the address of its client.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies whose `X-Forwarded-For` is trusted; from other peers the field is ignored. Written as addresses or networks
/// (RFC 4632, RFC 4291) with commas between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

/// Not a list of addresses and networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("addresses or networks such as 10.0.0.7 or 10.0.0.0/8, with commas between")]
pub struct NotProxies;

impl Proxies {
    /// None.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Whether `address` is a trusted proxy.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address.to_canonical()))
    }

    /// Whether a peer that is no trusted proxy says that it has passed a request on.
    pub(crate) fn is_unknown_proxy(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        headers.contains_key(FORWARDED_FOR) && !headers.contains_key(FORWARDED) && !self.contains(peer)
    }

    /// The client of a request on a connection from `peer`: the address that the first trusted proxy added. Addresses further
    /// to the left may be forged.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let mut forwarded = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(',').map(address));
        let mut client = peer;
        while self.contains(client)
            && let Some(Some(before)) = forwarded.next()
        {
            client = before;
        }
        client
    }
}

fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    text.parse().or_else(|_| text.parse().map(|socket: SocketAddr| socket.ip())).ok()
}

impl FromStr for Proxies {
    type Err = NotProxies;

    fn from_str(text: &str) -> Result<Self, NotProxies> {
        let net = |text: &str| {
            let text = text.trim();
            text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| NotProxies)
        };
        if text.trim().is_empty() {
            return Ok(Self::none());
        }
        text.split(',').map(net).collect::<Result<_, _>>().map(Self)
    }
}

impl<'de> Deserialize<'de> for Proxies {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|allowed: NotProxies| {
            Error::invalid_value(Unexpected::Str(&text), &allowed.to_string().as_str())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &str, peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        proxies.parse::<Proxies>().unwrap().client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert_eq!(client("", "127.0.0.1", &["10.9.9.9"]), "127.0.0.1");
        assert_eq!(client("127.0.0.1", "192.0.2.1", &["10.9.9.9"]), "192.0.2.1");
        assert_eq!(client("127.0.0.1", "127.0.0.1", &["203.0.113.5"]), "203.0.113.5");
        assert_eq!(client("127.0.0.1", "::ffff:127.0.0.1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(client("127.0.0.1", "127.0.0.1", &[]), "127.0.0.1");
    }

    #[test]
    fn what_a_client_writes_itself_is_not_believed() {
        let chain = ["198.51.100.1, 203.0.113.5", "10.0.0.7"];
        assert_eq!(client("10.0.0.0/8, 127.0.0.1", "127.0.0.1", &chain), "203.0.113.5");
        assert_eq!(client("127.0.0.1", "127.0.0.1", &["198.51.100.1", "nonsense"]), "127.0.0.1");
    }

    #[test]
    fn a_proxy_that_is_not_trusted_is_noticed() {
        let is_unknown = |peer: &str, names: &[&'static str]| {
            let headers =
                names.iter().map(|name| (name.parse().unwrap(), "203.0.113.5".parse().unwrap())).collect();
            "10.0.0.0/8".parse::<Proxies>().unwrap().is_unknown_proxy(peer.parse().unwrap(), &headers)
        };
        assert!(is_unknown("127.0.0.1", &["x-forwarded-for"]));
        assert!(!is_unknown("10.0.0.7", &["x-forwarded-for"]));
        assert!(!is_unknown("127.0.0.1", &["host"]));
        assert!(
            !is_unknown("127.0.0.1", &["x-forwarded-for", "mgx-handed-on"]),
            "another process of the platform"
        );
    }

    #[test]
    fn only_addresses_and_networks_are_proxies() {
        for text in ["localhost", "10.0.0.0/33", "10.0.0.1,", "*"] {
            assert_eq!(text.parse::<Proxies>(), Err(NotProxies), "{text}");
        }
    }
}
