//! A request to the token endpoint (RFC 6749 section 3.2), read from its parameters.

use secrecy::SecretString;

use crate::base::error::{ErrorCode, OAuthError};
use crate::base::params::Params;
use crate::clients::grant_type::GrantType;

/// A token request, by grant type.
#[derive(Debug)]
pub enum TokenRequest {
    /// Authorization code (RFC 6749 section 4.1.3).
    Code {
        /// The authorization code.
        code: SecretString,
        /// The redirect URI of the authorization request.
        redirect_uri: String,
        /// The PKCE code verifier (RFC 7636 section 4.5).
        verifier: SecretString,
    },
    /// Refresh token (RFC 6749 section 6).
    Refresh {
        /// The refresh token.
        token: SecretString,
        /// A narrower scope than the grant's, if requested.
        scope: Option<String>,
    },
    /// Client credentials (RFC 6749 section 4.4).
    Client {
        /// The requested scope.
        scope: Option<String>,
    },
    /// Device code (RFC 8628 section 3.4).
    Device {
        /// The device code.
        code: SecretString,
    },
    /// User name and password (RFC 6749 section 4.3).
    Password {
        /// The user's name.
        username: String,
        /// The user's password.
        password: SecretString,
        /// The requested scope.
        scope: Option<String>,
    },
}

impl TokenRequest {
    /// Reads a token request from its parameters.
    ///
    /// # Errors
    /// `unsupported_grant_type`, or `invalid_request` if something is missing.
    pub fn read(params: &Params) -> Result<Self, OAuthError> {
        let need = |name: &'static str| {
            params.get(name).ok_or_else(|| OAuthError::invalid_request(format!("{name} is missing")))
        };
        let secret = |name| need(name).map(SecretString::from);
        let scope = params.get("scope").map(str::to_owned);
        let grant = match params.get("grant_type") {
            Some(name) => GrantType::named(name).ok_or_else(|| {
                OAuthError::new(ErrorCode::UnsupportedGrantType, "the grant_type is not supported")
            })?,
            // a legacy sign-in form sends neither `grant_type` nor `client_id`
            None if params.get("username").is_some() && params.get("client_id").is_none() => {
                GrantType::Password
            }
            None => return Err(OAuthError::invalid_request("grant_type is missing")),
        };
        Ok(match grant {
            GrantType::AuthorizationCode => Self::Code {
                code: secret("code")?,
                redirect_uri: need("redirect_uri")?.to_owned(),
                verifier: params.get("code_verifier").map(SecretString::from).ok_or_else(|| {
                    OAuthError::invalid_request(
                        "code_verifier is missing: the client has to use PKCE (RFC 7636)",
                    )
                })?,
            },
            GrantType::RefreshToken => Self::Refresh { token: secret("refresh_token")?, scope },
            GrantType::ClientCredentials => Self::Client { scope },
            GrantType::DeviceCode => Self::Device { code: secret("device_code")? },
            GrantType::Password => {
                let username = need("username")?.to_owned();
                Self::Password { username, password: secret("password")?, scope }
            }
        })
    }

    /// The grant type.
    pub fn grant(&self) -> GrantType {
        match self {
            Self::Code { .. } => GrantType::AuthorizationCode,
            Self::Refresh { .. } => GrantType::RefreshToken,
            Self::Client { .. } => GrantType::ClientCredentials,
            Self::Device { .. } => GrantType::DeviceCode,
            Self::Password { .. } => GrantType::Password,
        }
    }
}
