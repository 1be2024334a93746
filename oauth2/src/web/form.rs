//! Reading a form: of one media type, a bounded size, in a bounded time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use http::{HeaderMap, header};
use http_body_util::BodyExt;

use crate::base::error::{ErrorCode, OAuthError};
use crate::base::params::{MOST, Params};
use crate::provider::Provider;

/// The longest time in which a form has to arrive.
const FORM_TIMEOUT: Duration = Duration::from_secs(30);

/// The most bytes of a form that is too large that are read and discarded, so that the client sees the response.
const MAX_DISCARDED_BYTES: usize = 4 * 1024 * 1024;

/// The parameters of a form, or why it cannot be read.
#[derive(Debug)]
pub(super) struct Form(pub(super) Result<Params, OAuthError>);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        let (headers, bytes) = match read(request).await {
            Ok(read) => read,
            Err(error) => return Ok(Self(Err(error))),
        };
        Ok(Self(urlencoded(&headers, &bytes)))
    }
}

/// The form of a token request. Where a user's password is accepted, it may be `multipart/form-data`, as the clients of the
/// original platform send it.
#[derive(Debug)]
pub(super) struct TokenForm(pub(super) Result<Params, OAuthError>);

impl FromRequest<Arc<Provider>> for TokenForm {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, provider: &Arc<Provider>) -> Result<Self, Self::Rejection> {
        let (headers, bytes) = match read(request).await {
            Ok(read) => read,
            Err(error) => return Ok(Self(Err(error))),
        };
        let boundary = media_type(&headers).and_then(|given| multer::parse_boundary(given).ok());
        Ok(Self(match boundary.filter(|_| provider.settings.legacy_client.is_some()) {
            Some(boundary) => multipart(&bytes, boundary).await,
            None => urlencoded(&headers, &bytes),
        }))
    }
}

/// The whole body of a form that is not compressed.
async fn read(request: Request) -> Result<(HeaderMap, Vec<u8>), OAuthError> {
    let (parts, body) = request.into_parts();
    let bytes = match tokio::time::timeout(FORM_TIMEOUT, collect(body)).await {
        Ok(read) => read?,
        Err(_) => return Err(OAuthError::invalid_request("the form did not arrive in time")),
    };
    if is_encoded(&parts.headers) {
        let detail = "a form is read as it comes: send it without content-encoding";
        return Err(OAuthError::new(ErrorCode::UnsupportedEncoding, detail));
    }
    Ok((parts.headers, bytes))
}

fn urlencoded(headers: &HeaderMap, bytes: &[u8]) -> Result<Params, OAuthError> {
    if is_form(headers) {
        Params::parse(bytes).map_err(|error| OAuthError::invalid_request(error.to_string()))
    } else {
        Err(OAuthError::invalid_request("send content-type: application/x-www-form-urlencoded"))
    }
}

/// The fields of `multipart/form-data` (RFC 7578), each once and none of them a file.
async fn multipart(bytes: &[u8], boundary: String) -> Result<Params, OAuthError> {
    let malformed = |_| OAuthError::invalid_request("the form is no multipart/form-data");
    let mut form = multer::Multipart::with_reader(bytes, boundary);
    let mut pairs = Vec::new();
    while let Some(field) = form.next_field().await.map_err(malformed)? {
        let name = field.name().filter(|_| field.file_name().is_none()).map(str::to_owned);
        let name = name.ok_or_else(|| OAuthError::invalid_request("a field has no name, or is a file"))?;
        let value = field.bytes().await.map_err(malformed)?;
        let value = std::str::from_utf8(&value)
            .map_err(|_| OAuthError::invalid_request("a parameter has an invalid character"))?;
        pairs.push((name, value.to_owned()));
    }
    let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    Params::parse(text.as_bytes()).map_err(|error| OAuthError::invalid_request(error.to_string()))
}

async fn collect(mut body: Body) -> Result<Vec<u8>, OAuthError> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| OAuthError::invalid_request("the form is incomplete"))?;
        let data = frame.into_data().unwrap_or_else(|_| Bytes::new());
        length += data.len();
        if length > MAX_DISCARDED_BYTES {
            break;
        }
        if length <= MOST {
            bytes.extend_from_slice(&data);
        }
    }
    if length > MOST {
        return Err(OAuthError::new(ErrorCode::TooLarge, format!("a form here has at most {MOST} bytes")));
    }
    Ok(bytes)
}

/// Whether the body is compressed, or encoded in another way (RFC 9110 section 8.4).
fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().any(|line| {
        let mut codings = line.to_str().unwrap_or("?").split(',').map(str::trim);
        codings.any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
    })
}

fn is_form(headers: &HeaderMap) -> bool {
    let essence = media_type(headers).unwrap_or_default().split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}
