//! Which crate may depend on which: the table of the architecture, and its proof.

use super::Violation;
use super::workspace::Package;

const TESTKIT: &str = "orlop-testkit";
const REMEDY: &str = "remove it, or move the code to the layer it belongs to (ARCHITECTURE.md)";

/// Our crates that each of our crates may depend on. The testkit isn't here: it may use any, and
/// any may use it in tests.
const LAYERS: &[(&str, &[&str])] = &[
    ("orlop-model", &[]),
    ("orlop-sys", &[]),
    ("orlop-engine", &["orlop-model", "orlop-sys"]),
    ("orlop-api", &["orlop-model"]),
    ("orlop-docker", &["orlop-engine", "orlop-model"]),
    ("orlop-csi", &["orlop-engine", "orlop-model"]),
    ("orlop-daemon", &["orlop-engine", "orlop-api", "orlop-docker", "orlop-csi", "orlop-model"]),
    ("orlop", &["orlop-api", "orlop-daemon", "orlop-model"]),
    ("xtask", &[]),
];

pub(super) fn check(packages: &[Package]) -> Vec<Violation> {
    packages.iter().flat_map(check_package).collect()
}

fn check_package(package: &Package) -> Vec<Violation> {
    let name = package.name.as_str();
    let place = format!("the manifest of {name}");
    let layer = LAYERS.iter().find(|(known, _)| *known == name).map(|(_, allowed)| *allowed);
    if layer.is_none() && name != TESTKIT {
        let remedy = "add it to the table in xtask/src/check/layering.rs and to ARCHITECTURE.md";
        return vec![Violation::new(place, "the crate is in no layer", remedy)];
    }
    let ours = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
    let forbidden = ours.filter(|dependency| {
        let development = dependency.kind.as_deref() == Some("dev");
        match layer {
            _ if dependency.name == TESTKIT => !development || name == "xtask",
            Some(allowed) => !allowed.contains(&dependency.name.as_str()),
            None => false,
        }
    });
    let fault = |other: &str| match other {
        TESTKIT => format!("{name} depends on {TESTKIT} outside its tests"),
        other => format!("{name} may not depend on {other}"),
    };
    forbidden.map(|d| Violation::new(place.clone(), fault(&d.name), REMEDY)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(name: &str, dependencies: &str) -> Vec<String> {
        let json = format!(r#"{{"name":"{name}","targets":[],"dependencies":[{dependencies}]}}"#);
        let package: Package = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e}"));
        check(&[package]).into_iter().map(|v| v.fault).collect()
    }

    fn on(name: &str, kind: &str) -> String {
        format!(r#"{{"name":"{name}","kind":{kind},"path":"/x"}}"#)
    }

    #[test]
    fn what_the_table_allows_passes() {
        let both = format!("{},{}", on("orlop-model", "null"), on("orlop-sys", "null"));
        assert_eq!(faults("orlop-engine", &both), [""; 0]);
        assert_eq!(faults("orlop-model", r#"{"name":"serde","kind":null}"#), [""; 0]);
        assert_eq!(faults("orlop-api", &on(TESTKIT, "\"dev\"")), [""; 0]);
        assert_eq!(faults(TESTKIT, &on("orlop-engine", "null")), [""; 0]);
    }

    #[test]
    fn what_it_does_not_allow_is_named() {
        let front = "orlop-engine may not depend on orlop-docker";
        assert_eq!(faults("orlop-engine", &on("orlop-docker", "null")), [front]);
        let in_tests = "orlop may not depend on orlop-engine";
        assert_eq!(faults("orlop", &on("orlop-engine", "\"dev\"")), [in_tests]);
        let testkit = "orlop-api depends on orlop-testkit outside its tests";
        assert_eq!(faults("orlop-api", &on(TESTKIT, "null")), [testkit]);
        assert_eq!(faults("orlop-new", ""), ["the crate is in no layer"]);
    }
}
