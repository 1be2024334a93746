//! A proxy in front of the server: whether the server trusts it.

use std::net::IpAddr;

use super::Finding;
use crate::config::Config;
use crate::data_dir;

const CHECK: &str = "proxy";

/// Looks at what the server that runs, or ran last, has noted, and at the settings.
pub(super) fn look(config: &Config) -> Option<Finding> {
    let note = std::fs::read_to_string(data_dir::proxy_note(&config.server.data_dir, &config.process()));
    finding(config, note.ok().and_then(|text| text.trim().parse().ok()))
}

/// The finding about the proxy that was seen, and the one that the settings speak of.
fn finding(config: &Config, unknown: Option<IpAddr>) -> Option<Finding> {
    if let Some(peer) = unknown {
        return Some(Finding::warn(
            CHECK,
            format!("{peer} sends X-Forwarded-For and is not in server.trusted_proxies: it is ignored"),
            format!(
                "if it is your proxy, set server.trusted_proxies = \"{peer}\": without it, limits for each address count \
                 all clients as one"
            ),
        ));
    }
    let public = config.public_url();
    let is_behind =
        public.starts_with("https://") && config.server.trusted_proxies == mgx_api::Proxies::none();
    is_behind.then(|| {
        Finding::warn(
            CHECK,
            format!("{public} needs a proxy that speaks TLS, and server.trusted_proxies is empty"),
            "set server.trusted_proxies to the proxy's address, such as \"127.0.0.1\"",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Inputs, load};

    #[test]
    fn a_proxy_that_is_not_trusted_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = load(&Inputs { dir: dir.path().to_owned(), ..Inputs::default() }).unwrap().config;
        assert_eq!(finding(&config, None), None);
        let seen = finding(&config, Some(IpAddr::from([10, 0, 0, 7]))).unwrap();
        assert!(
            seen.what.contains("10.0.0.7") && seen.remedy.unwrap().contains("trusted_proxies = \"10.0.0.7\"")
        );
        config.oauth2.public_url = "https://mgx.example.org".to_owned();
        assert!(finding(&config, None).unwrap().what.contains("TLS"));
        config.server.trusted_proxies = "127.0.0.1".parse().unwrap();
        assert_eq!(finding(&config, None), None);
    }
}
