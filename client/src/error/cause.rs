//! Why no connection to a server came about: found in the errors below the one of the HTTP library.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// Why no connection to a server came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No program listens at the address.
    Refused,
    /// The host has no address.
    UnknownHost,
    /// The server's certificate is not accepted.
    Certificate(String),
    /// The server does not speak TLS, or not in a way that this client understands.
    Tls(String),
    /// Another reason, as the operating system or the library says it.
    Other(String),
}

impl Cause {
    /// The cause of the error of a connection.
    pub(crate) fn of(error: &(dyn StdError + 'static)) -> Self {
        let mut last = error;
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return Self::of_tls(tls);
            }
            if error.to_string().starts_with("dns error") {
                return Self::UnknownHost;
            }
            last = error;
            next = match error.downcast_ref::<io::Error>() {
                Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Self::Refused,
                // `source` leaves out the error that an I/O error is made of
                Some(error) => error.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
                None => error.source(),
            };
        }
        Self::Other(last.to_string())
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(why) => Self::Certificate(match why {
                CertificateError::UnknownIssuer => {
                    "no authority that this machine trusts has signed it".to_owned()
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "it is for other names".to_owned()
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "it has expired".to_owned()
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "it is not valid yet".to_owned()
                }
                CertificateError::Revoked => "it was revoked".to_owned(),
                other => other.to_string(),
            }),
            rustls::Error::InvalidMessage(_) => Self::Tls("its answer is no TLS".to_owned()),
            rustls::Error::AlertReceived(alert) => Self::Tls(match alert {
                AlertDescription::CertificateRequired => "it asks for a certificate of the client".to_owned(),
                other => format!("it ended the connection ({other:?})"),
            }),
            other => Self::Tls(other.to_string()),
        }
    }

    /// Whether another try would end in the same way, until the user or an operator changes something.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::Certificate(_) | Self::Tls(_) => true,
            Self::Refused | Self::UnknownHost | Self::Other(_) => false,
        }
    }

    /// What is to be said about the server at `base`.
    pub(crate) fn sentence(&self, base: &str) -> String {
        match self {
            Self::Refused => format!("no server answers at {base}"),
            Self::UnknownHost => format!("the host of {base} is unknown: its name has no address"),
            Self::Certificate(why) => format!("the certificate of {base} is not accepted: {why}"),
            Self::Tls(why) => format!("cannot speak TLS with {base}: {why}"),
            Self::Other(why) => format!("cannot connect to {base}: {why}"),
        }
    }
}

/// The innermost cause of an error, for a message.
pub(crate) fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence("the server"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_lies_below_what_the_library_says() {
        let of = |error: rustls::Error| Cause::of(&io::Error::new(io::ErrorKind::InvalidData, error));
        let certificate = of(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        assert_eq!(
            certificate.sentence("https://a"),
            "the certificate of https://a is not accepted: no authority that this machine trusts has signed it"
        );
        assert!(certificate.is_lasting());
        let expired = of(rustls::Error::InvalidCertificate(CertificateError::Expired));
        assert_eq!(expired, Cause::Certificate("it has expired".to_owned()));
        let plain = of(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType));
        assert_eq!(plain, Cause::Tls("its answer is no TLS".to_owned()));
        let refused = Cause::of(&io::Error::from_raw_os_error(111));
        assert_eq!((refused.is_lasting(), &refused), (false, &Cause::Refused));
        let unreachable = Cause::of(&io::Error::from_raw_os_error(113)).to_string();
        assert!(unreachable.starts_with("cannot connect to the server: No route to host"), "{unreachable}");
    }
}
