//! `/problems/{code}`, the `type` of a problem: what it means and what to do, from the table of docs/problems.md.

use std::fmt::Write as _;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use super::accept::preference;
use super::page::{escaped, page};
use super::{Problem, Slug};

/// The documentation, whose table has one row for each problem.
const TABLE: &str = include_str!("../../../docs/problems.md");

/// A problem type, explained.
#[derive(Debug, Serialize)]
struct Explanation {
    #[serde(rename = "type")]
    kind: String,
    code: &'static str,
    title: &'static str,
    status: u16,
    retryable: bool,
    /// What it means, and what to do.
    meaning: &'static str,
}

/// The pages of the problems; they need no token.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/problems", get(async |headers: HeaderMap| answer(&headers, "Problems", &all())))
        .route("/problems/{code}", get(one))
}

async fn one(headers: HeaderMap, Path(code): Path<String>) -> Result<Response, Problem> {
    let known = Slug::ALL.into_iter().find(|slug| slug.as_str() == code).map(Explanation::of);
    let explained =
        known.ok_or_else(|| Problem::new(Slug::NotFound, "no problem has this code; see /problems"))?;
    Ok(answer(&headers, explained.title, &[explained]))
}

fn all() -> Vec<Explanation> {
    Slug::ALL.map(Explanation::of).into()
}

/// A page for a browser, JSON for everything else: an object for one problem, an array for all.
fn answer(headers: &HeaderMap, title: &str, explained: &[Explanation]) -> Response {
    if preference(headers, "text/html") > preference(headers, "application/json") {
        let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        return (kind, page_of(title, explained)).into_response();
    }
    match explained {
        [one] => axum::Json(one).into_response(),
        many => axum::Json(many).into_response(),
    }
}

impl Explanation {
    fn of(slug: Slug) -> Self {
        let row = slug.row();
        Self {
            kind: format!("/problems/{}", row.slug),
            code: row.slug,
            title: row.title,
            status: row.status.as_u16(),
            retryable: row.retryable,
            meaning: meaning(row.slug).unwrap_or(row.title),
        }
    }
}

/// The last cell of the row of `code`.
fn meaning(code: &str) -> Option<&'static str> {
    let begins = format!("| `{code}` |");
    let row = TABLE.lines().find(|line| line.starts_with(&begins))?;
    row.strip_suffix(" |")?.rsplit_once(" | ").map(|(_, last)| last)
}

fn page_of(title: &str, explained: &[Explanation]) -> String {
    let mut below = String::new();
    for Explanation { kind, code, status, retryable, meaning, .. } in explained {
        let again =
            if *retryable { "The same request may succeed later." } else { "The same request fails again." };
        let text = html(meaning);
        writeln!(
            below,
            "<p><a href=\"{kind}\"><code>{code}</code></a>, status {status}: {text}. {again}</p>"
        )
        .expect("memory takes every write");
    }
    page(title, &below)
}

/// A cell of the table as HTML: what stands between backticks is code.
fn html(cell: &str) -> String {
    let mut text = String::new();
    for (index, part) in cell.split('`').enumerate() {
        let plain = escaped(part);
        let (open, close) = if index % 2 == 1 { ("<code>", "</code>") } else { ("", "") };
        text.extend([open, &plain, close]);
    }
    text
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;

    use super::*;
    use crate::testing::server::test_server;

    #[tokio::test]
    async fn the_type_of_every_problem_leads_to_its_explanation() {
        let server = test_server().await;
        for slug in Slug::ALL {
            let kind = Problem::new(slug, "x").view();
            let kind = serde_json::to_value(kind).unwrap()["type"].as_str().unwrap().to_owned();
            let (status, code, json) = server.code(Request::get(&kind), Body::empty()).await;
            assert_eq!((status, &*code), (200, slug.as_str()), "{kind}");
            assert_eq!(
                (&*kind, json["status"].as_u64()),
                (json["type"].as_str().unwrap(), Some(slug.status().as_u16().into()))
            );
            let meaning = json["meaning"].as_str().unwrap();
            assert!(TABLE.contains(&format!("| {meaning} |")), "{kind}: {meaning}");
        }
        let (status, code, _) = server.code(Request::get("/problems/none"), Body::empty()).await;
        assert_eq!((status, &*code), (404, "not-found"));
        let (_, _, list) = server.code(Request::get("/problems"), Body::empty()).await;
        assert_eq!(list.as_array().unwrap().len(), Slug::ALL.len());
    }

    #[tokio::test]
    async fn a_browser_gets_a_page() {
        let server = test_server().await;
        let request = Request::get("/problems/unauthorized")
            .header("accept", "text/html,application/xml;q=0.9,*/*;q=0.8");
        let answer = server.send(request, Body::empty()).await;
        assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
        let page = answer.into_body().collect().await.unwrap().to_bytes();
        let page = String::from_utf8_lossy(&page).into_owned();
        assert!(page.contains("status 401") && page.contains("<code>WWW-Authenticate</code>"), "{page}");
    }
}
