//! The systemd units, as `orlop install` writes them.

/// A unit file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Its name, such as `orlop.service`.
    pub name: &'static str,
    /// Its text. The service runs [`Self::PROGRAM`].
    pub text: &'static str,
}

impl Unit {
    /// The path of the program in the service; whoever installs it elsewhere puts its own path there.
    pub const PROGRAM: &str = "/usr/bin/orlop";
}

/// All units. The service and the sockets belong together: enabling the service enables all.
pub fn units() -> [Unit; 4] {
    macro_rules! unit {
        ($name:literal) => {
            Unit { name: $name, text: include_str!(concat!("../../../deploy/systemd/", $name)) }
        };
    }
    [
        unit!("orlop.service"),
        unit!("orlop.socket"),
        unit!("orlop-docker.socket"),
        unit!("orlop-podman.socket"),
    ]
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Directives that give a service a mount namespace of its own, by themselves or by what they
    /// imply (systemd.exec(5)). A mount made there is not seen by containers, and readiness fails.
    const OWN_NAMESPACE: [&str; 43] = [
        "BindPaths",
        "BindReadOnlyPaths",
        "DynamicUser",
        "ExecPaths",
        "ExtensionDirectories",
        "ExtensionImages",
        "IPCNamespacePath",
        "InaccessiblePaths",
        "JoinsNamespaceOf",
        "LoadCredential",
        "LoadCredentialEncrypted",
        "LogNamespace",
        "MountAPIVFS",
        "MountFlags",
        "MountImages",
        "NetworkNamespacePath",
        "NoExecPaths",
        "PrivateBPF",
        "PrivateDevices",
        "PrivateIPC",
        "PrivateMounts",
        "PrivateNetwork",
        "PrivatePIDs",
        "PrivateTmp",
        "PrivateUsers",
        "ProcSubset",
        "ProtectControlGroups",
        "ProtectHome",
        "ProtectHostname",
        "ProtectKernelLogs",
        "ProtectKernelModules",
        "ProtectKernelTunables",
        "ProtectProc",
        "ProtectSystem",
        "ReadOnlyPaths",
        "ReadWritePaths",
        "RootDirectory",
        "RootEphemeral",
        "RootImage",
        "SetCredential",
        "SetCredentialEncrypted",
        "TemporaryFileSystem",
        "UserNamespacePath",
    ];

    /// Directives that forbid what the daemon must do: loop devices, setgid directories, `setns`.
    const HARMFUL: [&str; 6] = [
        "DeviceAllow",
        "DevicePolicy",
        "ProtectClock",
        "RestrictFileSystems",
        "RestrictNamespaces",
        "RestrictSUIDSGID",
    ];

    fn directives(text: &str) -> impl Iterator<Item = (&str, &str)> {
        text.lines().filter(|line| !line.starts_with(['#', ';'])).filter_map(|line| line.split_once('='))
    }

    #[test]
    fn no_directive_makes_a_mount_namespace_or_stops_the_work() {
        for unit in units() {
            for (name, _) in directives(unit.text) {
                assert!(!OWN_NAMESPACE.contains(&name), "{}: {name} makes a mount namespace", unit.name);
                assert!(!HARMFUL.contains(&name), "{}: {name} stops the daemon's work", unit.name);
            }
        }
    }

    #[test]
    fn the_service_says_what_keeps_volumes_alive() {
        let [service, ..] = units();
        for expected in [
            ("Type", "notify"),
            ("Before", "docker.service podman.service podman-restart.service"),
            ("RuntimeDirectory", "orlop"),
            ("RuntimeDirectoryPreserve", "yes"),
            ("KillMode", "mixed"),
            ("Restart", "on-failure"),
            // Webhooks, and commands that the configuration names.
            ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
            ("Also", "orlop.socket orlop-docker.socket orlop-podman.socket"),
        ] {
            assert!(directives(service.text).any(|directive| directive == expected), "{expected:?}");
        }
        let start = directives(service.text).find(|(name, _)| *name == "ExecStart");
        assert_eq!(start, Some(("ExecStart", "/usr/bin/orlop serve")));
    }

    #[test]
    fn each_socket_has_the_name_the_daemon_looks_for() {
        for (unit, name, path, mode) in [
            ("orlop.socket", "rest", "/run/orlop/orlop.sock", "0660"),
            ("orlop-docker.socket", "docker", "/run/orlop/docker.sock", "0600"),
            ("orlop-podman.socket", "podman", "/run/orlop/podman.sock", "0600"),
        ] {
            let text = units().into_iter().find(|known| known.name == unit).unwrap().text;
            for expected in [
                ("FileDescriptorName", name),
                ("ListenStream", path),
                ("SocketMode", mode),
                ("Service", "orlop.service"),
            ] {
                assert!(directives(text).any(|directive| directive == expected), "{unit}: {expected:?}");
            }
        }
    }

    /// systemd's own opinion, where it is installed.
    #[test]
    fn systemd_understands_the_units() {
        if Command::new("systemd-analyze").arg("--version").output().is_err() {
            orlop_testkit::skip!("systemd-analyze is not installed");
        }
        let directory = tempfile::tempdir().unwrap();
        for unit in units() {
            // The program of the file need not be installed where it is checked.
            let text = unit.text.replace(Unit::PROGRAM, "/bin/true");
            std::fs::write(directory.path().join(unit.name), text).unwrap();
        }
        let files = units().map(|unit| directory.path().join(unit.name));
        let output =
            Command::new("systemd-analyze").args(["verify", "--man=no"]).args(files).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // Units of the host that are faulty themselves are none of ours.
        let ours: Vec<_> = said.lines().filter(|line| line.contains("orlop")).collect();
        assert!(ours.is_empty(), "{said}");
    }
}
