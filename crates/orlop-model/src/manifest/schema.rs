//! The JSON Schema of a volume's manifest, for editors: what it may hold, and what each word means.
//! It is made from the model's own definitions; what the parser checks beyond a schema is in `rules`.

use serde_json::{Map, Value, json};

use crate::{AccessMode, VolumeManifest, VolumeType, WorkspaceName};

/// Names the schema for good; it is not fetched from anywhere.
const ID: &str = "urn:orlop:schema:volume:v1beta";

/// An example that uses what most volumes need.
pub(crate) fn example() -> Value {
    json!({
        "name": "persistent-v",
        "version": "v1beta",
        "type": "volume",
        "tags": ["dataos:volume"],
        "description": "Data of a service",
        "layer": "user",
        "volume": {"size": "5Gi", "accessMode": "ReadWriteOnce", "type": "persistent"},
    })
}

/// The JSON Schema (2020-12) of a manifest of type `volume`. Values filled in by variables are
/// beyond a schema: an editor marks `size: ${SIZE}`.
pub fn volume_schema() -> Value {
    let mut schema = schemars::schema_for!(VolumeManifest).to_value();
    tidy(&mut schema);
    let workspace = schemars::schema_for!(WorkspaceName).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("$id".into(), ID.into());
        object.insert("title".into(), "Orlop volume".into());
        object.insert("description".into(), "A volume, as `orlop apply` takes it.".into());
        object.insert("examples".into(), json!([example()]));
        if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("workspace".into(), workspace_property(workspace));
            properties.insert("status".into(), json!({
                "description": "What `orlop get` shows of the volume. It is ignored, so that its output can be applied again.",
                "readOnly": true,
                "x-change": "ignored",
            }));
        }
        if let Some(spec) = object.get_mut("$defs").and_then(|defs| defs.get_mut("VolumeSpec")) {
            let cloud: Vec<&str> =
                words(VolumeType::ALL.into_iter().filter(|t| t.is_cloud()).map(VolumeType::as_str));
            let modes: Vec<&str> = words(
                AccessMode::ALL
                    .into_iter()
                    .filter(|mode| VolumeType::ALL.into_iter().all(|t| t.allows(*mode)))
                    .map(AccessMode::as_str),
            );
            spec["if"] = json!({"properties": {"type": {"enum": cloud}}, "required": ["type"]});
            spec["then"] = json!({"properties": {"accessMode": {"enum": modes}}});
        }
    }
    schema
}

fn words<'a>(words: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    words.collect()
}

fn workspace_property(name: Value) -> Value {
    let mut property = Map::new();
    property.insert(
        "description".into(),
        "The workspace of the volume, a namespace of names: a name without a dot, of at most 63 characters. \
         Where `-w` is given too, the two must be the same."
            .into(),
    );
    property.insert("default".into(), WorkspaceName::public().as_str().into());
    property.insert("x-change".into(), "never: in another workspace it is another volume".into());
    for key in ["type", "pattern", "maxLength"] {
        if let Some(value) = name.get(key) {
            property.insert(key.into(), value.clone());
        }
    }
    Value::Object(property)
}

/// Makes each list of constants an `enum`, which editors complete, and each description one line.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some((words, meanings)) = object.get("oneOf").and_then(constants) {
                object.remove("oneOf");
                object.insert("type".into(), "string".into());
                object.insert("enum".into(), words.into());
                object.insert("enumDescriptions".into(), meanings.into());
            }
            for (key, value) in object.iter_mut() {
                match value {
                    Value::String(text) if key == "description" => *text = text.replace('\n', " "),
                    value => tidy(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The words of a list of constants and what they mean, if it is one.
fn constants(list: &Value) -> Option<(Vec<Value>, Vec<Value>)> {
    let list = list.as_array()?;
    let pair = |one: &Value| {
        let meaning = one.get("description").and_then(Value::as_str).unwrap_or_default();
        Some((one.get("const")?.clone(), Value::from(meaning.replace('\n', " "))))
    };
    list.iter().map(pair).collect::<Option<Vec<_>>>().map(|pairs| pairs.into_iter().unzip())
}
