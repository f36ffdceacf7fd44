//! The JSON Schemas of manifests, for editors: what they may hold, and what each word means. They are
//! made from the model's own definitions; what the parser checks beyond a schema is in `rules`.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::{SnapshotManifest, VolumeManifest, WorkspaceName};

/// What the schema of one type of resource says beside its model.
struct Form {
    /// The type.
    word: &'static str,
    /// What shows such a resource.
    shown_by: &'static str,
    example: Value,
    /// The sections in which a field that is not required may be left without a value.
    sections: &'static [&'static str],
}

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
    let mut schema = schema::<VolumeManifest>(&Form {
        word: "volume",
        shown_by: "orlop get",
        example: example(),
        sections: &["VolumeSpec", "SnapshotPolicy"],
    });
    // Digits without quotes are a number to an editor, whose value depends on the editor.
    if let Some(mode) = schema.pointer_mut("/$defs/DirectoryMode") {
        mode["type"] = json!(["string", "integer"]);
        mode["minimum"] = json!(0);
        mode["maximum"] = json!(7777);
    }
    schema
}

/// The same of a manifest of type `snapshot`.
pub fn snapshot_schema() -> Value {
    schema::<SnapshotManifest>(&Form {
        word: "snapshot",
        shown_by: "orlop snapshot show",
        example: json!({
            "name": "before-upgrade",
            "version": "v1beta",
            "type": "snapshot",
            "description": "The state before the upgrade",
            "snapshot": {"volume": "persistent-v", "retain": "14d"},
        }),
        sections: &["SnapshotSpec"],
    })
}

fn schema<Manifest: JsonSchema>(form: &Form) -> Value {
    let Form { word, shown_by, example, sections } = form;
    let mut schema = schemars::schema_for!(Manifest).to_value();
    tidy(&mut schema);
    let workspace = schemars::schema_for!(WorkspaceName).to_value();
    if let Some(object) = schema.as_object_mut() {
        // Names the schema for good; it is not fetched from anywhere.
        object.insert("$id".into(), format!("urn:orlop:schema:{word}:{}", crate::MANIFEST_VERSION).into());
        object.insert("title".into(), format!("Orlop {word}").into());
        object.insert("description".into(), format!("A {word}, as `orlop apply` takes it.").into());
        object.insert("examples".into(), json!([example]));
        if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("workspace".into(), workspace_property(word, workspace));
            let shown = format!(
                "What `{shown_by}` shows of the {word}. It is ignored, so that its output can be applied again."
            );
            let status = json!({ "description": shown, "readOnly": true, "x-change": "ignored" });
            properties.insert("status".into(), status);
        }
        without_values(object);
        for section in *sections {
            if let Some(Value::Object(section)) =
                object.get_mut("$defs").and_then(|defs| defs.get_mut(section))
            {
                without_values(section);
            }
        }
    }
    schema
}

/// In YAML a field that is not required may be left without a value.
fn without_values(object: &mut Map<String, Value>) {
    let required = object.get("required").cloned().unwrap_or_default();
    let required = |key: &str| required.as_array().into_iter().flatten().any(|word| word == key);
    let Some(Value::Object(properties)) = object.get_mut("properties") else { return };
    for (_, property) in properties.iter_mut().filter(|(key, _)| !required(key)) {
        let Value::Object(property) = property else { continue };
        if let Some(reference) = property.remove("$ref") {
            property.insert("anyOf".into(), json!([{ "$ref": reference }, { "type": "null" }]));
        }
        if let Some(Value::String(kind)) = property.get("type") {
            let kinds = json!([kind, "null"]);
            property.insert("type".into(), kinds);
        }
    }
}

fn workspace_property(word: &str, name: Value) -> Value {
    let mut property = Map::new();
    let description = format!(
        "The workspace of the {word}, a namespace of names: a name without a dot, of at most 63 characters. \
         Where `-w` is given too, the two must be the same."
    );
    property.insert("description".into(), description.into());
    property.insert("default".into(), WorkspaceName::public().as_str().into());
    let change = format!("never: in another workspace it is another {word}");
    property.insert("x-change".into(), change.into());
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
