//! The forms of the events in the OpenAPI description: a schema for the data of each kind.

use mgx_protocol::EventKind;
use mgx_protocol::event_form::{EventField, FieldType, form_of};
use utoipa::openapi::schema::{
    AnyOfBuilder, ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr, Schema};

/// The name of the schema of the data of a kind.
fn schema_name(kind: &EventKind) -> String {
    format!("EventData_{kind}")
}

/// The schema of the data of each kind, with its name.
pub(crate) fn schemas() -> impl Iterator<Item = (String, RefOr<Schema>)> {
    EventKind::named().filter_map(|kind| {
        let form = form_of(&kind)?;
        let text = format!("The data of `{kind}`: {}.", form.meaning);
        let mut object = ObjectBuilder::new().description(Some(text));
        for field in form.fields {
            object = object.property(field.name, value(field));
            if field.is_required {
                object = object.required(field.name);
            }
        }
        Some((schema_name(&kind), Schema::Object(object.build()).into()))
    })
}

/// The data of any event: in one of the forms, or as an agent has made it up.
pub(crate) fn any_data() -> RefOr<Schema> {
    let mut any = AnyOfBuilder::new().description(Some(
        "The data of the event: the schema is `EventData_` and the `event_type`. The data of a type that an agent has made up, \
         or that a newer version knows, is any object; data that is too large is `truncated` alone.",
    ));
    for (name, _) in schemas() {
        any = any.item(Ref::from_schema_name(name));
    }
    Schema::AnyOf(any.item(ObjectBuilder::new()).build()).into()
}

fn value(field: &EventField) -> RefOr<Schema> {
    let object = |kind: Type| ObjectBuilder::new().schema_type(SchemaType::Type(kind));
    let described = Some(field.meaning);
    let object = match field.value {
        FieldType::Text => object(Type::String),
        FieldType::Time => {
            object(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        }
        FieldType::Count => object(Type::Integer).minimum(Some(0)),
        FieldType::Number => object(Type::Number),
        FieldType::Flag => object(Type::Boolean),
        FieldType::Object => object(Type::Object),
        FieldType::Any => ObjectBuilder::new().schema_type(SchemaType::AnyValue),
        FieldType::List => return Schema::Array(ArrayBuilder::new().description(described).build()).into(),
    };
    Schema::Object(object.description(described).build()).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use mgx_protocol::event_form;
    use serde_json::Value;

    use super::*;
    use crate::testing::server::{ask, test_server};

    /// The section of docs/events.md about one kind, as the forms have it.
    fn section(kind: &EventKind) -> String {
        let form = form_of(kind).unwrap();
        let mut text = format!("### `{kind}`\n{}.\n", capitalized(form.meaning));
        if !form.fields.is_empty() {
            text.push_str("\n| field | type | |\n|---|---|---|\n");
        }
        for EventField { name, value, is_required, meaning } in form.fields {
            let mark = if *is_required { "" } else { "?" };
            writeln!(text, "| `{name}`{mark} | {} | {meaning} |", value.name()).unwrap();
        }
        text
    }

    fn capitalized(text: &str) -> String {
        let mut letters = text.chars();
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
    }

    #[test]
    fn every_kind_stands_in_the_documents_with_its_fields() {
        let page = include_str!("../../../docs/events.md");
        let missing: Vec<_> =
            EventKind::named().map(|kind| section(&kind)).filter(|text| !page.contains(text)).collect();
        assert!(missing.is_empty(), "docs/events.md needs:\n\n{}", missing.join("\n"));
        let described: BTreeSet<_> =
            page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
        let unknown: Vec<_> =
            described.iter().filter(|name| form_of(&EventKind::of(name)).is_none()).collect();
        assert!(unknown.is_empty(), "docs/events.md describes {unknown:?}");
    }

    #[test]
    fn every_kind_is_in_the_description() {
        let api = serde_json::to_value(crate::description()).unwrap();
        let schemas = &api["components"]["schemas"];
        for kind in EventKind::named() {
            let schema = &schemas[schema_name(&kind)];
            for field in form_of(&kind).unwrap().fields {
                assert!(
                    schema["properties"][field.name]["description"].is_string(),
                    "{kind} {}: {schema}",
                    field.name
                );
            }
        }
        let any = schemas["EventView"]["properties"]["data"]["anyOf"].as_array().unwrap();
        assert_eq!(any.len(), EventKind::named().count() + 1);
    }

    #[tokio::test]
    async fn what_is_emitted_has_the_form_of_its_kind() {
        let server = test_server().await;
        server.finished_session().await;
        let request = ask("GET", "/api/sessions/demo/events").header("accept", "application/json");
        let (_, _, page) = server.code(request, axum::body::Body::empty()).await;
        let events = page["events"].as_array().unwrap();
        for event in events {
            let kind = EventKind::of(event["event_type"].as_str().unwrap());
            let Value::Object(data) = &event["data"] else { panic!("{event}") };
            assert_eq!(event_form::check(&kind, data), Ok(()));
        }
        assert!(events.len() >= 4, "{page}");
    }
}
