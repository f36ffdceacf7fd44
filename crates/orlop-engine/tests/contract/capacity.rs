//! How much fits, and that it comes back.

use std::{
    fs::File,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use orlop_model::resource::Capacity;
use orlop_testkit::{Part, ScratchFs, command::eventually, require};

use crate::harness::*;

const NOBODY: u32 = 65534;

/// Writes zeros as a user who is not root until there is no more room, and says how much fitted.
fn fill(path: &Path) -> u64 {
    let file = File::create(path).unwrap();
    let status = Command::new("dd")
        .args(["if=/dev/zero", "bs=256k"])
        .stdout(file)
        .stderr(Stdio::null())
        .uid(NOBODY)
        .gid(NOBODY)
        .status()
        .unwrap();
    assert!(!status.success(), "it should have met the end of the volume");
    std::fs::metadata(path).unwrap().len()
}

/// The least share in percent that the documentation promises.
fn holds(size: &str, filesystem: &str, least: u64) {
    let world = World::new("capacity");
    let spec = format!("size: {size}, accessMode: ReadWriteMany, type: temp, filesystem: {filesystem}");
    let volume = world.apply("data", &spec).unwrap().resource;
    let bytes = volume.manifest.volume.size.bytes();
    let path = world.attach("data", "one").unwrap().path;
    let held = fill(&path.join("file"));
    println!("{size} {filesystem}: {held} of {bytes} bytes, {:.1} %", held as f64 * 100.0 / bytes as f64);
    assert!(held * 100 >= bytes * least, "{size} {filesystem} holds {held} of {bytes}");
    assert!(held <= bytes);
    let image = std::fs::metadata(world.image(&volume)).unwrap();
    assert!(image.len() == bytes && image.blocks() * 512 <= bytes + MIB, "{image:?}");
    world.detach("data", "one").unwrap();
}

#[test]
fn ext4_of_a_gibibyte_holds_93_percent() {
    require!(Part::Loop);
    holds("1Gi", "ext4", 93);
}

#[test]
fn xfs_of_a_gibibyte_holds_89_percent() {
    require!(Part::Loop, Part::Xfs);
    holds("1Gi", "xfs", 89);
}

#[test]
fn the_smallest_volume_holds_75_percent() {
    require!(Part::Loop);
    holds("16Mi", "ext4", 75);
}

#[test]
fn odd_sizes_are_exact() {
    require!(Part::Loop);
    let world = World::new("odd");
    for (name, size) in [("a", "16777217"), ("b", "20M"), ("c", "70000001")] {
        let spec = format!("size: {size}, accessMode: ReadWriteMany, type: temp");
        let volume = world.apply(name, &spec).unwrap().resource;
        assert_eq!(
            std::fs::metadata(world.image(&volume)).unwrap().len(),
            volume.manifest.volume.size.bytes()
        );
        let path = world.attach(name, "one").unwrap().path;
        fill(&path.join("file"));
        world.detach(name, "one").unwrap();
    }
}

#[test]
fn freed_blocks_are_given_back() {
    require!(Part::Loop, Part::Xfs);
    for (size, filesystem) in [("64Mi", "ext4"), ("512Mi", "xfs")] {
        let world = World::new("discard");
        let spec = format!("size: {size}, accessMode: ReadWriteMany, type: temp, filesystem: {filesystem}");
        let volume = world.apply("data", &spec).unwrap().resource;
        let path = world.attach("data", "one").unwrap().path;
        let file = File::create(path.join("file")).unwrap();
        std::io::Write::write_all(&mut &file, &vec![7; 32 << 20]).unwrap();
        file.sync_all().unwrap();
        drop(file);
        let allocated = || world.volume("data").status.allocated_bytes.unwrap();
        let full = allocated();
        assert!(full >= 32 * MIB, "{full}");
        std::fs::remove_file(path.join("file")).unwrap();
        let root = File::open(&path).unwrap();
        let back = eventually(Duration::from_secs(60), || {
            let _ = Command::new("sync").arg("-f").arg(&path).status();
            allocated() + 30 * MIB < full
        });
        assert!(back, "{filesystem}: {} after {full}", allocated());
        drop((root, volume));
        world.detach("data", "one").unwrap();
    }
}

#[test]
fn preallocated_space_is_taken_and_stays_taken() {
    require!(Part::Loop);
    let world = World::new("preallocate");
    let spec = "size: 32Mi, accessMode: ReadWriteMany, type: temp, preallocate: true";
    let volume = world.apply("data", spec).unwrap().resource;
    let allocated = || std::fs::metadata(world.image(&volume)).unwrap().blocks() * 512;
    assert!(allocated() >= 32 * MIB, "{}", allocated());
    let path = world.attach("data", "one").unwrap().path;
    std::fs::write(path.join("file"), vec![1; 8 << 20]).unwrap();
    std::fs::remove_file(path.join("file")).unwrap();
    Command::new("sync").arg("-f").arg(&path).status().unwrap();
    world.detach("data", "one").unwrap();
    assert!(allocated() >= 32 * MIB, "{}", allocated());
}

/// What snapshots and clones have too is written to a new place, which the disk may not have.
#[test]
fn preallocated_space_is_not_its_own_while_others_share_it() {
    require!(Part::Loop);
    let host = ScratchFs::xfs(1 << 30);
    let world = World::over(host.path(), |_| ());
    let spec = "size: 64Mi, accessMode: ReadWriteMany, type: temp, preallocate: true";
    for name in ["data", "alone"] {
        world.apply(name, spec).unwrap();
    }
    world.inside("data", |path| std::fs::write(path.join("file"), vec![7; 40 << 20]).unwrap());
    let of = |name: &str| world.volume(name).status;
    let shares = |name: &str| of(name).notes.iter().any(|note| note.contains("not all of it is its own"));
    let advisory = |name: &str| matches!(of(name).capacity, Capacity::Advisory { .. });
    assert!(!shares("data") && !advisory("data"));
    world.snapshot("s", "data").unwrap();
    assert!(shares("data") && !shares("alone"));
    assert!(!advisory("data"), "there is room for all that changes");
    let pool = || world.engine().pool(&ROOT, &orlop_model::PoolName::default_pool()).unwrap();
    assert!(pool().reserved.bytes() >= (2 * 64 + 40) * MIB, "{:?}", pool());

    let filler = host.join("filler");
    let fill = || {
        let mut file = std::fs::File::create(&filler).unwrap();
        while orlop_sys::space::usage(host.path()).unwrap().available > 20 * MIB {
            std::io::Write::write_all(&mut file, &[1; 1 << 20]).unwrap();
        }
        file.sync_all().unwrap();
    };
    fill();
    assert!(eventually(PATIENCE, || advisory("data")), "{:?}", of("data"));
    assert!(!advisory("alone"), "{:?}", of("alone"));
    std::fs::remove_file(&filler).unwrap();
    world.delete_snapshot("s").unwrap();
    assert!(!shares("data"));

    world.apply("clone", &spec.replace("preallocate: true", "source: volume data")).unwrap();
    assert!(shares("data") && !shares("clone"), "a clone promises no such thing");
    world.apply("second", &spec.replace("preallocate: true", "source: volume clone")).unwrap();
    let described = std::fs::read_to_string(world.directory(&world.volume("second")).join("volume.json"));
    assert!(described.unwrap().contains("\"preallocated\": false"));
    world.destroy("clone");
    assert!(shares("data"), "what was made of the clone shares with it too");
    world.destroy("second");
    assert!(!shares("data"));

    // What it is put back to is a copy, and so is what it had until then.
    world.snapshot("s", "data").unwrap();
    world.inside("data", |path| std::fs::write(path.join("file"), "more").unwrap());
    let before = world.restore("s").unwrap().before;
    assert!(eventually(PATIENCE, || !shares("data")), "{:?} {:?}", of("data"), world.snapshots());
    world.delete_snapshot(before.as_str()).unwrap();
    fill();
    assert!(!advisory("data"), "{:?}", of("data"));
}
