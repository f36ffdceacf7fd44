//! The JSON Schemas accept what the parser accepts, and refuse what an editor should mark.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use orlop_model::manifest::{snapshot_schema, volume_schema};
use orlop_testkit::json_schema;
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value, json};

/// By the schema of its type; of volumes where it is of no type of ours.
fn faults(value: &Value) -> Vec<String> {
    let schema = if value["type"] == "snapshot" { snapshot_schema() } else { volume_schema() };
    json_schema::faults(&schema, &schema, value)
}

/// The documents of a text as an editor sees them: plain scalars by the core schema.
fn documents(text: &str) -> Vec<Value> {
    enum Open {
        List(Vec<Value>),
        Mapping(Map<String, Value>, Option<String>),
    }
    let (mut open, mut done): (Vec<Open>, Vec<Value>) = (Vec::new(), Vec::new());
    for event in Parser::new_from_str(text) {
        let value = match event.unwrap().0 {
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Mapping(Map::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop().unwrap() {
                Open::List(list) => list.into(),
                Open::Mapping(map, _) => map.into(),
            },
            Event::Scalar(text, ScalarStyle::Plain, ..) => match &*text {
                "" | "~" | "null" => Value::Null,
                "true" => true.into(),
                "false" => false.into(),
                number => number.parse::<i64>().map_or(number.into(), Value::from),
            },
            Event::Scalar(text, ..) => text.into(),
            _ => continue,
        };
        match open.last_mut() {
            None => done.push(value),
            Some(Open::List(list)) => list.push(value),
            Some(Open::Mapping(map, key)) => match key.take() {
                None => *key = Some(value.as_str().unwrap().to_owned()),
                Some(key) => drop(map.insert(key, value)),
            },
        }
    }
    done
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file)).unwrap()
}

#[test]
fn good_manifests_are_accepted() {
    let samples = ["duckdb-vol", "email-attribution-vol", "persistent-v", "volumetest"];
    let ours = [
        "every-field",
        "block",
        "least",
        "json",
        "nothing-given",
        "sizes",
        "unicode",
        "temp-grace-period",
        "snapshots",
    ];
    let samples = samples.iter().map(|name| format!("samples/{name}.yaml"));
    for file in samples.chain(ours.iter().map(|name| format!("manifests/ok/{name}.yaml"))) {
        let documents = documents(&read(&file));
        assert!(!documents.is_empty());
        for document in documents {
            assert_eq!(faults(&document), [""; 0], "{file}");
        }
    }
    for schema in [volume_schema(), snapshot_schema()] {
        for example in schema["examples"].as_array().unwrap() {
            assert_eq!(faults(example), [""; 0]);
        }
    }
    let other = documents(&read("samples/volume-mount-service.yaml"));
    assert!(!faults(&other[0]).is_empty());
}

#[test]
fn bad_manifests_are_refused() {
    let good = json!({
        "name": "a", "version": "v1beta", "type": "volume",
        "volume": {"size": "1Gi", "accessMode": "ReadWriteOnce", "type": "CloudTemp"},
    });
    assert_eq!(faults(&good), [""; 0]);
    for (pointer, bad) in [
        ("", json!([])),
        ("/name", json!("A")),
        ("/name", json!("a-")),
        ("/name", json!("a".repeat(49))),
        ("/name", json!(null)),
        ("/version", json!("v1")),
        ("/type", json!("service")),
        ("/volume", json!({})),
        ("/volume/size", json!("1gi")),
        ("/volume/size", json!("10G B")),
        ("/volume/size", json!("-1Gi")),
        ("/volume/size", json!(1024)),
        ("/volume/size", json!(true)),
        ("/volume/accessMode", json!("RWX")),
        ("/volume/accessMode", json!("ReadWriteMany")),
        ("/volume/type", json!("cloudtemp")),
    ] {
        let mut document = good.clone();
        *document.pointer_mut(pointer).unwrap() = bad.clone();
        assert!(!faults(&document).is_empty(), "{pointer} = {bad}");
    }
    for (place, key, bad) in [
        ("", "colour", json!("blue")),
        ("", "tags", json!("one")),
        ("", "layer", json!("users")),
        ("", "workspace", json!("a.b")),
        ("/volume", "colour", json!("blue")),
        ("/volume", "uid", json!(-1)),
        ("/volume", "uid", json!(4_294_967_295_u32)),
        ("/volume", "gid", json!("1000")),
        ("/volume", "mode", json!("0888")),
        ("/volume", "filesystem", json!("btrfs")),
        ("/volume", "volumeMode", json!("block")),
        ("/volume", "pool", json!("../x")),
        ("/volume", "preallocate", json!("yes")),
        ("/volume", "tempGracePeriod", json!("10")),
        ("/volume", "protection", json!("true")),
        ("/volume", "mountOptions", json!(["suid"])),
        ("/volume", "mountOptions", json!(["sync", "sync"])),
    ] {
        let mut document = good.clone();
        document.pointer_mut(place).unwrap()[key] = bad.clone();
        assert!(!faults(&document).is_empty(), "{place}/{key} = {bad}");
    }
    let mut document = good.clone();
    document["volume"]["tempGracePeriod"] = json!("1h");
    assert_eq!(faults(&document), [""; 0]);
    document["volume"]["type"] = json!("persistent");
    assert!(!faults(&document).is_empty(), "what is never wiped has no grace period");
    let mut document = good.clone();
    for (key, is) in [("volumeMode", json!("Block")), ("filesystem", json!("auto")), ("uid", json!(null))] {
        document["volume"][key] = is;
        assert_eq!(faults(&document), [""; 0]);
    }
    for (key, bad) in [
        ("filesystem", json!("ext4")),
        ("uid", json!(0)),
        ("gid", json!(0)),
        ("mode", json!("0700")),
        ("mountOptions", json!(["sync"])),
        ("preallocate", json!(true)),
    ] {
        let mut document = document.clone();
        document["volume"][key] = bad;
        assert!(!faults(&document).is_empty(), "{key} of a block device");
    }
}

#[test]
fn bad_manifests_of_snapshots_are_refused() {
    let good = json!({
        "name": "a", "version": "v1beta", "type": "snapshot", "workspace": "team", "status": {"state": "active"},
        "snapshot": {"volume": "data", "retain": "7d"},
    });
    assert_eq!(faults(&good), [""; 0]);
    for (pointer, bad) in [
        ("/name", json!("A")),
        ("/name", json!("a".repeat(49))),
        ("/version", json!("v1")),
        ("/snapshot", json!({})),
        ("/snapshot/volume", json!("Data")),
        ("/snapshot/volume", json!(null)),
        ("/snapshot/retain", json!("7")),
        ("/snapshot/retain", json!("never")),
        ("/workspace", json!("a.b")),
    ] {
        let mut document = good.clone();
        *document.pointer_mut(pointer).unwrap() = bad.clone();
        assert!(!faults(&document).is_empty(), "{pointer} = {bad}");
    }
    for (place, key) in [("", "volume"), ("/snapshot", "schedule")] {
        let mut document = good.clone();
        document.pointer_mut(place).unwrap()[key] = json!("x");
        assert!(!faults(&document).is_empty(), "{place}/{key}");
    }
    for retain in [json!("forever"), json!(null)] {
        let mut document = good.clone();
        document["snapshot"]["retain"] = retain;
        assert_eq!(faults(&document), [""; 0]);
    }
}

#[test]
fn bad_schedules_are_refused() {
    let mut document = json!({
        "name": "a", "version": "v1beta", "type": "volume",
        "volume": {
            "size": "1Gi", "accessMode": "ReadWriteOnce", "type": "persistent",
            "source": {"snapshot": "s"},
            "snapshots": {"schedule": "@daily", "keep": {"last": 3}},
        },
    });
    assert_eq!(faults(&document), [""; 0]);
    let volume = document["volume"].clone();
    for (key, bad) in [
        ("source", json!({})),
        ("source", json!({"snapshot": "s", "volume": "v"})),
        ("source", json!({"image": "x"})),
        ("snapshots", json!({"keep": {"last": 3}})),
        ("snapshots", json!({"schedule": "@daily", "keep": {"last": -1}})),
        ("snapshots", json!({"schedule": "@daily", "keep": {"minutely": 1}})),
    ] {
        document["volume"] = volume.clone();
        document["volume"][key] = bad.clone();
        assert!(!faults(&document).is_empty(), "{key} = {bad}");
    }
}
