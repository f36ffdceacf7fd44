//! What the chart lets be chosen: which words of the base become values, and which parts may be left out.

/// A text of the base that the chart makes a value of. Its default is what the base says.
pub(super) struct Value {
    /// The keys in `values.yaml`, with dots between.
    pub(super) path: &'static str,
    /// The comment there.
    pub(super) about: &'static str,
    /// As it stands in the base.
    pub(super) says: Says,
}

/// How a value stands in the base.
pub(super) enum Says {
    /// A word or part of one, wherever it is found.
    Word(&'static str),
    /// Lines below a key: the key with its indentation, and the lines as YAML of their own.
    Lines { below: &'static str, lines: &'static str },
}

/// Objects and containers that the chart can leave out.
pub(super) struct Part {
    /// The key in `values.yaml`; below it is `enabled`.
    pub(super) key: &'static str,
    /// The comment there.
    pub(super) about: &'static str,
    /// Files of the base.
    pub(super) files: &'static [&'static str],
    /// A container of the daemon's pod.
    pub(super) container: Option<&'static str>,
}

/// In the base a namespace; in the chart the release's.
pub(super) const NAMESPACE: &str = "orlop-system";

pub(super) const VALUES: &[Value] = &[
    Value {
        path: "images.orlop",
        about: "The images, with tags or digests. The daemon's is built with deploy/container.",
        says: Says::Word("ghcr.io/orlop/orlop:0.1.0"),
    },
    Value {
        path: "images.registrar",
        about: "",
        says: Says::Word("registry.k8s.io/sig-storage/csi-node-driver-registrar:v2.17.0"),
    },
    Value {
        path: "images.livenessProbe",
        about: "",
        says: Says::Word("registry.k8s.io/sig-storage/livenessprobe:v2.19.0"),
    },
    Value {
        path: "images.provisioner",
        about: "",
        says: Says::Word("registry.k8s.io/sig-storage/csi-provisioner:v6.3.0"),
    },
    Value {
        path: "images.snapshotter",
        about: "",
        says: Says::Word("registry.k8s.io/sig-storage/csi-snapshotter:v8.6.0"),
    },
    Value {
        path: "images.healthMonitor",
        about: "",
        says: Says::Word("registry.k8s.io/sig-storage/csi-external-health-monitor-controller:v0.18.0"),
    },
    Value {
        path: "images.resizer",
        about: "",
        says: Says::Word("registry.k8s.io/sig-storage/csi-resizer:v2.2.1"),
    },
    Value {
        path: "kubeletRoot",
        about: "The kubelet's --root-dir, the same on all nodes.",
        says: Says::Word("/var/lib/kubelet"),
    },
    // Before the one that it begins with.
    Value {
        path: "poolsDir",
        about: "Where other pools can be made, in directories and image files, and disks be mounted.",
        says: Says::Word("/var/lib/orlop-pools"),
    },
    Value {
        path: "stateDir",
        about: "Where volumes are kept on each node. Another filesystem than the node's own is better.",
        says: Says::Word("/var/lib/orlop"),
    },
    Value {
        path: "runDir",
        about: "Sockets and mounts; in memory, so that it is empty after a reboot.",
        says: Says::Word("/run/orlop"),
    },
    Value {
        path: "config",
        about: "The daemon's configuration file: docs/configuration.md.",
        says: Says::Lines { below: "  orlop.yaml: |", lines: "logFormat: json" },
    },
    Value {
        path: "nodeSelector",
        about: "The nodes that get the driver.",
        says: Says::Lines { below: "      nodeSelector:", lines: "kubernetes.io/os: linux" },
    },
    Value {
        path: "tolerations",
        about: "The taints that the daemon's pods tolerate.",
        says: Says::Lines { below: "      tolerations:", lines: "- operator: Exists" },
    },
    Value {
        path: "resources",
        about: "What the daemon's container asks for.",
        says: Says::Lines {
            below: "          resources:",
            lines: "# No limit of memory: a repair of a large filesystem takes what it takes.\n\
                    requests:\n  cpu: 50m\n  memory: 64Mi",
        },
    },
];

pub(super) const PARTS: &[Part] = &[
    Part {
        key: "storageClasses",
        about: "The classes orlop-retain and orlop-delete.",
        files: &["storageclasses.yaml"],
        container: None,
    },
    Part {
        key: "snapshots",
        about: "Needs the cluster's snapshot resources and controller: docs/kubernetes/snapshots.md.",
        files: &["rbac-snapshotter.yaml", "volumesnapshotclass.yaml"],
        container: Some("csi-snapshotter"),
    },
    Part {
        key: "healthMonitor",
        about: "Events of claims about the condition of volumes. It watches claims and events on each node.",
        files: &["rbac-health-monitor.yaml"],
        container: Some("csi-health-monitor"),
    },
    Part { key: "resizer", about: "Claims that grow.", files: &["resizer.yaml"], container: None },
];
