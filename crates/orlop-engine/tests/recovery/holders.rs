//! Those whom the kernel knows and the records do not, and the other way round.

use std::time::Duration;

use orlop_engine::*;
use orlop_model::{ErrorKind, resource::Deletion};
use orlop_testkit::{Part, command::eventually, mounts, require};

use crate::harness::*;

#[test]
fn an_id_of_a_crashed_engine_goes_stale_only_without_a_holder() {
    require!(Part::Loop);
    let world = World::new("stale");
    world.make("data", "ReadWriteOnce", "temp");
    let path = world.attach("data", "old").unwrap().path;
    fails(world.attach("data", "new"), ErrorKind::AccessRefused);
    let container = Container::start(&path, &world.mkdir("c"), &world.config.mount_dir, false);
    world.let_ids_go_stale();
    fails(world.attach("data", "new"), ErrorKind::AccessRefused);
    container.end();
    world.attach("data", "new").unwrap();
    let scopes: Vec<_> = world.volume("data").status.attachments.into_iter().map(|a| a.scope).collect();
    assert_eq!(scopes, ["new"]);
    assert!(world.told("AttachmentDropped"));
    world.detach("data", "new").unwrap();
    world.assert_nothing_mounted();
}

#[test]
fn a_clock_that_is_set_makes_no_id_stale_and_none_fresh() {
    require!(Part::Loop, Part::Sqlite3);
    let world = World::with("clock", |config| config.stale_after = Duration::from_secs(2));
    // As the rows look after the clock was set back, and after it was set ahead.
    for (name, since) in [("back", "2101-01-01"), ("ahead", "2001-01-01")] {
        world.make(name, "ReadWriteOnce", "temp");
        world.attach(name, "old").unwrap();
        let set = format!(
            "UPDATE attachments SET since = '{since}T00:00:00.000000000Z'
             WHERE volume_id = (SELECT id FROM volumes WHERE name = '{name}')"
        );
        let store = world.config.state_dir.join("orlop.db");
        orlop_testkit::run(std::process::Command::new("sqlite3").arg(store).arg(set)).ok();
        fails(world.attach(name, "new"), ErrorKind::AccessRefused);
    }
    std::thread::sleep(world.config.stale_after);
    for name in ["back", "ahead"] {
        world.attach(name, "new").unwrap();
        world.detach(name, "new").unwrap();
    }
}

#[test]
fn stale_ids_do_not_keep_a_volume_from_being_deleted() {
    require!(Part::Loop);
    let world = World::new("stale-delete");
    world.make("data", "ReadWriteMany", "temp");
    world.attach("data", "one").unwrap();
    world.attach("data", "two").unwrap();
    fails(world.delete("data"), ErrorKind::InUse);
    world.let_ids_go_stale();
    assert_eq!(world.delete("data").unwrap(), Deletion::Destroyed);
    world.assert_nothing_mounted();
}

#[test]
fn a_holder_without_a_record_is_named_and_shares_its_loop_device() {
    require!(Part::Loop);
    let world = World::new("linger");
    let made = world.make("data", "ReadWriteOnce", "temp");
    let path = world.attach("data", "one").unwrap().path;
    let container = Container::start(&path, &world.mkdir("c"), &world.config.mount_dir, true);
    world.detach("data", "one").unwrap();
    assert!(world.told("Lingering"));
    assert_eq!(mounts::loops_below(world.scratch()).len(), 1, "the kernel keeps it");

    let error = fails(world.attach("data", "two"), ErrorKind::AccessRefused);
    assert!(container.is_named_in(&error.message), "{error}");
    let error = fails(world.delete("data"), ErrorKind::InUse);
    assert!(error.message.contains("process"), "{error}");
    assert!(world.image(&made).exists());

    // Shared by a mode that allows it: never by a second loop device, which would corrupt it.
    world.apply("data", "size: 16Mi, accessMode: ReadWriteMany, type: temp").unwrap();
    let path = world.attach("data", "two").unwrap().path;
    let loops = mounts::loops_below(world.scratch());
    assert_eq!(loops.len(), 1, "{loops:?}");
    std::fs::write(path.join("file"), "x").unwrap();
    assert!(path.join("ticks").exists());
    world.detach("data", "two").unwrap();
    container.end();
    assert!(eventually(Duration::from_secs(5), || mounts::loops_below(world.scratch()).is_empty()));
    let path = world.attach("data", "three").unwrap().path;
    assert!(path.join("file").exists());
    world.detach("data", "three").unwrap();
    assert_eq!(world.delete("data").unwrap(), Deletion::Destroyed);
}

/// A process in a namespace that copied all mounts and unmounts nothing, as a sandboxed service has
/// it; it works in `directory`.
pub fn sandbox(directory: &std::path::Path) -> std::process::Child {
    let mut child = std::process::Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", "echo ready; read line"])
        .current_dir(directory)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
    child
}

#[test]
fn copies_of_our_own_mounts_are_no_consumers_and_go_with_the_last_one() {
    require!(Part::Loop);
    let world = World::new("copy");
    let made = world.make("data", "ReadWriteOnce", "temp");
    world.attach("data", "one").unwrap();
    let mut copy = sandbox(std::path::Path::new("/"));
    world.let_ids_go_stale();
    world.attach("data", "two").unwrap();
    world.detach("data", "two").unwrap();
    world.assert_nothing_mounted();
    assert_eq!(world.delete("data").unwrap(), Deletion::Destroyed);
    assert!(world.by_id(&made).is_err());
    drop(copy.stdin.take());
    copy.wait().unwrap();
}

#[test]
fn a_file_that_is_open_in_a_copy_delays_deletion() {
    require!(Part::Loop);
    let world = World::new("copy-open");
    let made = world.make("data", "ReadWriteMany", "temp");
    let path = world.attach("data", "one").unwrap().path;
    // Its working directory is the copy's from the moment it has a namespace of its own.
    let mut copy = sandbox(&path);
    world.detach("data", "one").unwrap();
    let error = fails(world.delete("data"), ErrorKind::InUse);
    assert!(error.message.contains("namespace") || error.message.contains("process"), "{error}");
    assert_eq!(world.engine().delete(&ROOT, &key("data"), true).unwrap(), Deletion::Deleting);
    assert!(world.image(&made).exists());
    drop(copy.stdin.take());
    copy.wait().unwrap();
    assert!(eventually(Duration::from_secs(20), || world.by_id(&made).is_err()));
    world.assert_nothing_mounted();
}

#[test]
fn somebody_in_the_base_mount_is_named_and_left_alone() {
    require!(Part::Loop);
    let world = World::new("busy-base");
    let made = world.make("data", "ReadWriteMany", "temp");
    let path = world.attach("data", "one").unwrap().path;
    let file = std::fs::File::create(path.join("open")).unwrap();
    world.detach("data", "one").unwrap();
    assert!(world.told("Lingering"));
    assert!(world.volume("data").status.attachments.is_empty());
    let error = fails(world.delete("data"), ErrorKind::InUse);
    assert!(error.message.contains(&format!("process {}", std::process::id())), "{error}");
    world.attach("data", "two").unwrap();
    world.detach("data", "two").unwrap();
    drop(file);
    // The background tries again.
    assert!(
        eventually(Duration::from_secs(20), || world.leftovers().1.is_empty()),
        "{:?}",
        world.leftovers()
    );
    assert_eq!(world.delete("data").unwrap(), Deletion::Destroyed);
    assert!(world.by_id(&made).is_err());
}

#[test]
fn one_that_can_not_be_looked_at_keeps_no_other_mounted() {
    require!(Part::Loop);
    let world = World::new("busy-two");
    let (broken, other) =
        (world.make("broken", "ReadWriteMany", "temp"), world.make("other", "ReadWriteMany", "temp"));
    let open: Vec<_> = ["broken", "other"]
        .map(|name| {
            let path = world.attach(name, "one").unwrap().path;
            let file = std::fs::File::create(path.join("open")).unwrap();
            world.detach(name, "one").unwrap();
            file
        })
        .into();
    assert!(broken.status.id < other.status.id, "or this shows nothing");
    // Neither there nor missing: what is in the way of its image is a file.
    let (directory, away) = (world.directory(&broken), world.join("away"));
    std::fs::rename(&directory, &away).unwrap();
    std::fs::write(&directory, "").unwrap();
    drop(open);
    let base = world.config.mount_dir.join(other.status.id.to_string());
    assert!(eventually(Duration::from_secs(20), || !base.exists()), "{:?}", world.leftovers());
    std::fs::remove_file(&directory).unwrap();
    std::fs::rename(&away, &directory).unwrap();
    assert!(
        eventually(Duration::from_secs(20), || world.leftovers().1.is_empty()),
        "{:?}",
        world.leftovers()
    );
}

#[test]
fn a_deletion_that_waits_goes_on_after_a_restart() {
    require!(Part::Loop);
    let mut world = World::new("delete-restart");
    let made = world.make("data", "ReadWriteMany", "persistent");
    let path = world.attach("data", "one").unwrap().path;
    let container = Container::start(&path, &world.mkdir("c"), &world.config.mount_dir, true);
    world.engine().delete(&ROOT, &key("data"), true).unwrap();
    world.restart();
    assert_eq!(world.by_id(&made).unwrap().status.state, orlop_model::resource::VolumeState::Deleting);
    fails(world.attach("data", "two"), ErrorKind::Conflict);
    container.end();
    world.engine().detach(&DOCKER, &VolumeRef::Id(made.status.id), "one", PATIENCE).unwrap();
    let released =
        || world.by_id(&made).unwrap().status.state == orlop_model::resource::VolumeState::Released;
    assert!(eventually(Duration::from_secs(20), released));
    assert!(world.image(&made).exists());
    world.assert_nothing_mounted();
}

/// As haproxy and unbound do: the only process of its namespace gives up its root directory, and from
/// then on sees no mount outside of the new one.
fn jailed(source: &std::path::Path, place: &std::path::Path, world: &World) -> std::process::Child {
    use std::io::BufRead;
    let script = "mount --make-rprivate / && mount --bind \"$0\" \"$1\" && \
         for m in $(awk -v h=\"$2/\" 'index($5,h)==1 {print $5}' /proc/self/mountinfo | sort -r); do umount $m; done; \
         exec perl -e 'chroot $ARGV[0] or die; chdir \"/\"; $|=1; print \"ready\\n\"; <STDIN>' \"$3\"";
    let mut child = std::process::Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .args([source, place, &world.config.mount_dir, &world.mkdir("jail")])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

#[test]
fn a_container_that_gave_up_its_root_directory_is_still_a_holder() {
    require!(Part::Loop);
    let world = World::new("jailed");
    world.make("data", "ReadWriteOnce", "temp");
    let path = world.attach("data", "one").unwrap().path;
    let mut child = jailed(&path, &world.mkdir("place"), &world);
    std::thread::sleep(Duration::from_millis(400));
    let error = fails(world.attach("data", "two"), ErrorKind::AccessRefused);
    assert!(error.message.contains("docker mount one"), "{error}");
    world.detach("data", "one").unwrap();
    let error = fails(world.attach("data", "two"), ErrorKind::AccessRefused);
    assert!(error.message.contains("(perl)"), "{error}");
    drop(child.stdin.take());
    child.wait().unwrap();
    world.attach("data", "two").unwrap();
    world.detach("data", "two").unwrap();
    world.destroy("data");
}

#[test]
fn a_namespace_without_a_process_is_a_holder() {
    require!(Part::Loop);
    let world = World::new("pinned");
    world.make("data", "ReadWriteOnce", "temp");
    let path = world.attach("data", "one").unwrap().path;
    // A namespace can only be bound where mounts are not shared.
    let pins = world.mkdir("pins");
    let run = |program: &str, arguments: &[&std::ffi::OsStr]| {
        orlop_testkit::run(std::process::Command::new(program).args(arguments)).ok()
    };
    run("mount", &["--bind".as_ref(), pins.as_ref(), pins.as_ref()]);
    run("mount", &["--make-private".as_ref(), pins.as_ref()]);
    let pin = pins.join("ns");
    std::fs::write(&pin, "").unwrap();
    let mut namespace = std::ffi::OsString::from("--mount=");
    namespace.push(&pin);
    let script = "mount --make-rprivate / && mount --bind \"$0\" \"$1\" && \
         for m in $(awk -v h=\"$2/\" 'index($5,h)==1 {print $5}' /proc/self/mountinfo | sort -r); do umount $m; done";
    let place = world.mkdir("c");
    let directory = world.config.mount_dir.clone();
    run(
        "unshare",
        &[
            &namespace,
            "sh".as_ref(),
            "-c".as_ref(),
            script.as_ref(),
            path.as_ref(),
            place.as_ref(),
            directory.as_ref(),
        ],
    );

    world.detach("data", "one").unwrap();
    let error = fails(world.attach("data", "two"), ErrorKind::AccessRefused);
    let words =
        ["public/data is ReadWriteOnce", "a mount namespace without a process", pin.to_str().unwrap()];
    assert!(words.iter().all(|word| error.message.contains(word)) && error.hint.is_some(), "{error}");
    assert!(world.volume("data").status.attachments.is_empty());
    run("umount", &[pin.as_ref()]);
    world.attach("data", "two").unwrap();
    world.detach("data", "two").unwrap();
    world.destroy("data");
    run("umount", &[pins.as_ref()]);
}

#[test]
fn a_file_that_is_open_in_a_mount_that_is_gone_is_a_holder() {
    require!(Part::Loop);
    let world = World::new("gone-open");
    world.make("data", "ReadWriteOnce", "temp");
    let path = world.attach("data", "one").unwrap().path;
    let mut copy = sandbox(&path);
    world.detach("data", "one").unwrap();
    let error = fails(world.attach("data", "two"), ErrorKind::AccessRefused);
    assert!(error.message.contains(&format!("process {} (sh)", copy.id())), "{error}");
    drop(copy.stdin.take());
    copy.wait().unwrap();
    // What has just ended stands in nobody's way.
    world.attach("data", "two").unwrap();
    world.detach("data", "two").unwrap();
    world.destroy("data");
}
