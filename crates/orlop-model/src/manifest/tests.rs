use super::*;

#[test]
fn a_variable_becomes_a_value() {
    let lookup = |name: &str| (name == "SIZE").then(|| "2Gi".to_owned());
    let text = "name: a\nversion: v1beta\ntype: volume\nvolume: {size: \"$SIZE\", accessMode: ReadWriteOnce, type: temp}\n";
    let parsed = read("f.yaml", text.into(), &Options { variables: Some(&lookup), workspace: None });
    let [Document::Volume { manifest, .. }] = &parsed.documents[..] else { panic!("{parsed:?}") };
    assert_eq!(manifest.volume.size.bytes(), 2 << 30);
}
