//! The rights that routes require and tokens grant: the scopes `read`, `write` and `admin`.

use std::fmt;

use axum::http::Method;
use mgx_oauth2::Scope;

/// The right that a route requires and a token grants: a scope (RFC 6749 section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// To read: GET and HEAD.
    Read,
    /// To create, change and delete: every other method.
    Write,
    /// To administrate: everything under `/api/admin`, and the resources of all users.
    Admin,
}

/// A set of rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    read: bool,
    write: bool,
    admin: bool,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// Its name in a scope.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    /// The right that a request requires, from its method and path alone: a new route cannot forget to require one.
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        if path == "/api/admin" || path.starts_with("/api/admin/") {
            Self::Admin
        } else if method.is_safe() {
            Self::Read
        } else {
            Self::Write
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Rights {
    /// All rights.
    pub const ALL: Self = Self { read: true, write: true, admin: true };

    /// The rights that a scope grants here; other words of the scope grant nothing.
    pub fn of(scope: &Scope) -> Self {
        let has = |right: Right| scope.has(right.name());
        Self { read: has(Right::Read), write: has(Right::Write), admin: has(Right::Admin) }
    }

    /// Whether `right` is among them.
    pub fn has(self, right: Right) -> bool {
        match right {
            Right::Read => self.read,
            Right::Write => self.write,
            Right::Admin => self.admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_for_a_route_follows_from_its_method_and_path() {
        let of = |method: &str, path| Right::of(&method.parse().unwrap(), path);
        assert_eq!(of("GET", "/api/sessions"), Right::Read);
        assert_eq!(of("HEAD", "/api/sessions/x/events"), Right::Read);
        for method in ["POST", "PUT", "DELETE", "PATCH", "BREW"] {
            assert_eq!(of(method, "/api/sessions"), Right::Write, "{method}");
        }
        assert_eq!(of("GET", "/api/admin/users"), Right::Admin);
        assert_eq!(of("POST", "/api/admin"), Right::Admin);
        assert_eq!(of("GET", "/api/administer"), Right::Read);
    }
}
