//! The host that a request is for (RFC 9112 section 3.2, RFC 9113 section 8.3.1): exactly one, and a name that can be one.

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Version, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::http::problem::{Problem, Slug};

/// Refuses a request that does not say once which host it is for. What comes after it finds that host in `Host`, also if
/// the client wrote it into the target of the request.
pub(crate) async fn check(mut request: Request, next: Next) -> Result<Response, Problem> {
    let version = request.version();
    let host = host(&request).map_err(|why| {
        let problem = Problem::new(Slug::InvalidHost, why);
        // such a request may have been made to be read differently by a proxy: nothing after it is read
        if version < Version::HTTP_2 {
            problem.header(header::CONNECTION, HeaderValue::from_static("close"))
        } else {
            problem
        }
    })?;
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(next.run(request).await)
}

/// The host; a client of HTTP/1.0 may leave it out.
fn host(request: &Request) -> Result<Option<HeaderValue>, &'static str> {
    let mut fields = request.headers().get_all(header::HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (Some(_), Some(_)) => return Err("the request has more than one Host field"),
        (Some(field), None) if is_host(field.as_bytes()) => Some(field.clone()),
        (Some(_), None) => {
            return Err("the Host field is not the name or address of a host, with or without a port");
        }
        (None, _) => None,
    };
    let target = request.uri().authority().map(Authority::as_str);
    if target.is_some_and(|target| !is_host(target.as_bytes())) {
        return Err("the target of the request names no host, or a user");
    }
    let target = target.and_then(|target| HeaderValue::from_str(target).ok());
    match (request.version(), field, target) {
        (Version::HTTP_11, None, _) => Err("the request has no Host field, which HTTP/1.1 needs"),
        (Version::HTTP_2 | Version::HTTP_3, None, None) => Err("the request has neither :authority nor Host"),
        (Version::HTTP_2 | Version::HTTP_3, Some(field), Some(target))
            if !field.as_bytes().eq_ignore_ascii_case(target.as_bytes()) =>
        {
            Err("Host and :authority name different hosts")
        }
        // the target counts before the field (RFC 9112 section 3.2.2)
        (_, field, target) => Ok(target.or(field)),
    }
}

/// Whether `text` is a host, with or without a port.
fn is_host(text: &[u8]) -> bool {
    Authority::try_from(text).is_ok_and(|authority| {
        let after_host = authority.as_str().strip_prefix(authority.host()).unwrap_or("?");
        let is_port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok();
        !authority.host().is_empty()
            && (after_host.is_empty() || after_host.strip_prefix(':').is_some_and(is_port))
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::server::test_server;
    use crate::testing::socket::{answer, listen};

    #[tokio::test]
    async fn a_request_says_once_which_host_it_is_for() {
        let server = test_server().await;
        let address = listen(&server).await;
        for (head, status) in [
            ("GET /healthz HTTP/1.1\r\nhost: a.example\r\n", "200"),
            ("GET /healthz HTTP/1.1\r\nHOST: 127.0.0.1:8765\r\n", "200"),
            ("GET /healthz HTTP/1.1\r\nhost: [::1]:8765\r\n", "200"),
            ("GET /healthz HTTP/1.0\r\n", "200"),
            ("GET http://a.example/healthz HTTP/1.1\r\nhost: b.example\r\n", "200"),
            ("GET /healthz HTTP/1.1\r\n", "400"),
            ("GET http://a.example/healthz HTTP/1.1\r\n", "400"),
            ("GET /healthz HTTP/1.1\r\nhost: a.example\r\nhost: b.example\r\n", "400"),
            ("GET /healthz HTTP/1.1\r\nhost: a.example\r\nhost: a.example\r\n", "400"),
            ("GET /healthz HTTP/1.0\r\nhost: a.example\r\nhost: b.example\r\n", "400"),
            ("GET /healthz HTTP/1.1\r\nhost:\r\n", "400"),
            ("GET /healthz HTTP/1.1\r\nhost: a.example b.example\r\n", "400"),
            ("GET /healthz HTTP/1.1\r\nhost: a.example/x\r\n", "400"),
            ("GET /healthz HTTP/1.1\r\nhost: user@a.example\r\n", "400"),
            ("GET /healthz HTTP/1.1\r\nhost: a.example:port\r\n", "400"),
            ("GET /healthz HTTP/1.1\r\nhost: a.example:99999\r\n", "400"),
            ("GET http://user@a.example/healthz HTTP/1.1\r\nhost: a.example\r\n", "400"),
            ("GET /nothing HTTP/1.1\r\n", "400"),
            ("POST /oauth2/token HTTP/1.1\r\ncontent-length: 0\r\n", "400"),
        ] {
            let answer = answer(address, &format!("{head}connection: close\r\n\r\n")).await;
            assert!(
                answer.starts_with("HTTP/1.") && answer[8..].starts_with(&format!(" {status}")),
                "{head}: {answer}"
            );
            assert_eq!(answer.contains("\"invalid-host\""), status == "400", "{answer}");
        }
    }

    #[tokio::test]
    async fn nothing_is_read_after_a_request_without_a_host() {
        let server = test_server().await;
        let address = listen(&server).await;
        let both = "GET /healthz HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\nhost: a.example\r\n\r\n";
        let answer = answer(address, both).await;
        assert!(answer.starts_with("HTTP/1.1 400") && !answer.contains("HTTP/1.1 200"), "{answer}");
    }
}
