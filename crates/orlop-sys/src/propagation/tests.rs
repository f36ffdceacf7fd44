//! The probe in mount namespaces of every kind, each in a child process.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::testing::{Scratch, child_test, may_mount};

const MOUNT_DIR: &str = "ORLOP_TEST_MOUNT_DIR";

/// Whether these tests run in the namespace of process 1; where they don't (in a container with
/// the host's process ids), what that process sees can't be arranged from here. CI can have it.
fn in_hosts_namespace() -> bool {
    let own = mountinfo::own().unwrap();
    let same = mountinfo::of_pid(INIT).is_ok_and(|init| mountinfo::same_namespace(&own, &init));
    if !same {
        assert!(std::env::var_os("CI").is_none(), "CI must run these tests in the host's mount namespace");
        eprintln!("skipped: process 1 is in another mount namespace");
    }
    same
}

/// The verdict of a child in a new mount namespace: `test`, run again behind `wrapper`.
fn verdict_in(wrapper: &[&str], test: &str, mount_dir: &Path) -> String {
    let done = child_test(wrapper, &format!("propagation::tests::{test}"))
        .env(MOUNT_DIR, mount_dir)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// In the child, tries it out and says the verdict; whether this is the child.
fn probes_as_child() -> bool {
    let Some(mount_dir) = std::env::var_os(MOUNT_DIR).map(PathBuf::from) else { return false };
    println!("verdict: {:?}", probe(&mount_dir).unwrap());
    assert_eq!(std::fs::read_dir(&mount_dir).unwrap().count(), 0);
    true
}

#[test]
fn what_a_process_that_was_killed_left_of_its_probe_goes_with_the_next() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let mount_dir = scratch.directory("mounts");
    let mut ended = std::process::Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let left = mount_dir.join(format!(".probe.{}.ThreadId(1)", ended.id()));
    let living = mount_dir.join(format!(".probe.{}.ThreadId(0)", std::process::id()));
    for place in [&left, &living] {
        std::fs::create_dir(place).unwrap();
        mount_tiny(place).unwrap();
    }
    probe(&mount_dir).unwrap();
    assert!(!left.exists());
    assert!(mount::mounted_at(&living).unwrap().is_some(), "another one's that lives is let alone");
}

#[test]
fn in_the_hosts_own_namespace_mounts_are_seen() {
    if !may_mount() || !in_hosts_namespace() {
        return;
    }
    let scratch = Scratch::new();
    let mount_dir = scratch.directory("mounts");
    for _ in 0..2 {
        assert!(probe(&mount_dir).unwrap().is_seen());
        assert!(scratch.mounts().is_empty());
        assert_eq!(std::fs::read_dir(&mount_dir).unwrap().count(), 0);
    }
    assert!(probe(&scratch.path("missing")).unwrap_err().is_not_found());
}

#[test]
fn in_a_namespace_that_sends_nothing_they_are_not_seen_and_the_reason_is_told() {
    if probes_as_child() || !may_mount() || !in_hosts_namespace() {
        return;
    }
    let scratch = Scratch::new();
    let mount_dir = scratch.directory("mounts");
    mount::make_shared_mount(&mount_dir).unwrap();
    for (kind, reason) in [("slave", "only receive from the host's"), ("private", "are private")] {
        let verdict = verdict_in(
            &["unshare", "-m", "--propagation", kind],
            "in_a_namespace_that_sends_nothing_they_are_not_seen_and_the_reason_is_told",
            &mount_dir,
        );
        assert!(verdict.contains("verdict: NotSeen"), "{kind}: {verdict}");
        assert!(verdict.contains(reason), "{kind}: {verdict}");
        assert!(scratch.mounts().len() <= 1, "nothing stays mounted");
    }
}

#[test]
fn mounts_shared_within_a_private_namespace_are_not_seen() {
    if probes_as_child() || !may_mount() || !in_hosts_namespace() {
        return;
    }
    let scratch = Scratch::new();
    let mount_dir = scratch.directory("mounts");
    mount::make_shared_mount(&mount_dir).unwrap();
    // What systemd's sandboxing makes: received from the host, and shared only below.
    let script = "mount --make-rslave / && mount --make-rshared / && exec \"$@\"";
    let wrapper = ["unshare", "-m", "--propagation", "unchanged", "sh", "-c", script, "sh"];
    let verdict = verdict_in(&wrapper, "mounts_shared_within_a_private_namespace_are_not_seen", &mount_dir);
    assert!(verdict.contains("verdict: NotSeen"), "{verdict}");
    assert!(verdict.contains("only receives from the host"), "{verdict}");
}

#[test]
fn a_shared_mount_dir_is_seen_from_another_namespace() {
    if probes_as_child() || !may_mount() || !in_hosts_namespace() {
        return;
    }
    let scratch = Scratch::new();
    let mount_dir = scratch.directory("mounts");
    mount::make_shared_mount(&mount_dir).unwrap();
    let wrapper = ["unshare", "-m", "--propagation", "unchanged"];
    let verdict = verdict_in(&wrapper, "a_shared_mount_dir_is_seen_from_another_namespace", &mount_dir);
    assert!(verdict.contains("verdict: Seen"), "{verdict}");
    assert!(verdict.contains("trial mount appeared"), "{verdict}");
    assert!(scratch.mounts().len() <= 1, "nothing stays mounted");
}

#[test]
fn without_a_look_at_process_1_nothing_is_claimed() {
    if probes_as_child() || !may_mount() || !in_hosts_namespace() {
        return;
    }
    let scratch = Scratch::new();
    let mount_dir = scratch.directory("mounts");
    // A /proc that hides the processes of others, as hardened hosts have it.
    let script = "mount -t proc -o hidepid=invisible proc /proc && \
                  exec setpriv --bounding-set -sys_ptrace --reuid 0 --regid 65534 --clear-groups \"$@\"";
    let wrapper = ["unshare", "-m", "sh", "-c", script, "sh"];
    let verdict = verdict_in(&wrapper, "without_a_look_at_process_1_nothing_is_claimed", &mount_dir);
    assert!(verdict.contains("verdict: Unknown"), "{verdict}");
    assert!(verdict.contains("can't be looked at"), "{verdict}");
}

#[test]
fn the_first_process_of_a_container_is_not_taken_for_the_hosts() {
    if probes_as_child() || !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let mount_dir = scratch.directory("mounts");
    let wrapper = ["unshare", "--mount", "--pid", "--fork", "--mount-proc"];
    let verdict =
        verdict_in(&wrapper, "the_first_process_of_a_container_is_not_taken_for_the_hosts", &mount_dir);
    assert!(verdict.contains("verdict: Unknown"), "{verdict}");
    assert!(verdict.contains("the host's process ids"), "{verdict}");
}
