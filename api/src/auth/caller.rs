//! Who is asking, and what they may: what every handler under `/api` is given.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use mgx_oauth2::{ADMIN, AccessToken, Scope, Subject, User};

use super::challenge::unauthorized;
use super::rights::{Right, Rights};
use crate::http::Problem;

/// Who is asking. Having one means that they have shown who they are, and may ask for this route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    user: Arc<str>,
    rights: Rights,
    is_admin: bool,
}

impl Caller {
    /// Whoever has the administrator's token: the user `admin`, with every right.
    pub(crate) fn admin() -> Self {
        Self { user: ADMIN.into(), rights: Rights::ALL, is_admin: true }
    }

    /// A user, with what `scope` is good for. A user is an administrator if the scope says so too.
    pub(crate) fn of_user(user: &User, scope: &Scope) -> Self {
        Self::new(user.name.as_str().into(), user.groups.contains(ADMIN), scope)
    }

    /// Whoever an access token speaks for. A client that speaks for itself has things of its own, whose owner no user
    /// can be called: names have no colon.
    pub(crate) fn of_access(access: &AccessToken) -> Option<Self> {
        let user = match (&access.subject, &access.username) {
            (Subject::User(_), Some(name)) => name.as_str().into(),
            (Subject::User(_), None) => return None,
            (Subject::Client, _) => format!("client:{}", access.client).into(),
        };
        Some(Self::new(user, access.groups.contains(ADMIN), &access.scope))
    }

    fn new(user: Arc<str>, is_one_of_them: bool, scope: &Scope) -> Self {
        let rights = Rights::of(scope);
        Self { user, rights, is_admin: is_one_of_them && rights.has(Right::Admin) }
    }

    /// Their name, by which what is theirs is known: for ever, no user is renamed.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// What they may.
    pub fn rights(&self) -> Rights {
        self.rights
    }

    /// Whether they administrate the platform.
    pub fn is_admin(&self) -> bool {
        self.is_admin
    }

    /// Whose things they may see and change; `None`: everybody's. What is somebody else's is not there for them.
    pub fn sees(&self) -> Option<&str> {
        (!self.is_admin).then_some(&*self.user)
    }

    /// Whether they may ask for a route that wants `right`.
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
        assert!(!of(true, "admin").may(Right::Read), "a scope is what it says, and no more");
    }
}
