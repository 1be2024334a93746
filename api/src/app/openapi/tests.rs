//! The OpenAPI description has every route, and clients can be generated from it.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::http::Slug;
use crate::testing::server::{TestServer, ask, test_server};

#[tokio::test]
async fn the_description_has_every_route() {
    let server = test_server().await;
    let (status, _, api) = server.code(Request::get("/openapi.json"), Body::empty()).await;
    assert_eq!((status, &api["openapi"]), (200, &json!("3.1.0")));
    let mut routes = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let answers: Vec<_> =
                operation["responses"].as_object().unwrap().keys().map(String::as_str).collect();
            let locked = operation["security"][0].get("bearer").is_some();
            assert_eq!(locked, path.starts_with("/api/"), "{method} {path}");
            routes.push(format!("{method} {path}: {}", answers.join(" ")));
        }
    }
    insta::assert_snapshot!(routes.join("\n"));
    clients_can_be_generated_from(&server, &api).await;
    let text = api.to_string();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("#/components/schemas/") {
        rest = &rest[at + 21..];
        let name = &rest[..rest.find('"').unwrap()];
        assert!(api["components"]["schemas"].get(name).is_some(), "{name} is referred to and not there");
    }
}

/// The description and docs/problems.md list every problem.
#[test]
fn every_problem_is_described() {
    let api = serde_json::to_value(crate::description()).unwrap();
    let page = include_str!("../../../../docs/problems.md");
    for slug in Slug::ALL {
        let (row, status) = (slug.row(), slug.status().as_u16());
        let problem = &api["components"]["responses"][row.slug]["content"]["application/problem+json"];
        let example = &problem["example"];
        assert_eq!((&example["code"], &example["status"]), (&json!(row.slug), &json!(status)), "{slug}");
        assert_eq!(example["type"], format!("/problems/{slug}"));
        let begins = format!("| `{slug}` | {status} | {} | ", if row.retryable { "yes" } else { "no" });
        let line = page.lines().find(|line| line.starts_with(&begins));
        assert!(
            line.is_some_and(|line| line.len() > begins.len() + 20),
            "docs/problems.md needs a row {begins}…"
        );
    }
    let rows = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, Slug::ALL.len(), "docs/problems.md has rows of problems that are no more");
}

/// What a program that makes a client of the description needs: every operation has a name of its own, a text, and
/// a description of its refusals with an example; and it is routed.
async fn clients_can_be_generated_from(server: &TestServer, api: &Value) {
    let mut names = BTreeSet::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        let real = path.replace("{id}", "00000000-0000-7000-8000-000000000000");
        let real = real.replace("{path}", "a.txt").replace("{name}", "anna");
        let (status, code, _) = server.code(ask("BREW", &real), Body::empty()).await;
        assert_eq!((status, &*code), (405, "method-not-allowed"), "{path} is described, and not routed");
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{method} {path}: {name} is taken");
            let has_text = |key: &str| operation[key].as_str().is_some_and(|text| text.len() > 10);
            assert!(has_text("summary") || has_text("description"), "{method} {path} has no text");
            let responses = operation["responses"].as_object().unwrap();
            let refusals: Vec<_> = responses.iter().filter(|(status, _)| status.starts_with('4')).collect();
            assert!(!refusals.is_empty(), "{method} {path} describes no refusal");
            for (status, response) in refusals {
                let problem = &response["content"]["application/problem+json"];
                assert_eq!(
                    problem["schema"]["$ref"], "#/components/schemas/Problem",
                    "{method} {path} {status}"
                );
                assert_eq!(problem["example"]["status"].to_string(), *status, "{method} {path}");
            }
            if let Some(body) = operation["requestBody"]["content"].get("application/json") {
                let schema = body["schema"]["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
                let examples = api["components"]["schemas"][schema].to_string().contains("\"example");
                assert!(
                    examples || body.get("example").is_some(),
                    "{method} {path}: {schema} has no example"
                );
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["description"].is_string(), "{method} {path}: {parameter}");
            }
        }
    }
    assert_eq!(api["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
}
