//! Parameters of a query or a form: each at most once, an empty one treated as absent (RFC 6749 section 3.1).

use std::collections::BTreeMap;

use crate::base::error::OAuthError;

/// The parameters of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(BTreeMap<String, String>);

/// The parameters cannot be read unambiguously.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadParams {
    /// A parameter occurs twice.
    #[error("a parameter is repeated")]
    Repeated,
    /// The text is longer than the limit.
    #[error("the parameters are too long")]
    TooLong,
    /// The text is not UTF-8.
    #[error("a parameter has an invalid character")]
    Character,
}

/// The longest accepted text, in bytes.
pub(crate) const MOST: usize = 16 * 1024;

impl Params {
    /// Reads `application/x-www-form-urlencoded`.
    ///
    /// # Errors
    /// [`BadParams`].
    pub fn parse(text: &[u8]) -> Result<Self, BadParams> {
        if text.len() > MOST {
            return Err(BadParams::TooLong);
        }
        let mut params = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(text) {
            // the parser turns invalid UTF-8 into replacement characters
            if name.chars().chain(value.chars()).any(|c| c == '\u{fffd}') {
                return Err(BadParams::Character);
            }
            if params.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(BadParams::Repeated);
            }
        }
        params.retain(|_, value| !value.is_empty());
        Ok(Self(params))
    }

    /// Reads the query of a URI, which may be absent.
    ///
    /// # Errors
    /// `invalid_request`.
    pub(crate) fn of_query(query: Option<&str>) -> Result<Self, OAuthError> {
        Self::parse(query.unwrap_or("").as_bytes())
            .map_err(|error| OAuthError::invalid_request(error.to_string()))
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The parameters as a query, without those named in `leave_out`.
    pub(crate) fn query_without(&self, leave_out: &[&str]) -> String {
        let kept = self.0.iter().filter(|(name, _)| !leave_out.contains(&name.as_str()));
        form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish()
    }

    /// The parameters with one value set, replaced or removed.
    pub(crate) fn with(&self, name: &str, value: Option<&str>) -> Self {
        let mut changed = self.clone();
        match value {
            Some(value) => changed.0.insert(name.to_owned(), value.to_owned()),
            None => changed.0.remove(name),
        };
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_occurs_once_and_an_empty_one_is_absent() {
        let params = Params::parse(b"a=1&b=&c=x+y%2B&d").unwrap();
        assert_eq!(
            (params.get("a"), params.get("b"), params.get("c"), params.get("d")),
            (Some("1"), None, Some("x y+"), None)
        );
        assert_eq!(Params::parse(b"a=1&a=1"), Err(BadParams::Repeated));
        assert_eq!(Params::parse(b"a=&a=1"), Err(BadParams::Repeated));
        assert_eq!(Params::parse(b"a=%ff"), Err(BadParams::Character));
        assert_eq!(Params::parse(&vec![b'a'; MOST + 1]), Err(BadParams::TooLong));
        assert_eq!(params.with("a", None).query_without(&[]), "c=x+y%2B");
    }
}
