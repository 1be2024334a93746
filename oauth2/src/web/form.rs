//! Reading a form: of one media type, a bounded size, in a bounded time.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use http::{HeaderMap, header};
use http_body_util::BodyExt;

use crate::base::error::{ErrorCode, OAuthError};
use crate::base::params::{MOST, Params};

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
        let (parts, body) = request.into_parts();
        let read = match tokio::time::timeout(FORM_TIMEOUT, collect(body)).await {
            Ok(read) => read,
            Err(_) => Err(OAuthError::invalid_request("the form did not arrive in time")),
        };
        Ok(Self(read.and_then(|bytes| {
            if is_encoded(&parts.headers) {
                let detail = "a form is read as it comes: send it without content-encoding";
                Err(OAuthError::new(ErrorCode::UnsupportedEncoding, detail))
            } else if is_form(&parts.headers) {
                Params::parse(&bytes).map_err(|error| OAuthError::invalid_request(error.to_string()))
            } else {
                Err(OAuthError::invalid_request("send content-type: application/x-www-form-urlencoded"))
            }
        })))
    }
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
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = given.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}
