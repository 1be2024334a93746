//! The path and the preconditions of a request for a file.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use mgx_protocol::WorkspaceId;
use mgx_workspaces::{Condition, ETag, WorkspacePath};

use crate::http::problem::{FieldError, Problem};

/// The workspace and the path of `/api/workspaces/{id}/files/{*path}`, read from the target as it was sent: the
/// path is decoded once, by the rules for paths.
#[derive(Debug)]
pub(crate) struct FilePath {
    pub(crate) workspace: WorkspaceId,
    pub(crate) path: WorkspacePath,
}

impl<S: Send + Sync> FromRequestParts<S> for FilePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut segments = parts.uri.path().splitn(6, '/').skip(3);
        let workspace = segments.next().unwrap_or("").parse().map_err(|_| Problem::not_found("workspace"))?;
        let path = WorkspacePath::from_url(segments.nth(1).unwrap_or(""))?;
        Ok(Self { workspace, path })
    }
}

/// The precondition of a write or a deletion: `If-Match` or `If-None-Match: *` (RFC 9110 section 13).
///
/// # Errors
/// `validation` if they are malformed, or both are present, or the body is only a part of the file.
pub(crate) fn condition(headers: &HeaderMap) -> Result<Condition, Problem> {
    if headers.contains_key(header::CONTENT_RANGE) {
        // RFC 9110 section 14.5: a part must not take the place of the whole
        return Err(refusal("Content-Range", "a file is written whole"));
    }
    let if_match = joined(headers, &header::IF_MATCH);
    let if_none_match = joined(headers, &header::IF_NONE_MATCH);
    match (if_match.as_deref(), if_none_match.as_deref()) {
        (None, None) => Ok(Condition::Always),
        (Some("*"), None) => Ok(Condition::Exists),
        (None, Some("*")) => Ok(Condition::Absent),
        (Some(list), None) => tags(list)
            .map(Condition::Matches)
            .ok_or_else(|| refusal("If-Match", "entity tags in quotes, or *")),
        (None, Some(_)) => Err(refusal("If-None-Match", "only * is understood here")),
        (Some(_), Some(_)) => Err(refusal("If-Match", "not together with If-None-Match")),
    }
}

/// Whether `If-None-Match` names the version `current` (weak comparison): the client has it already.
pub(crate) fn is_unchanged(headers: &HeaderMap, current: &ETag) -> bool {
    joined(headers, &header::IF_NONE_MATCH).is_some_and(|list| {
        list == "*" || list.split(',').any(|tag| tag.trim().trim_start_matches("W/") == current.as_str())
    })
}

/// Whether a range may be sent: `If-Range` is absent, or names the version `current`.
pub(crate) fn range_applies(headers: &HeaderMap, current: &ETag) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|tag| tag.as_bytes() == current.as_str().as_bytes())
}

/// A file's version as the value of a header.
pub(crate) fn etag_header(etag: &ETag) -> HeaderValue {
    HeaderValue::from_str(etag.as_str()).expect("an entity tag is visible ASCII")
}

/// All values of a list header as one; bytes beyond ASCII become a text that is no entity tag.
fn joined(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let values: Vec<_> =
        headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?").trim()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn tags(list: &str) -> Option<Vec<ETag>> {
    list.split(',').map(|tag| tag.trim().parse().ok()).collect()
}

fn refusal(header: &str, detail: &str) -> Problem {
    Problem::validation(vec![FieldError::parameter(header, detail)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn conditions() {
        let of = |pairs: &[(&'static str, &'static str)]| condition(&headers(pairs));
        let tag = |text: &str| text.parse::<ETag>().unwrap();
        assert_eq!(of(&[]).unwrap(), Condition::Always);
        assert_eq!(of(&[("if-match", "*")]).unwrap(), Condition::Exists);
        assert_eq!(of(&[("if-none-match", "*")]).unwrap(), Condition::Absent);
        let two = Condition::Matches(vec![tag("\"a\""), tag("\"b\"")]);
        assert_eq!(of(&[("if-match", "\"a\", \"b\"")]).unwrap(), two);
        assert_eq!(of(&[("if-match", "\"a\""), ("if-match", "\"b\"")]).unwrap(), two);
        for bad in [
            &[("if-match", "a")][..],
            &[("if-match", "")],
            &[("if-none-match", "\"a\"")],
            &[("if-match", "*"), ("if-none-match", "*")],
            &[("content-range", "bytes 0-9/100")],
        ] {
            assert_eq!(of(bad).unwrap_err().slug().as_str(), "validation", "{bad:?}");
        }
    }

    #[test]
    fn a_current_version_is_recognized() {
        let current: ETag = "\"a\"".parse().unwrap();
        for same in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(is_unchanged(&headers(&[("if-none-match", same)]), &current), "{same}");
        }
        assert!(!is_unchanged(&headers(&[("if-none-match", "\"b\"")]), &current));
        assert!(!is_unchanged(&headers(&[]), &current));
    }
}
