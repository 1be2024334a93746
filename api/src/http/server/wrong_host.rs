//! The page for a browser whose requests reach this process under another host than `oauth2.public_url`: a proxy replaces
//! `Host`, and a redirect would come back for ever.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::http::accept::preference;
use crate::http::page::{escaped, page};
use crate::http::problem::{Problem, Slug};

/// What to write into the configuration of a proxy.
const LINES: [(&str, &str); 3] = [
    ("nginx", "proxy_set_header Host $http_host;"),
    ("Apache", "ProxyPreserveHost On"),
    ("haproxy", "nothing: it keeps Host, unless the configuration says http-request set-header Host"),
];

/// Says what is wrong and what line to write: as a page, or as a problem for a program. `host` is what came in `Host`, and
/// `origin` is that of `oauth2.public_url`.
pub(crate) fn answer(headers: &HeaderMap, host: &str, origin: &str) -> Response {
    tracing::warn!(
        host,
        public_url = origin,
        "a proxy replaces Host, so no browser can sign in: nginx needs `proxy_set_header Host $http_host;`, Apache `ProxyPreserveHost On`"
    );
    let detail = format!(
        "the request came to {origin} (oauth2.public_url) and arrives here for the host {host}: a proxy between replaces Host"
    );
    if preference(headers, "text/html") <= preference(headers, "application/json") {
        let lines = LINES[..2].iter().map(|(proxy, line)| format!("{proxy}: {line}"));
        let detail = format!("{detail}. {}", lines.collect::<Vec<_>>().join(" "));
        return Problem::new(Slug::InvalidHost, detail).into_response();
    }
    let lines = LINES.map(|(proxy, line)| format!("<dt>{proxy}</dt><dd><code>{line}</code></dd>\n")).concat();
    let below = format!(
        "<p>{}.</p>\n\
         <p>Write into the proxy's configuration, where it passes requests on:</p>\n<dl>\n{lines}</dl>\n\
         <p>If {} is not the address of this platform, set <code>oauth2.public_url</code> to the one that is.</p>\n",
        escaped(&detail),
        escaped(origin),
    );
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))];
    let page = page("The proxy in front of this platform replaces Host", &below);
    (StatusCode::BAD_REQUEST, kind, page).into_response()
}
