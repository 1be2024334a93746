//! Why there is no connection to a container engine, and what the operator can do about it.

use std::error::Error;
use std::fmt;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// An engine, by the program that has to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineName {
    /// Docker.
    Docker,
    /// Podman's service.
    Podman,
}

/// Why there is no connection to an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectFault {
    engine: EngineName,
    address: String,
    cause: Cause,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    NoSocket,
    NoSocketButAFile,
    PermissionDenied,
    NothingListens,
    UnknownHost,
    Tls,
    NoEngine,
    Other(String),
}

impl ConnectFault {
    /// The fault behind the error of a connection to `address`, such as `unix:///var/run/docker.sock`.
    pub fn of(engine: EngineName, address: &str, error: &(dyn Error + 'static)) -> Self {
        let path = socket(address);
        let is_file =
            path.and_then(|path| path.metadata().ok()).is_some_and(|it| !it.file_type().is_socket());
        let cause = match cause(error) {
            Cause::NothingListens | Cause::Other(_) if is_file => Cause::NoSocketButAFile,
            cause => cause,
        };
        Self { engine, address: address.to_owned(), cause }
    }

    /// What the operator can do about it.
    pub fn remedy(&self) -> String {
        let place = match self.engine {
            EngineName::Docker => "docker.host",
            EngineName::Podman => "podman.host",
        };
        let start = match self.engine {
            EngineName::Docker => {
                "start it (`systemctl start docker`), install it (`apt-get install docker.io`)"
            }
            EngineName::Podman => {
                "start it (`systemctl enable --now podman.socket`, with `--user` if it is to be rootless; without \
                 systemd `podman system service --time=0`), install it (`apt-get install podman`)"
            }
        };
        match (&self.cause, self.engine) {
            (Cause::NoSocket | Cause::NothingListens, _) => format!("{start}, or set {place}"),
            (Cause::NoSocketButAFile, _) => format!("set {place} to the socket of the engine"),
            (Cause::PermissionDenied, EngineName::Docker) => {
                "add this user to the group of the socket and sign in again (`usermod -aG docker USER`), or run this \
                 as root"
                    .to_owned()
            }
            (Cause::PermissionDenied, EngineName::Podman) => {
                "run this as the user of that service, or start one of this user (`systemctl --user enable --now \
                 podman.socket`) and set podman.host to its socket"
                    .to_owned()
            }
            (Cause::UnknownHost, _) => format!("set {place} to a host that exists, or to a socket of this machine"),
            (Cause::Tls, _) => {
                format!("set {place} to a socket of this machine: no TLS is spoken to engines")
            }
            (Cause::NoEngine, _) => format!("set {place} to the address of the engine"),
            (Cause::Other(_), _) => format!("{start}, or set {place}; the engine's own log says more"),
        }
    }
}

impl fmt::Display for ConnectFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = &self.address;
        match &self.cause {
            Cause::NoSocket => write!(f, "there is no such socket: {address}"),
            Cause::NoSocketButAFile => write!(f, "{address} is a file and no socket"),
            Cause::PermissionDenied => write!(f, "permission denied: this user may not use {address}"),
            Cause::NothingListens => write!(f, "connection refused: no engine listens at {address}"),
            Cause::UnknownHost => write!(f, "the host of {address} has no address (DNS)"),
            Cause::Tls => write!(f, "{address} speaks TLS"),
            Cause::NoEngine => write!(f, "what answers at {address} is no container engine"),
            Cause::Other(why) => write!(f, "{why} ({address})"),
        }
    }
}

impl Error for ConnectFault {}

/// The path of a socket's address.
fn socket(address: &str) -> Option<&Path> {
    let path = address.strip_prefix("unix://").unwrap_or(address);
    path.starts_with('/').then(|| Path::new(path))
}

/// The cause in the chain of an error: libraries put their own words around what the operating system says.
fn cause(error: &(dyn Error + 'static)) -> Cause {
    let mut last = error.to_string();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if text.contains("HTTP request to an HTTPS server") {
            return Cause::Tls;
        }
        if text.starts_with("dns error") || text.contains("failed to lookup address") {
            return Cause::UnknownHost;
        }
        if let Some(hyper) = error.downcast_ref::<hyper::Error>()
            && (hyper.is_parse() || hyper.is_incomplete_message() || text.contains("unexpected message"))
        {
            return Cause::NoEngine;
        }
        if matches!(error.downcast_ref(), Some(bollard::errors::Error::SocketNotFoundError(_))) {
            return Cause::NoSocket;
        }
        let os = error.downcast_ref::<io::Error>();
        match os.map(io::Error::kind) {
            Some(io::ErrorKind::PermissionDenied) => return Cause::PermissionDenied,
            Some(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Cause::NoSocket,
            Some(io::ErrorKind::ConnectionRefused) => return Cause::NothingListens,
            Some(_) | None => {}
        }
        last = text;
        // `source` leaves out the error that an I/O error is made of
        next = match os {
            Some(os) => os.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    Cause::Other(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("client error (Connect)")]
    struct Library(#[source] io::Error);

    #[test]
    fn a_cause_below_the_words_of_a_library_is_said_with_its_remedy() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let file = format!("unix://{}", file.path().display());
        let mut text = String::new();
        for (engine, address, code) in [
            (EngineName::Docker, "unix:///var/run/docker.sock", 13),
            (EngineName::Docker, "unix:///nowhere", 2),
            (EngineName::Docker, "tcp://127.0.0.1:1", 111),
            (EngineName::Docker, &*file, 111),
            (EngineName::Podman, "unix:///run/podman/podman.sock", 13),
            (EngineName::Podman, "unix:///run/podman/podman.sock", 111),
            (EngineName::Podman, "unix:///run/podman/podman.sock", 113),
        ] {
            let fault = ConnectFault::of(engine, address, &Library(io::Error::from_raw_os_error(code)));
            text.push_str(&format!("{fault}\n  → {}\n", fault.remedy()).replace(&file, "unix:///FILE"));
        }
        insta::assert_snapshot!(text);
        let dns =
            Library(io::Error::other("failed to lookup address information: Name or service not known"));
        let fault = ConnectFault::of(EngineName::Docker, "tcp://nowhere.invalid:1", &dns);
        assert_eq!(fault.to_string(), "the host of tcp://nowhere.invalid:1 has no address (DNS)");
    }
}
