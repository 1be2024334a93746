//! The server that the command line connects to, the token for it, and the messages for refused requests. A token is sent
//! only to the server that it is for.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;

use mgx_client::{Address, Cause, Error};
use secrecy::SecretString;

pub(crate) use mgx_client::Client;

use super::credentials::Credentials;
use super::out::{Failure, harmless};
use crate::config::{self, Config};
use crate::data_dir::{self, Holder, TOKEN};

/// Flags that name the server and the token, in the place of those of the configuration.
#[derive(Debug, Default, Clone, clap::Args)]
pub(crate) struct Server {
    /// Speak to the server at this address, such as `https://mgx.example.com`; by default to the one in `MGX_URL`, else to
    /// the one of this configuration.
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    url: Option<String>,
    /// The token; by default the one in `MGX_TOKEN`, else the one of `mgx login`, else the admin token in the data
    /// directory. That of `MGX_TOKEN` is sent to `MGX_URL` alone, if that is set, and the admin token to the server of the
    /// data directory alone.
    #[arg(long, global = true, value_name = "TOKEN", hide = true)]
    token: Option<SecretString>,
}

/// A server, and whether it is the one of this configuration's data directory.
#[derive(Debug)]
struct Target {
    address: Address,
    is_own: bool,
}

impl Server {
    /// A client of the server that the flags, the environment or the configuration name.
    pub(crate) fn client(&self, config: &Config) -> Result<Client, Failure> {
        let Target { address, is_own } = self.target(config)?;
        let token = match self.given_token(&address) {
            Some(token) => token,
            None => match login_token(&address)? {
                Some(token) => token,
                None if is_own => own_token(config, &address)?,
                None => return Err(no_token(config, &address)),
            },
        };
        Ok(Client::new(address.as_str(), token)?)
    }

    /// The address of the server that the flags, the environment or the configuration name.
    pub(crate) fn address(&self, config: &Config) -> Result<Address, Failure> {
        Ok(self.target(config)?.address)
    }

    /// The directory with the files of sessions, if the server is the one of this configuration.
    pub(crate) fn workspaces<'a>(&self, config: &'a Config) -> Option<&'a Path> {
        self.target(config).is_ok_and(|target| target.is_own).then_some(config.workspaces.root.as_path())
    }

    fn target(&self, config: &Config) -> Result<Target, Failure> {
        let listens = listens_on(config);
        let own = Address::parse(&config::local_url(listens))?;
        let named = self.url.clone().or_else(|| variable("MGX_URL"));
        let named = named.map(|named| Address::parse(&named)).transpose()?;
        let is_here = is_of_this_machine(listens.ip());
        match named {
            Some(address) if !(is_here && reaches(&address, listens)) => {
                Ok(Target { address, is_own: false })
            }
            Some(_) | None if is_here => Ok(Target { address: own, is_own: true }),
            Some(_) | None => {
                let why = format!("server.listen is {listens}, which is no address of this machine");
                Err(Failure::new(format!("{why}; name a server on another machine with --url")))
            }
        }
    }

    /// The token that the flags or the environment name for the server at `address`.
    fn given_token(&self, address: &Address) -> Option<SecretString> {
        let of_environment = || {
            let token = variable("MGX_TOKEN")?;
            let is_for_it = match variable("MGX_URL") {
                Some(url) => self.url.is_none() || Address::parse(&url).is_ok_and(|url| url == *address),
                None => true,
            };
            is_for_it.then(|| token.trim().to_owned().into())
        };
        self.token.clone().or_else(of_environment)
    }
}

/// A client of this configuration's own server with its admin token, if that server runs.
pub(crate) fn own_client(config: &Config) -> Result<Client, Failure> {
    let address = Address::parse(&config::local_url(listens_on(config)))?;
    Ok(Client::new(address.as_str(), own_token(config, &address)?)?)
}

/// Whether a connection to `named` is one to the server on this machine that listens on `listens`.
fn reaches(named: &Address, listens: SocketAddr) -> bool {
    let is_open = listens.ip().is_unspecified();
    let is_host = match named.ip() {
        Some(ip) if is_open => ip.is_unspecified() || ["127.0.0.1", "::1"].contains(&&*ip.to_string()),
        Some(ip) => ip == listens.ip(),
        None => named.is_localhost() && (is_open || listens.ip().is_loopback()),
    };
    is_host && named.is_plain_origin() && named.port() == listens.port()
}

/// Whether a server of this machine can listen on the address: a configuration may name any.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || TcpListener::bind((ip, 0)).is_ok()
}

/// The address that the server of this data directory listens on: what that server says if it runs, else what it will be.
fn listens_on(config: &Config) -> SocketAddr {
    let running = holder(config).ok().flatten().and_then(|holder| holder.address);
    running.unwrap_or(config.server.listen)
}

fn holder(config: &Config) -> std::io::Result<Option<Holder>> {
    data_dir::server(&config.server.data_dir, &config.process())
}

/// A variable of the environment that is set and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let remedy = match &error {
            Error::Unreachable { base, cause } => unreachable(base, cause),
            Error::Late { .. } | Error::NotReady { .. } => "; look at its log",
            Error::Refused(problem) if problem.status == 401 => {
                "; is MGX_TOKEN, the login or the data directory that of this server?"
            }
            Error::Broken { base, .. } if base.starts_with("http://") => {
                "; is a server of MGX there, and does it speak http and not https?"
            }
            Error::Token => "; is MGX_TOKEN one line, and whole?",
            Error::Setup(_)
            | Error::Address { .. }
            | Error::Broken { .. }
            | Error::Foreign { .. }
            | Error::Refused(_) => "",
        };
        let usage = error.problem().is_some_and(|problem| [400, 422].contains(&problem.status))
            || matches!(error, Error::Address { .. });
        Self::with(if usage { 2 } else { 1 }, harmless(&format!("{error}{remedy}")))
    }
}

/// What helps if there is no connection to the server at `base`.
fn unreachable(base: &str, cause: &Cause) -> &'static str {
    let is_here = Address::parse(base).is_ok_and(|address| address.is_on_this_machine());
    match cause {
        Cause::Refused if is_here => "; start it with `mgx up --detach`",
        Cause::Refused => "; does it run, and is that its address?",
        Cause::UnknownHost => "; is the name right, and does this machine have a network?",
        Cause::Certificate(_) => {
            "; if an authority of your own has signed it, name the file of that in SSL_CERT_FILE"
        }
        Cause::Tls(_) => "; if it has no TLS, write http://",
        Cause::Other(_) => "",
    }
}

/// The token that `mgx login` keeps for the server at `address`.
fn login_token(address: &Address) -> Result<Option<SecretString>, Failure> {
    let credentials = Credentials::of_this_user().map_err(|error| Failure::new(error.to_string()))?;
    Ok(credentials.and_then(|credentials| credentials.of(address).map(|login| login.token.clone())))
}

/// The admin token of this configuration's own server, which has to run: another program may listen at its address.
fn own_token(config: &Config, address: &Address) -> Result<SecretString, Failure> {
    let token = admin_token(&config.server.data_dir)?;
    let unreadable = |error| {
        let dir = config.server.data_dir.display();
        Failure::new(format!("cannot look into {dir}: {error}; run this as the user that the server runs as"))
    };
    if holder(config).map_err(unreadable)?.is_some() {
        return Ok(token);
    }
    let cause = Cause::Refused;
    Err(Error::Unreachable { base: address.to_string(), cause }.into())
}

/// The failure of a command that has no token for the server at `address`.
fn no_token(config: &Config, address: &Address) -> Failure {
    let of_environment = variable("MGX_TOKEN").zip(variable("MGX_URL"));
    let other = of_environment.map_or_else(String::new, |(_, url)| {
        format!(
            "; that of MGX_TOKEN is for {} (MGX_URL) alone",
            Address::parse(&url).map_or(url, |url| url.to_string())
        )
    });
    let admin = if config.server.data_dir.join(TOKEN).exists() {
        format!("; the one in {} is for the server of that directory alone", config.server.data_dir.display())
    } else {
        String::new()
    };
    Failure::new(harmless(&format!(
        "there is no token for {address}{other}{admin}; sign in with `mgx login --url {address}`, or set MGX_URL and MGX_TOKEN"
    )))
}

/// The admin token that the server keeps in its data directory.
fn admin_token(data_dir: &Path) -> Result<SecretString, Failure> {
    let path = data_dir.join(TOKEN);
    match std::fs::read_to_string(&path) {
        Ok(token) => Ok(token.trim().to_owned().into()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Failure::new(format!(
            "there is no token in {}; start the server with `mgx up --detach`, or set MGX_TOKEN",
            data_dir.display()
        ))),
        Err(error) => Err(Failure::new(format!(
            "cannot read {}: {error}; run this as the user that the server runs as, or set MGX_TOKEN",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mgx_client::Problem;

    #[test]
    fn the_own_server_is_known_by_its_address_alone() {
        let is_own =
            |named: &str, listens: &str| reaches(&Address::parse(named).unwrap(), listens.parse().unwrap());
        for named in ["http://127.0.0.1:8765", "localhost:8765", "http://LOCALHOST:8765/"] {
            assert!(is_own(named, "127.0.0.1:8765"), "{named}");
            assert!(is_own(named, "0.0.0.0:8765"), "{named}");
        }
        assert!(is_own("http://[::1]:8765", "[::1]:8765") && is_own("0.0.0.0:8765", "0.0.0.0:8765"));
        assert!(is_own("http://192.168.1.5:8765", "192.168.1.5:8765"));
        for named in [
            "http://127.0.0.2:8765",
            "https://127.0.0.1:8765",
            "http://127.0.0.1:8766",
            "http://127.0.0.1",
            "http://127.0.0.1:8765/team",
            "http://localhost.example.com:8765",
            "http://[::1]:8765",
            "http://192.168.1.5:8765",
        ] {
            assert!(!is_own(named, "127.0.0.1:8765"), "{named}");
        }
        assert!(!is_own("localhost:8765", "192.168.1.5:8765"));
    }

    #[test]
    fn a_problem_becomes_a_sentence_and_an_exit_code() {
        let refused = |json: &str| {
            Failure::from(Error::Refused(Box::new(serde_json::from_str::<Problem>(json).unwrap())))
        };
        let failure = refused(
            r#"{ "status": 422, "title": "The request is not valid", "detail": "1 field is not acceptable",
                 "errors": [{ "pointer": "/framework", "detail": "a framework is nextjs or fastapi-vite\u001b[2J" }] }"#,
        );
        insta::assert_snapshot!(failure, @r"
        The request is not valid: 1 field is not acceptable
          /framework a framework is nextjs or fastapi-vite[2J
        ");
        assert_eq!(failure.code, 2);
        let failure = refused(r#"{ "status": 429, "title": "The queue is full" }"#);
        assert_eq!((failure.code, failure.message.as_str()), (1, "The queue is full"));
        let failure = refused(r#"{ "status": 401, "title": "A valid token is needed" }"#);
        assert!(failure.message.ends_with("that of this server?"), "{failure}");
    }
}
