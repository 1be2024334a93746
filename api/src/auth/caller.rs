//! The caller of a request and the caller's rights: every handler under `/api` gets one.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use mgx_oauth2::{ADMIN, AccessToken, Scope, Subject, User, UserId};

use super::challenge::unauthorized;
use super::rights::{Right, Rights};
use crate::http::Problem;

/// The authenticated caller. A handler that has one is called by a user or client with the right for its route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    user: Arc<str>,
    rights: Rights,
    is_admin: bool,
}

impl Caller {
    /// The holder of the administrator's token: the user `admin`, with every right.
    pub(crate) fn admin() -> Self {
        Self { user: ADMIN.into(), rights: Rights::ALL, is_admin: true }
    }

    /// A user with the rights of `scope`. A member of `admin` is an administrator only if the scope has `admin` too.
    pub(crate) fn of_user(user: &User, scope: &Scope) -> Self {
        Self::new(user.name.as_str().into(), user.groups.contains(ADMIN), scope)
    }

    /// The user or client that an access token was issued to, or the user's id if the token does not say enough about
    /// the user: its name is in it with the scope `profile`, and its groups, which an administrator has, with `groups`.
    /// A client that acts for itself owns its resources under the name `client:ID`; no user has such a name, because user
    /// names have no colon.
    pub(crate) fn of_access(access: &AccessToken) -> Result<Self, UserId> {
        let in_admin_group = access.groups.contains(ADMIN);
        let user = match (&access.subject, &access.username) {
            (Subject::User(user), _) if !in_admin_group && Rights::of(&access.scope).has(Right::Admin) => {
                return Err(*user);
            }
            (Subject::User(_), Some(name)) => name.as_str().into(),
            (Subject::User(user), None) => return Err(*user),
            (Subject::Client, _) => format!("client:{}", access.client).into(),
        };
        Ok(Self::new(user, in_admin_group, &access.scope))
    }

    fn new(user: Arc<str>, in_admin_group: bool, scope: &Scope) -> Self {
        let rights = Rights::of(scope);
        Self { user, rights, is_admin: in_admin_group && rights.has(Right::Admin) }
    }

    /// The name under which the caller's resources are stored; users cannot be renamed.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The rights of the token.
    pub fn rights(&self) -> Rights {
        self.rights
    }

    /// Whether the caller is an administrator.
    pub fn is_admin(&self) -> bool {
        self.is_admin
    }

    /// The owner whose resources the caller may see and change; `None` for an administrator: those of all owners. Other
    /// resources are answered as if they did not exist.
    pub fn sees(&self) -> Option<&str> {
        (!self.is_admin).then_some(&*self.user)
    }

    /// Whether the caller may use a route that requires `right`.
    pub(crate) fn may(&self, right: Right) -> bool {
        self.rights.has(right) && (right != Right::Admin || self.is_admin)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(unauthorized)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_administrator_needs_the_scope_too() {
        let of = |one_of_them, scope: &str| Caller::new("ann".into(), one_of_them, &scope.parse().unwrap());
        assert_eq!(of(true, "read write admin").sees(), None);
        assert!(of(true, "admin").may(Right::Admin));
        for caller in [of(true, "read write"), of(false, "read write admin")] {
            assert_eq!(caller.sees(), Some("ann"));
            assert!(!caller.may(Right::Admin) && caller.may(Right::Write));
        }
        assert!(!of(true, "admin").may(Right::Read), "`admin` does not include `read`");
    }
}
