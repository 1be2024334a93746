//! `/openapi.json`: the OpenAPI 3.1 description of every route, generated from the routes.

#[cfg(test)]
mod tests;

use axum::http::Method;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{
    HttpAuthScheme, HttpBuilder, OpenIdConnect, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, ContentBuilder, OpenApi, PathItem, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{OpenApi as _, PartialSchema};

use super::idempotency;
use crate::auth::Right;
use crate::events::event_forms;
use crate::http::problem::{FieldError, LimitHit, MEDIA_TYPE, ProblemView, Slug};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "MGX", description = "Teams of agents build web apps in containers. Every error is a problem \
        (RFC 9457); branch on its `code`."),
    tags((name = "sessions"), (name = "jobs"), (name = "events"), (name = "files"), (name = "pools"), (name = "accounts"), (name = "original"), (name = "health"))
)]
struct Head;

/// The description of the security scheme `bearer`.
const BEARER: &str = "the administrator's token, an API token (`mgx_pat_…`) or an access token of this platform's provider; a token that is \
     bound to a key is sent as `Authorization: DPoP` with a proof in `DPoP` (RFC 9449)";

/// The description of the security scheme `oauth2`.
const PROVIDER: &str =
    "an access token with the scope `read` for GET, `write` for everything else, or `admin`";

/// The head of the description, to which the routes add themselves.
pub(crate) fn head() -> OpenApi {
    Head::openapi()
}

/// Adds to every route the token and the problems that it may answer with, and describes every problem.
pub(crate) fn complete(mut api: OpenApi) -> OpenApi {
    let components = api.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(BEARER)).build();
    components.security_schemes.insert("bearer".into(), SecurityScheme::Http(bearer).into());
    let provider = OpenIdConnect::with_description("/oauth2/.well-known/openid-configuration", PROVIDER);
    components.security_schemes.insert("oauth2".into(), SecurityScheme::OpenIdConnect(provider).into());
    components.schemas.insert("Problem".into(), ProblemView::schema());
    components.schemas.insert("FieldError".into(), FieldError::schema());
    components.schemas.insert("LimitHit".into(), LimitHit::schema());
    components.schemas.extend(event_forms::schemas());
    for slug in Slug::ALL {
        components.responses.insert(slug.to_string(), RefOr::T(refusal(slug)));
    }
    // `{*path}` of the router is no path template of OpenAPI (3.1 section 4.8.8)
    let routes = std::mem::take(&mut api.paths.paths);
    api.paths.paths = routes.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    for (path, item) in &mut api.paths.paths {
        item.post.iter_mut().filter(|_| idempotency::takes_key(path)).for_each(add_idempotency_key);
        for (method, operation) in operations(item) {
            let right = Right::of(&method, path);
            if path.starts_with("/api/") {
                operation.security = Some(security(right));
            }
            name(operation);
            for slug in refusals(path, operation) {
                refuses(operation, slug);
            }
            operation.responses.responses.iter_mut().for_each(with_problem);
            let codes = format!("a problem; its `code` is one of {}", codes());
            let any = ResponseBuilder::new().description(codes).content(MEDIA_TYPE, problem(Slug::Internal));
            operation.responses.responses.insert("default".into(), RefOr::T(any.build()));
        }
    }
    api
}

/// Makes the operation id unique, for programs that generate clients from the description.
fn name(operation: &mut Operation) {
    if let (Some(tag), Some(id)) = (operation.tags.iter().flatten().next(), &operation.operation_id) {
        operation.operation_id = Some(format!("{tag}_{id}"));
    }
}

/// The problems that an operation of this form may answer with.
fn refusals(path: &str, operation: &Operation) -> Vec<Slug> {
    let mut slugs = Vec::new();
    let parameters = operation.parameters.iter().flatten();
    let mut takes = [false; 2];
    for parameter in parameters {
        if let RefOr::T(parameter) = parameter {
            takes[0] |= parameter.parameter_in == ParameterIn::Path;
            takes[1] |= parameter.parameter_in == ParameterIn::Query;
        }
    }
    let [in_path, in_query] = takes;
    let body = operation.request_body.as_ref();
    let in_json = body.is_some_and(|body| match body {
        RefOr::T(body) => body.content.contains_key("application/json"),
        RefOr::Ref(_) => false,
    });
    if path.starts_with("/api/") {
        slugs.extend([Slug::Unauthorized, Slug::Forbidden, Slug::StoreUnavailable]);
    }
    if in_path {
        slugs.push(Slug::NotFound);
    }
    if in_query || in_json {
        slugs.push(Slug::Validation);
    }
    if in_json {
        slugs.extend([Slug::MalformedJson, Slug::BodyTooLarge, Slug::UnsupportedMediaType]);
    }
    let makes_json = operation.responses.responses.values().any(|response| match response {
        RefOr::T(response) => response.content.contains_key("application/json"),
        RefOr::Ref(_) => false,
    });
    // a file is sent whatever `Accept` says
    if makes_json && !path.ends_with("{path}") {
        slugs.push(Slug::NotAcceptable);
    }
    slugs
}

/// Adds the problem, unless the operation describes its status itself.
fn refuses(operation: &mut Operation, slug: Slug) {
    let responses = &mut operation.responses.responses;
    responses.entry(slug.status().as_u16().to_string()).or_insert(RefOr::T(refusal(slug)));
}

/// The response of a problem.
fn refusal(slug: Slug) -> Response {
    let description = format!("`{slug}`: {}", slug.row().title);
    ResponseBuilder::new().description(description).content(MEDIA_TYPE, problem(slug)).build()
}

/// Gives an error response that an operation describes itself the form of a problem.
fn with_problem((status, response): (&String, &mut RefOr<Response>)) {
    let RefOr::T(response) = response else { return };
    let is_refusal = status.starts_with(['4', '5']);
    if is_refusal && response.content.is_empty() {
        let named = Slug::ALL.into_iter().find(|slug| response.description.contains(&format!("`{slug}`")));
        let of_status = || Slug::ALL.into_iter().find(|slug| slug.status().as_str() == status);
        let slug = named.or_else(of_status).unwrap_or(Slug::Internal);
        response.content.insert(MEDIA_TYPE.to_owned(), RefOr::T(problem(slug)));
    }
}

/// A problem, with an example.
fn problem(slug: Slug) -> Content {
    let row = slug.row();
    let example = serde_json::json!({
        "type": format!("/problems/{}", row.slug), "title": row.title, "status": row.status.as_u16(), "code": row.slug,
        "detail": row.title.to_lowercase(), "retryable": row.retryable,
    });
    ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).example(Some(example)).build()
}

/// The form of an `Idempotency-Key`: visible ASCII without quotes, commas, semicolons and backslashes.
const KEY: &str = r"^[!#-+\--:<-\[\]-~]+$";

/// Adds the `Idempotency-Key` to a POST.
fn add_idempotency_key(operation: &mut Operation) {
    let text = "a name for this request, best a random UUID: within a day, the same request with the same key is \
        carried out once, and gets the same answer again with `Idempotency-Replayed: true`";
    let key = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some(text))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).max_length(Some(255)).pattern(Some(KEY))))
        .build();
    operation.parameters.get_or_insert_default().push(key.into());
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let all = [
        (Method::GET, &mut item.get),
        (Method::PUT, &mut item.put),
        (Method::POST, &mut item.post),
        (Method::PATCH, &mut item.patch),
        (Method::DELETE, &mut item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// The security requirement of an operation: a token with `right`, of either scheme.
fn security(right: Right) -> Vec<SecurityRequirement> {
    vec![
        SecurityRequirement::new::<_, _, &str>("bearer", []),
        SecurityRequirement::new("oauth2", [right.name()]),
    ]
}

fn codes() -> String {
    Slug::ALL.map(Slug::as_str).join(", ")
}
