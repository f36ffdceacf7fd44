//! The OpenAPI document and the parsers agree: what the one describes the others take, and nothing else.
//!
//! Good requests are changed in one place at a time, in many ways; then the schema and the parser are
//! asked. Rules beyond a schema are listed in [`BEYOND`].
#![allow(clippy::unwrap_used)]

use orlop_api::{
    AdoptRequest, ApplyOptions, CheckOptions, DeleteOptions, DeviceFilter, EventFilter, GrowRequest,
    ImportRequest, MigrateRequest, MountFilter, MountRequest, Operation, PoolRequest, RenameRequest,
    SnapshotFilter, SnapshotGroupRequest, SnapshotOptions, UndeleteRequest, VolumeCheckOptions, VolumeFilter,
    WatchFilter, WorkspaceRequest, body, openapi, query,
};
use orlop_model::{
    Error, OperationId, PoolName, SnapshotManifest, VolumeId, VolumeManifest, VolumeName, WorkspaceName,
};
use orlop_testkit::json_schema;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What a schema can't say: sizes that are no whole bytes, too many, or too few as a quantity, and
/// sizes that XFS can't have; what is a schedule; how long is too long.
const BEYOND: [&str; 9] = [
    "is not a whole number of bytes",
    "is more than 8Ei - 1 bytes",
    "the size is zero",
    "is too small",
    "XFS can't be made in",
    "is none:",
    "does not say how long to keep it",
    "has the control character",
    "a tag is empty",
];

/// Whether the daemon takes a body, and what it says where it does not.
type Taken = fn(&[u8]) -> Result<(), Error>;

fn takes<T: DeserializeOwned>(bytes: &[u8]) -> Result<(), Error> {
    body::decode::<T>(bytes).map(drop)
}

/// What engines check of every manifest is part of it.
fn takes_manifest(bytes: &[u8]) -> Result<(), Error> {
    let manifest = body::decode::<VolumeManifest>(bytes)?;
    manifest.check_texts()?;
    manifest.volume.check()
}

fn takes_snapshot(bytes: &[u8]) -> Result<(), Error> {
    body::decode::<SnapshotManifest>(bytes)?.check_texts()
}

/// The parser of each body, and good ones to begin with.
fn bodies(operation: Operation) -> (Taken, Vec<Value>) {
    match operation {
        Operation::ApplyVolume | Operation::PlanVolume => (
            takes_manifest,
            vec![
                json!({
                    "name": "a", "version": "v1beta", "type": "volume",
                    "volume": {"size": "1Gi", "accessMode": "ReadWriteOnce", "type": "CloudTemp"},
                }),
                json!({
                    "name": "a", "version": "v1beta", "type": "volume", "tags": ["a", "b"],
                    "description": "a", "owner": "a", "layer": "system",
                    "volume": {
                        "size": 1_073_741_824, "accessMode": "ReadWriteMany", "type": "temp",
                        "volumeMode": "Filesystem", "pool": "a", "filesystem": "xfs", "uid": 1, "gid": 1,
                        "mode": "0770", "mountOptions": ["noatime", "sync"], "preallocate": true,
                        "protection": true, "tempGracePeriod": "10m",
                        "source": {"snapshot": "a"},
                        "snapshots": {"schedule": "@daily", "keep": {"last": 3, "hourly": 24}},
                    },
                }),
            ],
        ),
        Operation::ApplySnapshot => (
            takes_snapshot,
            vec![
                json!({"name": "a", "version": "v1beta", "type": "snapshot", "snapshot": {"volume": "a"}}),
                json!({
                    "name": "a", "version": "v1beta", "type": "snapshot", "tags": ["a"], "description": "a",
                    "owner": "a", "layer": "system", "snapshot": {"volume": "a", "retain": "7d"},
                }),
            ],
        ),
        Operation::ApplySnapshotGroup => (
            takes::<SnapshotGroupRequest>,
            vec![json!({"volumes": ["a", "b"]}), json!({"volumes": ["a"], "retain": "7d"})],
        ),
        Operation::PutWorkspace => (
            takes::<WorkspaceRequest>,
            vec![
                json!({}),
                json!({"grants": [1, 2]}),
                json!({"sizeLimit": "1Gi", "volumeLimit": 3}),
                json!({"sizeLimit": null, "volumeLimit": null}),
            ],
        ),
        Operation::CreatePool => (
            takes::<PoolRequest>,
            vec![
                json!({"path": "/a"}),
                json!({"path": "/a", "capacity": "1Gi", "overcommit": 1.5}),
                json!({"device": "/dev/a", "erase": "ext4"}),
                json!({"image": "/a", "size": "1Gi", "sparse": true}),
            ],
        ),
        Operation::MigrateVolume => {
            (takes::<MigrateRequest>, vec![json!({}), json!({"pool": "a", "size": "1Gi"})])
        }
        Operation::AdoptDirectory => (
            takes::<AdoptRequest>,
            vec![json!({"source": "/a"}), json!({"source": "/a", "size": "1Gi", "pool": "a"})],
        ),
        Operation::GrowPool => {
            (takes::<GrowRequest>, vec![json!({}), json!({"size": "1Gi", "capacity": "1Gi"})])
        }
        Operation::ImportPool => (
            takes::<ImportRequest>,
            vec![
                json!({"path": "/a"}),
                json!({"name": "a", "device": "/dev/a", "capacity": "1Gi", "overcommit": 1.5}),
                json!({"image": "/a"}),
            ],
        ),
        Operation::MountVolume => (
            takes::<MountRequest>,
            vec![
                json!({"name": "a", "target": "/a"}),
                json!({"workspace": "a", "name": "a", "target": "/a", "access": "readOnly"}),
            ],
        ),
        Operation::UndeleteVolume | Operation::UndeleteVolumeById => {
            (takes::<UndeleteRequest>, vec![json!({}), json!({"name": "a"})])
        }
        Operation::RenameVolume => (
            takes::<RenameRequest>,
            vec![json!({"name": "a"}), json!({"name": "a", "forget": ["docker", "podman"]})],
        ),
        other => panic!("the body of {other:?} is not tested"),
    }
}

/// Values to put in place of good ones.
fn others() -> Vec<Value> {
    let mut values = vec![json!(null), json!(true), json!([]), json!({}), json!(1.5), json!(-1)];
    let numbers = [0, 1, 770, 16 << 20, (16 << 20) - 1, u32::MAX.into(), u64::from(u32::MAX) - 1, 1 << 32];
    values.extend(numbers.map(Value::from));
    values.extend([i64::MAX.cast_unsigned(), 1 << 63, u64::MAX].map(Value::from));
    let texts = [
        "",
        " ",
        "a",
        "A",
        "a-",
        "-a",
        "a.b",
        "é",
        "a\n",
        "0",
        "1",
        "-1",
        "+1Gi",
        "1.5Gi",
        ".5Gi",
        "1.Gi",
        ".",
        "1e9",
        "1E+9",
        "1e-3",
        "1gi",
        "1 Gi",
        "1GB",
        "8Ei",
        "1.0001",
        "299Mi",
        "0770",
        "770",
        "0o770",
        "00770",
        "07777",
        "17777",
        "0888",
        "77",
        "000770",
        "v1beta",
        "volume",
        "user",
        "temp",
        "CloudTemp",
        "ext4",
        "auto",
        "Block",
        "ReadWriteOnce",
        "ReadOnlyMany",
        "RWX",
        "byMode",
        "noexec",
        "never",
        "0s",
        "1h",
        "1w",
        "suid",
    ];
    values.extend(texts.map(Value::from));
    values.extend([48, 49, 63, 64].map(|length| json!("a".repeat(length))));
    // What serde derives takes beside the usual form.
    values.push(json!({"ReadWriteOnce": null}));
    values.push(json!({"temp": null}));
    values.push(json!({"noatime": null}));
    values.push(json!(["1Gi", "ReadWriteOnce", "temp"]));
    values.push(json!(["noatime", "noatime"]));
    values.push(json!([4_294_967_296_u64]));
    values.push(json!(["/a", null, null]));
    values
}

/// The places of all values in a value.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(key, value)| places(value, &format!("{here}/{key}"), found));
        }
        Value::Array(array) => {
            array.iter().enumerate().for_each(|(key, value)| places(value, &format!("{here}/{key}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `good`, and everything that is one change away from it.
fn neighbours(good: &Value) -> Vec<Value> {
    let mut all = vec![good.clone()];
    let mut found = Vec::new();
    places(good, "", &mut found);
    for place in &found {
        for other in others() {
            let mut changed = good.clone();
            *changed.pointer_mut(place).unwrap() = other;
            all.push(changed);
        }
        let mut changed = good.clone();
        if let Some(Value::Object(object)) = changed.pointer_mut(place) {
            object.insert("colour".into(), "red".into());
            all.push(changed);
        }
        if let Some((parent, key)) = place.rsplit_once('/') {
            let mut changed = good.clone();
            if let Some(Value::Object(object)) = changed.pointer_mut(parent) {
                object.remove(key);
                all.push(changed);
            }
        }
    }
    all
}

#[test]
fn bodies_are_as_described() {
    let document = openapi::document();
    for operation in Operation::ALL.iter().filter(|operation| operation.route().request.is_some()) {
        let route = operation.route();
        let described = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        let schema = &described["requestBody"]["content"]["application/json"]["schema"];
        let (parser, good) = bodies(*operation);
        let (mut taken, mut refused) = (0, 0);
        for body in good.iter().flat_map(neighbours) {
            let faults = json_schema::faults(&document, schema, &body);
            let answer = parser(&serde_json::to_vec(&body).unwrap());
            match &answer {
                Ok(()) => taken += 1,
                Err(_) => refused += 1,
            }
            let beyond = |error: &Error| BEYOND.iter().any(|rule| error.message.contains(rule));
            assert!(
                faults.is_empty() == answer.is_ok()
                    || faults.is_empty() && answer.as_ref().is_err_and(beyond),
                "{operation:?} {body}\nthe schema: {faults:?}\nthe parser: {answer:?}"
            );
        }
        for body in good {
            assert_eq!(parser(&serde_json::to_vec(&body).unwrap()), Ok(()));
        }
        assert!(taken > 5 && refused > 50, "{operation:?}: {taken} taken, {refused} refused");
    }
}

#[test]
fn a_body_is_one_json_value() {
    assert!(body::decode::<WorkspaceRequest>(br#"{"grants":[]} "#).is_ok());
    for text in ["", "{", "{} {}", r#"{"grants":[],"grants":[]}"#, "[[]]"] {
        assert!(body::decode::<WorkspaceRequest>(text.as_bytes()).is_err(), "{text}");
    }
}

/// The parser of each query, and of each parameter of a path.
fn query_parser(operation: Operation) -> fn(&str) -> Result<(), Error> {
    fn takes<T: DeserializeOwned>(text: &str) -> Result<(), Error> {
        query::decode::<T>(text).map(drop)
    }
    match operation {
        Operation::ListVolumes => takes::<VolumeFilter>,
        Operation::ApplyVolume | Operation::PlanVolume => takes::<ApplyOptions>,
        Operation::CheckVolume => takes::<VolumeCheckOptions>,
        Operation::ListSnapshots => takes::<SnapshotFilter>,
        Operation::ApplySnapshot => takes::<SnapshotOptions>,
        Operation::DeleteVolume | Operation::DeleteVolumeById => takes::<DeleteOptions>,
        Operation::UnmountVolume => takes::<MountFilter>,
        Operation::ListEvents => takes::<EventFilter>,
        Operation::Watch => takes::<WatchFilter>,
        Operation::CheckPool => takes::<CheckOptions>,
        Operation::GetDevice => takes::<DeviceFilter>,
        other => panic!("the query of {other:?} is not tested"),
    }
}

fn path_parser(path: &str, name: &str) -> fn(&str) -> Result<(), Error> {
    fn takes<T: std::str::FromStr<Err = Error>>(text: &str) -> Result<(), Error> {
        text.parse::<T>().map(drop)
    }
    match (path, name) {
        (_, "workspace") | ("/v1/workspaces/{name}", _) => takes::<WorkspaceName>,
        ("/v1/pools/{name}", _) => takes::<PoolName>,
        (_, "name") => takes::<VolumeName>,
        ("/v1/volumes/{id}" | "/v1/volumes/{id}/undelete" | "/v1/volumes/{id}/purge", "id") => {
            takes::<VolumeId>
        }
        ("/v1/operations/{id}", "id") => takes::<OperationId>,
        other => panic!("the parameter {other:?} is not tested"),
    }
}

const TEXTS: [&str; 22] = [
    "a",
    "A",
    "a.b",
    "a-",
    "",
    "0",
    "1",
    "-1",
    "1.5",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "true",
    "false",
    "yes",
    "active",
    "lost",
    "public",
    "019a0000-0000-7000-8000-000000000000",
    "019A0000-0000-7000-8000-00000000000F",
    "019a0000000070008000000000000000",
    "{019a0000-0000-7000-8000-000000000000}",
];

/// A parameter's text as the value that its schema describes.
fn as_described(schema: &Value, text: &str) -> Value {
    match schema["type"].as_str() {
        Some("integer") => text.parse::<i128>().map_or(text.into(), |_| serde_json::from_str(text).unwrap()),
        Some("boolean") => text.parse::<bool>().map_or(text.into(), Value::from),
        Some("array") => json!([text]),
        _ => text.into(),
    }
}

#[test]
fn parameters_are_as_described() {
    let document = openapi::document();
    let (mut taken, mut refused) = (0, 0);
    for operation in Operation::ALL {
        let route = operation.route();
        let described = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        for parameter in described["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let schema = &parameter["schema"];
            let query = parameter["in"] == "query";
            // A parameter of a query that is empty is as good as none.
            for text in TEXTS.into_iter().filter(|text| !(query && text.is_empty())) {
                let faults = json_schema::faults(&document, schema, &as_described(schema, text));
                let answer = if query {
                    query_parser(*operation)(&format!("{name}={text}"))
                } else {
                    path_parser(route.path, name)(text)
                };
                assert_eq!(
                    faults.is_empty(),
                    answer.is_ok(),
                    "{operation:?} {name}={text}\nthe schema: {faults:?}\nthe parser: {answer:?}"
                );
                match answer {
                    Ok(()) => taken += 1,
                    Err(_) => refused += 1,
                }
            }
        }
    }
    assert!(taken > 50 && refused > 200, "{taken} taken, {refused} refused");
}
