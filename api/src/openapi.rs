//! `/openapi.json`: the description of every route (OpenAPI 3.1), made of the routes themselves.

use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, PathItem, Ref, RefOr, ResponseBuilder};
use utoipa::{OpenApi as _, PartialSchema};

use crate::problem::{FieldError, LimitHit, MEDIA_TYPE, ProblemView, Slug};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "MGX", description = "Teams of agents build web apps in containers. Every answer that is not a \
        success is a problem (RFC 9457); branch on its `code`."),
    tags((name = "sessions"), (name = "jobs"), (name = "events"), (name = "files"), (name = "pools"), (name = "health"))
)]
struct Head;

/// What stands at the head of the description, before the routes add themselves.
pub(crate) fn head() -> OpenApi {
    Head::openapi()
}

/// Adds what every route has in common: the token, and that it may answer with a problem.
pub(crate) fn complete(mut api: OpenApi) -> OpenApi {
    let components = api.components.get_or_insert_default();
    let bearer =
        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("the platform's token")).build();
    components.security_schemes.insert("bearer".into(), SecurityScheme::Http(bearer).into());
    components.schemas.insert("Problem".into(), ProblemView::schema());
    components.schemas.insert("FieldError".into(), FieldError::schema());
    components.schemas.insert("LimitHit".into(), LimitHit::schema());
    // the router's way to write "the rest of the path" is no template (OpenAPI 3.1 section 4.8.8)
    let routes = std::mem::take(&mut api.paths.paths);
    api.paths.paths = routes.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    for (path, item) in &mut api.paths.paths {
        item.post.iter_mut().filter(|_| path.starts_with("/api/")).for_each(may_be_asked_twice);
        for operation in operations(item) {
            if path.starts_with("/api/") {
                operation.security = Some(vec![SecurityRequirement::new::<_, _, &str>("bearer", [])]);
                answers(operation, "401", "the token is missing or wrong");
            }
            answers(operation, "default", &format!("a problem; its `code` is one of {}", codes()));
        }
    }
    api
}

/// Every POST takes an `Idempotency-Key`.
fn may_be_asked_twice(operation: &mut Operation) {
    let text = "a name for this request, best a random UUID: within a day, the same request with the same key is \
        done once and answered as it was the first time, with `Idempotency-Replayed: true`";
    let key = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some(text))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).max_length(Some(255))))
        .build();
    operation.parameters.get_or_insert_default().push(key.into());
}

fn answers(operation: &mut Operation, status: &str, description: &str) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new().description(description).content(MEDIA_TYPE, content).build();
    operation.responses.responses.insert(status.into(), RefOr::T(response));
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().filter_map(Option::as_mut)
}

fn codes() -> String {
    Slug::ALL.map(Slug::as_str).join(", ")
}
