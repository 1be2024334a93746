//! The claims about a user that a scope permits (OpenID Connect Core section 5.4), in id tokens and at userinfo.

use serde::Serialize;

use crate::accounts::user::User;
use crate::base::ids::Username;
use crate::base::scope::{EMAIL, GROUPS, PROFILE, Scope};

/// The claims about a user, apart from `sub`.
#[derive(Clone, Debug, Serialize)]
pub struct UserClaims {
    /// With scope `profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// With scope `profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<Username>,
    /// With scope `profile`, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<i64>,
    /// With scope `email`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// With scope `email`: whether an administrator vouches for the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    /// With scope `groups`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
}

impl UserClaims {
    /// What `scope` permits to tell about `user`.
    pub(crate) fn of(user: &User, scope: &Scope) -> Self {
        let (profile, email) = (scope.has(PROFILE), user.email.as_ref().filter(|_| scope.has(EMAIL)));
        Self {
            name: profile.then(|| user.display_name.clone()),
            preferred_username: profile.then(|| user.name.clone()),
            updated_at: profile.then(|| user.updated_at.as_second()),
            email_verified: email.map(|_| user.email_verified),
            email: email.cloned(),
            groups: scope.has(GROUPS).then(|| user.groups.iter().cloned().collect()),
        }
    }
}
