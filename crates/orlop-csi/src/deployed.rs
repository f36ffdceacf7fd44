//! What `deploy` asks of the driver is what the driver takes: parameters of the classes, and of volumes in
//! pods and in Nomad's files.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use crate::{
    NAME,
    parameters::{CLASS, INLINE, Parameters},
};

fn text(below: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(below)).unwrap()
}

fn objects(below: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(below)).unwrap()
}

fn parameters(value: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn the_classes_say_what_the_driver_knows() {
    let classes = objects("kubernetes/base/storageclasses.yaml");
    let types = classes.iter().map(|class| {
        assert_eq!(class["provisioner"], NAME);
        let said = Parameters::read("parameters", CLASS, &parameters(&class["parameters"])).unwrap();
        let retains = said.volume_type.unwrap().retains();
        // A claim that is deleted keeps its data by policy and by type, or by neither.
        assert_eq!(class["reclaimPolicy"], if retains { "Retain" } else { "Delete" });
        retains
    });
    assert_eq!(types.collect::<Vec<_>>(), [true, false]);
    assert_eq!(objects("kubernetes/base/csidriver.yaml")[0]["metadata"]["name"], NAME);
    // The driver knows no parameter of a snapshot class.
    let snapshots = &objects("kubernetes/base/volumesnapshotclass.yaml")[0];
    assert_eq!((&snapshots["driver"], &snapshots["parameters"]), (&NAME.into(), &Value::Null));
}

#[test]
fn so_do_the_examples() {
    let pod = &objects("kubernetes/examples/ephemeral.yaml")[0];
    let inline = &pod["spec"]["volumes"][0]["csi"];
    assert_eq!(inline["driver"], NAME);
    Parameters::read("volume_context", INLINE, &parameters(&inline["volumeAttributes"])).unwrap();
    let fixed = &objects("kubernetes/examples/static.yaml")[0]["spec"]["csi"];
    assert_eq!(fixed["driver"], NAME);
    crate::request::known_volume("volume_id", fixed["volumeHandle"].as_str().unwrap()).unwrap();

    let nomad: Value = hcl::from_str(&text("nomad/volume.nomad.hcl")).unwrap();
    Parameters::read("parameters", CLASS, &parameters(&nomad["parameters"])).unwrap();
    let existing: Value = hcl::from_str(&text("nomad/existing.nomad.hcl")).unwrap();
    crate::request::known_volume("volume_id", existing["external_id"].as_str().unwrap()).unwrap();
}
