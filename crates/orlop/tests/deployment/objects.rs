//! The objects that are deployed, as values: of the base as kubectl makes it, and of the examples.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use orlop_testkit::run;
use serde_json::Value;

/// Of the repository.
pub(crate) fn path(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(below)
}

/// All documents of a text.
#[track_caller]
pub(crate) fn parse(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|fault| panic!("{fault}"))
}

/// What `kubectl apply -k` of the base would send.
#[track_caller]
pub(crate) fn base() -> Vec<Value> {
    parse(&run(Command::new("kubectl").arg("kustomize").arg(path("deploy/kubernetes/base"))).ok())
}

/// The examples, by file name.
#[track_caller]
pub(crate) fn examples() -> Vec<(String, Vec<Value>)> {
    let files = fs::read_dir(path("deploy/kubernetes/examples")).unwrap();
    let mut found: Vec<(String, Vec<Value>)> = files
        .map(|file| {
            let file = file.unwrap();
            (file.file_name().into_string().unwrap(), parse(&fs::read_to_string(file.path()).unwrap()))
        })
        .collect();
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Those of a kind.
pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The one of a kind and name.
#[track_caller]
pub(crate) fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = of_kind(objects, kind).into_iter().find(|object| object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

/// The elements of a list, none where there is no list.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A text, empty where there is none.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The strings of a list.
pub(crate) fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().map(text).collect()
}
