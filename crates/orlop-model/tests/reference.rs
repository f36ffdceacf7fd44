//! The checked-in reference is the one the code makes, its examples are valid, and the schema is the golden one.

use std::{fs, path::Path};

use orlop_model::manifest::{Options, read, snapshot_schema, volume_reference, volume_schema};

#[test]
fn the_reference_is_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/manifest.md");
    let now = volume_reference();
    let stored = fs::read_to_string(&file).unwrap_or_default();
    assert!(stored == now, "docs/manifest.md is out of date: run `cargo xtask check --write`");
}

#[test]
fn the_examples_of_the_reference_are_valid() {
    let reference = volume_reference();
    let examples: Vec<&str> =
        reference.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let parsed = read("example", example.into(), &Options::default());
        assert!(parsed.diagnostics.is_empty() && parsed.documents.len() == 1, "{parsed:?}");
    }
}

#[test]
fn the_schema() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&volume_schema()).unwrap());
}

#[test]
fn the_schema_of_a_snapshot() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&snapshot_schema()).unwrap());
}
