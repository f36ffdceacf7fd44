//! Every file under `manifests/` gives what its snapshot beside it says: those under `ok` their
//! documents and no fault, those under `err` their faults. Files whose name begins with `literal` are read
//! with interpolation turned off.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use insta::{assert_snapshot, with_settings};
use orlop_model::manifest::{Appearance, Document, Options, Parsed, read, render};

/// The variables of all of them.
fn variable(name: &str) -> Option<String> {
    let value = match name {
        "NAME" => "named",
        "OWNER" => "iam$NAME ${{x}} $$",
        "SIZE" => "2Gi",
        "UID_NUMBER" => "1000",
        "TRUE" => "true",
        "EMPTY" => "",
        "TRICK" => "x\nname: evil # $NAME",
        "OTHER_TYPE" => "service",
        "UNSET_ONE" | "UNSET_TWO" | "UNSET" | "ALSO_UNSET" | "OWNER_OF_IT" => return None,
        other => panic!("{other} should not be looked up"),
    };
    Some(value.to_owned())
}

fn each(directory: &str, check: fn(Parsed) -> String) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests").join(directory);
    let mut files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().unwrap() == "yaml") {
        let stem = file.file_stem().unwrap().to_str().unwrap();
        let options =
            Options { variables: (!stem.starts_with("literal")).then_some(&variable), workspace: None };
        let parsed = read(&format!("{stem}.yaml"), fs::read(file).unwrap(), &options);
        with_settings!({
            snapshot_path => &directory,
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, { assert_snapshot!(stem, check(parsed)) });
    }
    for file in files.iter().filter(|file| file.extension().unwrap() == "snap") {
        assert!(file.with_extension("yaml").is_file(), "{file:?} is the snapshot of nothing");
    }
}

fn documents(parsed: &Parsed) -> String {
    let show = |document: &Document| match document {
        Document::Volume { manifest, workspace, at } => {
            let workspace = workspace.as_ref().map_or("-".to_owned(), |w| format!("{} ({})", w.value, w.at));
            let bytes = manifest.volume.size.bytes();
            let json = serde_json::to_string_pretty(manifest).unwrap();
            format!("{at} volume in {workspace}, {bytes} bytes: {json}\n")
        }
        Document::Snapshot { manifest, workspace, at } => {
            let workspace = workspace.as_ref().map_or("-".to_owned(), |w| format!("{} ({})", w.value, w.at));
            let json = serde_json::to_string_pretty(manifest).unwrap();
            format!("{at} snapshot in {workspace}: {json}\n")
        }
        Document::Other { resource_type, name, at } => format!("{at} {resource_type} {name:?}\n"),
    };
    parsed.documents.iter().map(show).collect()
}

#[test]
fn good_manifests() {
    each("ok", |parsed| {
        assert_eq!(render(&parsed.diagnostics, Appearance::PLAIN), "");
        documents(&parsed)
    });
}

#[test]
fn bad_manifests() {
    each("err", |parsed| {
        assert!(parsed.has_errors());
        let found = parsed.diagnostics.len();
        format!(
            "{}\n{found} faults, {} good documents",
            render(&parsed.diagnostics, Appearance::PLAIN),
            parsed.documents.len()
        )
    });
}

#[test]
fn the_published_samples() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap();
        let parsed =
            read(name, fs::read(&file).unwrap(), &Options { variables: Some(&|_| None), workspace: None });
        assert_eq!(render(&parsed.diagnostics, Appearance::PLAIN), "");
        found.push(documents(&parsed));
    }
    found.sort();
    assert_snapshot!(found.concat());
}
