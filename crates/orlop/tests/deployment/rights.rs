//! Nothing has a right that it has no reason for: privileges, tokens, and rules of the API.

use std::collections::BTreeSet;

use orlop_testkit::{Part, require};
use serde_json::Value;

use super::objects::{base, list, named, of_kind, text, texts};

/// The containers of a workload.
fn containers<'a>(base: &'a [Value], kind: &str, name: &str) -> &'a [Value] {
    list(&named(base, kind, name)["spec"]["template"]["spec"]["containers"])
}

#[test]
fn one_container_is_privileged_and_the_others_are_confined() {
    require!(Part::Kubectl);
    let base = base();
    let all =
        [containers(&base, "DaemonSet", "orlop"), containers(&base, "Deployment", "orlop-resizer")].concat();
    for container in &all {
        let context = &container["securityContext"];
        assert_eq!(context["readOnlyRootFilesystem"], true, "{}", container["name"]);
        if container["name"] == "orlop" {
            assert_eq!(context["privileged"], true);
            continue;
        }
        assert_eq!(context["privileged"], Value::Null, "{}", container["name"]);
        assert_eq!(context["allowPrivilegeEscalation"], false, "{}", container["name"]);
        assert_eq!(texts(&context["capabilities"]["drop"]), ["ALL"], "{}", container["name"]);
    }
    assert_eq!(all.len(), 7);
}

#[test]
fn only_those_that_speak_with_the_api_have_its_token() {
    require!(Part::Kubectl);
    let base = base();
    let account = named(&base, "ServiceAccount", "orlop-node");
    assert_eq!(account["automountServiceAccountToken"], false);
    let pod = &named(&base, "DaemonSet", "orlop")["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    let with_token: Vec<&str> = containers(&base, "DaemonSet", "orlop")
        .iter()
        .filter(|c| list(&c["volumeMounts"]).iter().any(|m| m["name"] == "api"))
        .map(|c| text(&c["name"]))
        .collect();
    assert_eq!(with_token, ["csi-provisioner", "csi-snapshotter", "csi-health-monitor"]);
}

#[test]
fn roles_are_bound_to_accounts_that_exist_and_are_used() {
    require!(Part::Kubectl);
    let base = base();
    let mut bound = BTreeSet::new();
    for (kind, role_kind) in [("ClusterRoleBinding", "ClusterRole"), ("RoleBinding", "Role")] {
        for binding in of_kind(&base, kind) {
            assert_eq!(binding["roleRef"]["kind"], role_kind);
            named(&base, role_kind, text(&binding["roleRef"]["name"]));
            bound.insert((role_kind, text(&binding["roleRef"]["name"])));
            for subject in list(&binding["subjects"]) {
                let account = named(&base, "ServiceAccount", text(&subject["name"]));
                assert_eq!(subject["namespace"], account["metadata"]["namespace"]);
            }
        }
        for role in of_kind(&base, role_kind) {
            let name = text(&role["metadata"]["name"]);
            assert!(bound.contains(&(role_kind, name)), "nobody has the role {name}");
        }
    }
}

/// Rules that would let a node read or change what is none of its business.
#[test]
fn no_rule_is_wider_than_its_reason() {
    require!(Part::Kubectl);
    let base = base();
    for role in [of_kind(&base, "ClusterRole"), of_kind(&base, "Role")].concat() {
        let name = text(&role["metadata"]["name"]);
        for rule in list(&role["rules"]) {
            let words =
                [texts(&rule["apiGroups"]), texts(&rule["resources"]), texts(&rule["verbs"])].concat();
            assert!(!words.contains(&"*"), "{name} has a wildcard");
            let unneeded = ["secrets", "nodes", "volumeattachments", "deletecollection", "impersonate"];
            let found = unneeded.iter().find(|word| words.contains(word));
            assert_eq!(found, None, "{name}");
            // Pods are read in the driver's own namespace only.
            assert!(role["kind"] == "Role" || !texts(&rule["resources"]).contains(&"pods"), "{name}");
        }
    }
}
