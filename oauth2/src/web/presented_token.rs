//! How an access token is shown to whoever is to accept it.

use http::{HeaderMap, HeaderValue, header};

/// What the one `Authorization` header of a request shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PresentedToken<'a> {
    /// The token alone (RFC 6750).
    Bearer(&'a str),
    /// A token that is bound to a key, and the proof that came with it (RFC 9449 section 7.1), if just one did.
    Dpop {
        /// The token.
        token: &'a str,
        /// The `DPoP` header.
        proof: Option<&'a str>,
    },
}

/// Hides the token.
impl std::fmt::Debug for PresentedToken<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer(…)",
            Self::Dpop { .. } => "Dpop(…)",
        })
    }
}

impl<'a> PresentedToken<'a> {
    /// What a request shows. Two headers are as good as none.
    pub fn of(headers: &'a HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (all.next(), all.next()) else { return None };
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        let token = Some(token.trim()).filter(|token| !token.is_empty())?;
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" => Some(Self::Bearer(token)),
            "dpop" => Some(Self::Dpop { token, proof: proof(headers).ok().flatten() }),
            _ => None,
        }
    }
}

/// The proof that came with a request; an error, if there are two or it is no text.
pub(super) fn proof(headers: &HeaderMap) -> Result<Option<&str>, ()> {
    let mut all = headers.get_all("dpop").iter();
    match (all.next().map(HeaderValue::to_str), all.next()) {
        (None, _) => Ok(None),
        (Some(Ok(text)), None) => Ok(Some(text)),
        (Some(_), _) => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_header_shows_a_token() {
        let shown = |values: &[&'static str]| {
            let headers: HeaderMap =
                values.iter().map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value))).collect();
            PresentedToken::of(&headers).map(|shown| match shown {
                PresentedToken::Bearer(token) | PresentedToken::Dpop { token, .. } => {
                    (format!("{shown:?}"), token.to_owned())
                }
            })
        };
        assert_eq!(shown(&["Bearer abc"]), Some(("Bearer(…)".into(), "abc".into())));
        assert_eq!(shown(&["bearer  abc"]), Some(("Bearer(…)".into(), "abc".into())));
        assert_eq!(shown(&["DPoP abc"]), Some(("Dpop(…)".into(), "abc".into())));
        for wrong in [&[][..], &["Bearer"], &["Bearer "], &["Basic abc"], &["abc"], &["Bearer a", "DPoP a"]] {
            assert_eq!(shown(wrong), None, "{wrong:?}");
        }
    }
}
