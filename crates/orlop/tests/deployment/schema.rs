//! Every object is one that Kubernetes knows, in every field: read as its type and written again, nothing
//! is lost. Resources of the snapshot controller, which Kubernetes itself doesn't have, have their fields
//! here.

use k8s_openapi::{
    DeepMerge,
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        core::v1::{ConfigMap, Namespace, PersistentVolume, PersistentVolumeClaim, Pod, ServiceAccount},
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
        storage::v1::{CSIDriver, StorageClass},
    },
};
use orlop_testkit::{Part, require};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::objects::{base, examples, parse, text};

/// Whether a value is, field by field, one of the type.
fn fits<T: DeserializeOwned + Serialize + DeepMerge>(object: &Value) -> Result<(), String> {
    let typed: T = serde_json::from_value(object.clone()).map_err(|fault| fault.to_string())?;
    let again = serde_json::to_value(typed).map_err(|fault| fault.to_string())?;
    lost("", object, &again)
}

/// What of `said` is not in `known`.
fn lost(at: &str, said: &Value, known: &Value) -> Result<(), String> {
    match (said, known) {
        (Value::Object(said), Value::Object(known)) => said.iter().try_for_each(|(key, value)| {
            let at = format!("{at}.{key}");
            known.get(key).map_or_else(|| Err(format!("{at} is unknown")), |known| lost(&at, value, known))
        }),
        (Value::Array(said), Value::Array(known)) if said.len() == known.len() => {
            said.iter().zip(known).enumerate().try_for_each(|(i, (a, b))| lost(&format!("{at}[{i}]"), a, b))
        }
        (said, known) if said == known => Ok(()),
        (said, known) => Err(format!("{at}: {said} is taken for {known}")),
    }
}

/// The fields of a resource that is defined in the cluster, below `metadata`.
fn has_only(object: &Value, fields: &[&str]) -> Result<(), String> {
    fn paths(at: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(key, value)| paths(&format!("{at}.{key}"), value, found));
            }
            _ => found.push(at.trim_start_matches('.').to_owned()),
        }
    }
    let mut found = Vec::new();
    paths("", object, &mut found);
    let unknown = found.into_iter().find(|path| {
        let known = ["apiVersion", "kind"].iter().chain(fields).any(|field| path == field);
        !known && !path.starts_with("metadata.")
    });
    unknown.map_or(Ok(()), |path| Err(format!("{path} is unknown")))
}

fn check(object: &Value) -> Result<(), String> {
    match (text(&object["apiVersion"]), text(&object["kind"])) {
        ("v1", "ConfigMap") => fits::<ConfigMap>(object),
        ("v1", "Namespace") => fits::<Namespace>(object),
        ("v1", "PersistentVolume") => fits::<PersistentVolume>(object),
        ("v1", "PersistentVolumeClaim") => fits::<PersistentVolumeClaim>(object),
        ("v1", "Pod") => fits::<Pod>(object),
        ("v1", "ServiceAccount") => fits::<ServiceAccount>(object),
        ("apps/v1", "DaemonSet") => fits::<DaemonSet>(object),
        ("apps/v1", "Deployment") => fits::<Deployment>(object),
        ("apps/v1", "StatefulSet") => fits::<StatefulSet>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => fits::<ClusterRole>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => fits::<ClusterRoleBinding>(object),
        ("rbac.authorization.k8s.io/v1", "Role") => fits::<Role>(object),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => fits::<RoleBinding>(object),
        ("storage.k8s.io/v1", "CSIDriver") => fits::<CSIDriver>(object),
        ("storage.k8s.io/v1", "StorageClass") => fits::<StorageClass>(object),
        ("snapshot.storage.k8s.io/v1", "VolumeSnapshotClass") => {
            has_only(object, &["driver", "deletionPolicy"])
        }
        ("snapshot.storage.k8s.io/v1", "VolumeSnapshot") => {
            has_only(object, &["spec.volumeSnapshotClassName", "spec.source.persistentVolumeClaimName"])
        }
        (version, kind) => Err(format!("{kind} of {version} is not known here")),
    }
}

fn faults<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    let faults = objects.into_iter().filter_map(|object| {
        let name = format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]));
        check(object).err().map(|fault| format!("{name}: {fault}"))
    });
    faults.collect()
}

#[test]
fn the_base_is_what_kubernetes_knows() {
    require!(Part::Kubectl);
    let base = base();
    assert!(base.len() > 20, "{} objects", base.len());
    assert_eq!(faults(&base), [""; 0]);
}

#[test]
fn the_examples_are_what_kubernetes_knows() {
    for (file, objects) in examples() {
        assert_eq!(faults(&objects), [""; 0], "{file}");
    }
}

#[test]
fn a_misspelt_field_is_found() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n    - name: c\n      \
               volumeMounts: [{name: v, mountPath: /v, mountPropogation: Bidirectional}]\n";
    let expected = "Pod p: .spec.containers[0].volumeMounts[0].mountPropogation is unknown";
    assert_eq!(faults(&parse(pod)), [expected]);
    let class = "apiVersion: snapshot.storage.k8s.io/v1\nkind: VolumeSnapshotClass\nmetadata: {name: c}\n\
                 driver: csi.orlop.dev\ndeletionpolicy: Delete\n";
    assert_eq!(faults(&parse(class)), ["VolumeSnapshotClass c: deletionpolicy is unknown"]);
}
