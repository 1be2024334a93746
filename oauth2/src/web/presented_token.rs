//! Access tokens in requests: `Authorization: Bearer` (RFC 6750) and `Authorization: DPoP` (RFC 9449).

use http::{HeaderMap, HeaderValue, header};

/// The access token in the `Authorization` header of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PresentedToken<'a> {
    /// A bearer token (RFC 6750 section 2.1).
    Bearer(&'a str),
    /// A token that is bound to a key, with its proof if the request has exactly one (RFC 9449 section 7.1).
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
    /// The token of a request; none if there are two headers.
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

/// The DPoP proof of a request; an error if there are two, or it is not ASCII.
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
    fn a_token_is_read_from_exactly_one_header() {
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
