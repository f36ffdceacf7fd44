//! The OpenAPI 3.1 document, made from the route table and the types' schemas.

use orlop_model::Error;
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::route::{Answer, Operation, Route};

/// The document, as `/openapi.json` gives it.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for operation in Operation::ALL {
        let route = operation.route();
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Value::Object(item) = item {
            item.insert(route.method.as_str().to_lowercase(), describe(*operation, &route, &mut generator));
        }
    }
    let error = generator.subschema_for::<Error>();
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Orlop",
            "version": "v1",
            "description": "Volumes for containers whose size is real. Served on a unix socket; the caller is the peer's uid, from the kernel. Whoever may open the socket may read everything; who may change what is decided by uid.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "responses": {
                "Error": {
                    "description": "What happened, what it concerns, and what to do.",
                    "content": { "application/json": { "schema": error } },
                },
            },
            "schemas": generator.take_definitions(true),
        },
    });
    bound(&mut document);
    document
}

/// Says in numbers what a `format` says in a word, which validators may pass over.
fn bound(value: &mut Value) {
    match value {
        Value::Object(object) => {
            let most = match object.get("format").and_then(Value::as_str) {
                Some("uint32") => Some(u64::from(u32::MAX)),
                Some("uint64") => Some(u64::MAX),
                _ => None,
            };
            if let Some(most) = most {
                object.entry("maximum").or_insert(most.into());
            }
            object.values_mut().for_each(bound);
        }
        Value::Array(array) => array.iter_mut().for_each(bound),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn describe(operation: Operation, route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = route
        .parameters
        .iter()
        .map(|(name, schema)| json!({ "name": name, "in": "path", "required": true, "schema": schema(generator) }))
        .collect();
    if let Some(query) = route.query {
        parameters.extend(query_parameters(&query(generator).to_value()));
    }
    let success = match route.answer {
        Answer::Json(schema) => json!({ "200": content("application/json", json!(schema(generator))) }),
        Answer::Nothing => json!({ "204": { "description": "Done." } }),
        Answer::Text(media) => {
            let media = media.split(';').next().unwrap_or(media);
            let schema = if media == "application/json" { json!({}) } else { json!({ "type": "string" }) };
            json!({ "200": content(media, schema) })
        }
        Answer::Stream => json!({ "200": content("text/event-stream", json!({ "type": "string" })) }),
    };
    let mut described = json!({
        "operationId": operation.id(),
        "summary": route.summary,
        "description": route.description,
        "responses": success,
    });
    described["responses"]["default"] = json!({ "$ref": "#/components/responses/Error" });
    if !parameters.is_empty() {
        described["parameters"] = Value::Array(parameters);
    }
    if let Some(request) = route.request {
        described["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": request(generator) } },
        });
    }
    described
}

fn content(media: &str, schema: Value) -> Value {
    json!({ "description": "As asked.", "content": { media: { "schema": schema } } })
}

/// One parameter for each property of the query's object.
fn query_parameters(schema: &Value) -> Vec<Value> {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object();
    properties
        .into_iter()
        .flatten()
        .map(|(name, property)| {
            let mut property = property.clone();
            let description = property.as_object_mut().and_then(|object| {
                object.remove("default");
                drop_null(object);
                object.remove("description")
            });
            json!({
                "name": name,
                "in": "query",
                "required": required.contains(&name.as_str()),
                "description": description,
                "schema": property,
            })
        })
        .collect()
}

/// An optional parameter is left out, never null: takes the `null` out of what an `Option` allows.
fn drop_null(schema: &mut Map<String, Value>) {
    let null = json!("null");
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|word| *word != null);
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    if let Some(Value::Array(choices)) = schema.remove("anyOf") {
        let choice = choices.into_iter().find(|choice| choice.get("type") != Some(&null));
        if let Some(Value::Object(choice)) = choice {
            schema.extend(choice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file is what people read and tools consume; the daemon makes the same at run time.
    /// `ORLOP_BLESS=1` writes it.
    #[test]
    fn the_published_document_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let now = format!("{:#}\n", document());
        if std::env::var_os("ORLOP_BLESS").is_some() {
            std::fs::write(path, &now).unwrap();
        }
        let published = std::fs::read_to_string(path).unwrap_or_default();
        assert!(now == published, "docs/openapi.json is old: run this test with ORLOP_BLESS=1");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(object) => {
                    found.extend(object.get("$ref").and_then(Value::as_str));
                    object.values().for_each(|value| references(value, found));
                }
                Value::Array(array) => array.iter().for_each(|value| references(value, found)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }
}
