//! The parts of the workloads fit each other: selectors, accounts, volumes, ports, paths.

use orlop_testkit::{Part, require};
use serde_json::Value;

use super::objects::{base, list, named, of_kind, text, texts};

/// The daemon's workload and the resizer's.
fn workloads(base: &[Value]) -> Vec<&Value> {
    [of_kind(base, "DaemonSet"), of_kind(base, "Deployment")].concat()
}

fn containers(workload: &Value) -> &[Value] {
    list(&workload["spec"]["template"]["spec"]["containers"])
}

#[test]
fn selectors_find_the_pods_and_no_others() {
    require!(Part::Kubectl);
    let base = base();
    let selectors: Vec<&Value> =
        workloads(&base).iter().map(|workload| &workload["spec"]["selector"]["matchLabels"]).collect();
    for (workload, selector) in workloads(&base).iter().zip(&selectors) {
        let labels = &workload["spec"]["template"]["metadata"]["labels"];
        let finds = |selector: &Value| {
            selector.as_object().unwrap().iter().all(|(key, value)| labels.get(key) == Some(value))
        };
        assert!(finds(selector), "{}", workload["metadata"]["name"]);
        assert_eq!(selectors.iter().filter(|other| finds(other)).count(), 1);
    }
    let terms =
        &named(&base, "Deployment", "orlop-resizer")["spec"]["template"]["spec"]["affinity"]["podAffinity"];
    let beside = &terms["requiredDuringSchedulingIgnoredDuringExecution"][0]["labelSelector"]["matchLabels"];
    assert_eq!(beside, &named(&base, "DaemonSet", "orlop")["spec"]["selector"]["matchLabels"]);
}

#[test]
fn everything_is_in_the_namespace() {
    require!(Part::Kubectl);
    for object in base() {
        let cluster_wide = matches!(
            text(&object["kind"]),
            "Namespace"
                | "CSIDriver"
                | "StorageClass"
                | "VolumeSnapshotClass"
                | "ClusterRole"
                | "ClusterRoleBinding"
        );
        let expected = if cluster_wide { Value::Null } else { "orlop-system".into() };
        assert_eq!(object["metadata"]["namespace"], expected, "{}", object["metadata"]["name"]);
    }
}

#[test]
fn what_pods_name_is_there() {
    require!(Part::Kubectl);
    let base = base();
    for workload in workloads(&base) {
        let spec = &workload["spec"]["template"]["spec"];
        named(&base, "ServiceAccount", text(&spec["serviceAccountName"]));
        let volumes: Vec<&str> = list(&spec["volumes"]).iter().map(|volume| text(&volume["name"])).collect();
        let mounts = || containers(workload).iter().flat_map(|container| list(&container["volumeMounts"]));
        for mount in mounts() {
            assert!(volumes.contains(&text(&mount["name"])), "no volume {}", mount["name"]);
        }
        for volume in &volumes {
            assert!(mounts().any(|mount| mount["name"] == *volume), "the volume {volume} is not mounted");
        }
        for volume in list(&spec["volumes"]) {
            if let Some(config) = volume["configMap"]["name"].as_str() {
                named(&base, "ConfigMap", config);
            }
        }
        let ports: Vec<&Value> = containers(workload).iter().flat_map(|c| list(&c["ports"])).collect();
        for container in containers(workload) {
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                let Some(port) = container[probe]["httpGet"]["port"].as_str() else { continue };
                let port = ports.iter().find(|known| known["name"] == port).expect(port);
                let listens = format!("--http-endpoint=:{}", port["containerPort"]);
                assert!(
                    containers(workload).iter().any(|c| texts(&c["args"]).contains(&&*listens)),
                    "{listens}"
                );
            }
        }
    }
}

#[test]
fn the_daemon_and_its_neighbours_mean_the_same_socket_and_directories() {
    require!(Part::Kubectl);
    let base = base();
    let pod = &named(&base, "DaemonSet", "orlop")["spec"]["template"]["spec"];
    let container = |name: &str| list(&pod["containers"]).iter().find(|c| c["name"] == name).unwrap();
    let daemon = container("orlop");
    let flag = |container: &Value, name: &str| {
        let found = texts(&container["args"])
            .into_iter()
            .find_map(|word| word.strip_prefix(&format!("--{name}=")).map(str::to_owned));
        found.unwrap_or_else(|| panic!("no --{name}"))
    };
    let host_path = |name: &str| {
        let volume = list(&pod["volumes"]).iter().find(|volume| volume["name"] == name).unwrap();
        text(&volume["hostPath"]["path"]).to_owned()
    };
    let mount =
        |name: &str| list(&daemon["volumeMounts"]).iter().find(|mount| mount["name"] == name).unwrap();

    // The kubelet and the kernel name paths of the host; so the daemon has each at its own path.
    for (volume, named) in [("state", "state-dir"), ("run", "run-dir"), ("kubelet", "kubelet-root")] {
        assert_eq!(host_path(volume), flag(daemon, named));
        assert_eq!(mount(volume)["mountPath"], host_path(volume));
    }
    for volume in ["dev", "pools"] {
        assert_eq!(mount(volume)["mountPath"], host_path(volume));
    }
    assert_eq!(mount("pools")["mountPropagation"], "HostToContainer");
    let both = ["state", "run", "kubelet"];
    for mount in list(&daemon["volumeMounts"]) {
        let expected = both.contains(&text(&mount["name"]));
        assert_eq!(mount["mountPropagation"] == "Bidirectional", expected, "{}", mount["name"]);
    }
    assert_eq!(pod["hostPID"], true);

    let socket = flag(daemon, "csi-endpoint");
    let socket = socket.strip_prefix("unix://").unwrap();
    assert_eq!(flag(container("node-driver-registrar"), "kubelet-registration-path"), socket);
    assert_eq!(format!("{}/csi.sock", host_path("plugin")), socket);
    let resizer = named(&base, "Deployment", "orlop-resizer");
    assert_eq!(resizer["spec"]["template"]["spec"]["volumes"][0]["hostPath"]["path"], host_path("plugin"));
    let neighbours = workloads(&base).into_iter().flat_map(containers).filter(|c| c["name"] != "orlop");
    for neighbour in neighbours {
        assert_eq!(flag(neighbour, "csi-address"), "/csi/csi.sock");
        let mounted = list(&neighbour["volumeMounts"])
            .iter()
            .any(|m| m["name"] == "plugin" && m["mountPath"] == "/csi");
        assert!(mounted, "{}", neighbour["name"]);
    }
    assert_eq!(host_path("registration"), format!("{}/plugins_registry", host_path("kubelet")));
}

#[test]
fn images_are_pinned_and_ours_is_of_this_version() {
    require!(Part::Kubectl);
    let base = base();
    for container in workloads(&base).into_iter().flat_map(containers) {
        let (image, tag) = text(&container["image"]).rsplit_once(':').unwrap();
        assert!(!image.is_empty() && tag.contains(|c: char| c.is_ascii_digit()), "{image}:{tag}");
        if container["name"] == "orlop" {
            assert_eq!(tag, env!("CARGO_PKG_VERSION"));
        }
    }
    let update = &named(&base, "DaemonSet", "orlop")["spec"]["updateStrategy"]["rollingUpdate"];
    assert_eq!(update["maxSurge"], 0, "two daemons can't share a state directory");
}
