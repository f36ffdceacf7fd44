//! Opening: what is made, what is migrated, what is refused, and what is said about the run before.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use orlop_model::{Error, ErrorKind};
use orlop_testkit::{Part, ScratchFs, require, run};

use super::*;
use crate::request::{EventQuery, Form};

/// A store as version 1 wrote it, by `.dump` of the shell `sqlite3`.
const V1: &str = include_str!("../../../tests/stores/v1.sql");
/// The same of version 2.
const V2: &str = include_str!("../../../tests/stores/v2.sql");
/// The same of version 3.
const V3: &str = include_str!("../../../tests/stores/v3.sql");

fn open(file: &Path) -> Result<Store> {
    Store::open(file, options())
}

fn refusal(file: &Path) -> Error {
    match open(file) {
        Ok(_) => panic!("{} was opened", file.display()),
        Err(error) => error,
    }
}

/// All that is in a directory: names, sizes and contents.
fn contents(dir: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

fn restored(dump: &str, dir: &Path) -> PathBuf {
    let file = dir.join("orlop.db");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute_batch(dump).unwrap();
    file
}

#[test]
fn a_new_store_is_private_and_empty() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("orlop.db")).unwrap();
    assert_eq!(*store.previous_run(), PreviousRun::None);
    store.write(|tx| meta::set(tx, "a", "b")).unwrap();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
    assert_eq!(store.read(workspaces::all).unwrap(), []);
}

#[test]
fn a_large_change_needs_no_directory_for_temporary_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("orlop.db")).unwrap();
    let fill = |tx: &Tx<'_>, with: &str| {
        (0..2000).try_for_each(|n| meta::set(tx, &format!("key {n}"), &with.repeat(100)))
    };
    store.write(move |tx| fill(tx, "a")).unwrap();
    let opened = store.write(move |tx| {
        fill(tx, "b")?;
        let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
        Ok(links.filter_map(|link| fs::read_link(link.path()).ok()).collect::<Vec<_>>())
    });
    // How a file without a name is shown, and what SQLite calls one where it can't make such a file.
    let temporary =
        |path: &&PathBuf| ["/#", "/etilqs"].iter().any(|name| path.display().to_string().contains(name));
    assert_eq!(opened.unwrap().iter().find(temporary), None);
}

#[test]
fn the_way_the_last_run_ended_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("orlop.db");
    let rebooted = StoreOptions { boot_id: "boot-2".to_owned(), ..options() };
    open(&file).unwrap().close().unwrap();
    let store = open(&file).unwrap();
    assert_eq!(*store.previous_run(), PreviousRun::Closed);
    drop(store);
    let store = open(&file).unwrap();
    assert_eq!(*store.previous_run(), PreviousRun::Killed, "dropped, not closed");
    drop(store);
    let store = Store::open(&file, rebooted.clone()).unwrap();
    assert_eq!(*store.previous_run(), PreviousRun::Rebooted { closed: false });
    store.close().unwrap();
    let store = open(&file).unwrap();
    assert_eq!(*store.previous_run(), PreviousRun::Rebooted { closed: true });
}

#[test]
fn a_closed_store_refuses_politely() {
    let f = Fixture::new();
    f.store.close().unwrap();
    assert_eq!(f.store.write(|tx| meta::set(tx, "a", "b")).unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(f.store.read(workspaces::all).unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(f.store.close().unwrap_err().kind, ErrorKind::Unavailable);
}

#[test]
fn a_newer_store_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("orlop.db");
    open(&file).unwrap().close().unwrap();
    let newer = rusqlite::Connection::open(&file).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    newer.close().unwrap();
    let before = contents(dir.path());
    let error = refusal(&file);
    assert_eq!(error.kind, ErrorKind::NewerFormat);
    assert!(error.message.contains("version 99") && error.message.contains("orlop.db"), "{error}");
    assert!(contents(dir.path()) == before, "something was written");
}

/// Killed right after its migration, a newer build leaves its version in the log only.
#[test]
fn a_newer_version_in_the_log_is_refused_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("orlop.db");
    open(&file).unwrap().close().unwrap();
    let newer = rusqlite::Connection::open(&file).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    // Its connection is still open, so that the log has not been moved into the file.
    assert_eq!(refusal(&file).kind, ErrorKind::NewerFormat);
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("orlop.db");
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("CREATE TABLE theirs (a)").unwrap();
    other.close().unwrap();
    let with_id = || {
        let other = rusqlite::Connection::open(&file).unwrap();
        other.pragma_update(None, "application_id", 7).unwrap();
        other.close().unwrap();
    };
    let changes: [&dyn Fn(); 4] =
        [&|| (), &with_id, &|| fs::write(&file, "SQLite format 3\0 but short").unwrap(), &|| {
            fs::write(&file, vec![7; 8192]).unwrap()
        }];
    for change in changes {
        change();
        let before = fs::read(&file).unwrap();
        let error = refusal(&file);
        assert_eq!(error.kind, ErrorKind::Store);
        assert!(error.message.contains("is not a store of orlop"), "{error}");
        assert!(fs::read(&file).unwrap() == before, "the file was changed");
    }
}

#[test]
fn an_empty_file_of_an_interrupted_start_becomes_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("orlop.db");
    fs::write(&file, "").unwrap();
    assert_eq!(*open(&file).unwrap().previous_run(), PreviousRun::None);
}

#[test]
fn a_store_of_version_1_is_opened_with_all_that_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = restored(V1, dir.path());
    // After a reboot, so that the whole file is checked too.
    let store = Store::open(&file, StoreOptions { boot_id: "boot-2".to_owned(), ..options() }).unwrap();
    let id: VolumeId = "019f0000-0000-7000-8000-0000000000a1".parse().unwrap();
    store
        .read(|r| {
            let spaces = workspaces::all(r)?;
            let names: Vec<_> = spaces.iter().map(|row| (row.name.as_str(), row.size_limit)).collect();
            assert_eq!(names, [("public", None), ("team", None)], "no limit held before version 2");
            let usage = workspaces::content(r, None)?;
            let of = |held: Held| (held.count, held.bytes);
            let public = usage[&spaces[0].name];
            assert_eq!((of(public.live), of(public.released)), ((1, 512 << 20), (1, 16 << 20)));
            assert_eq!(usage.len(), 1);
            assert_eq!(spaces[1].grants, [1001, 1002]);
            let pool = &pools::all(r)?[0];
            assert_eq!(
                (pool.name.as_str(), pool.volumes, pool.reserved.bytes()),
                ("default", 2, (512 << 20) + (16 << 20))
            );
            let row = volumes::by_id(r, id)?.unwrap();
            assert_eq!(
                (row.title().as_str(), row.state, row.generation),
                ("public/data", VolumeState::Active, 3)
            );
            assert_eq!(row.created_at.to_string(), "2026-11-22T08:00:00.123456789Z");
            let image = row.placement.detail.image().unwrap().clone();
            assert_eq!(image.filesystem().map(|it| it.kind), Some(FilesystemKind::Xfs));
            assert_eq!(image.loop_block_size, 4096);
            assert_eq!((row.temp_grace, row.vacated_at), (Period::Never, None), "it is never wiped");
            assert_eq!(volumes::by_alias(r, Front::Docker, "Project_data")?, Some(row));
            let released = volumes::in_state(r, VolumeState::Released)?;
            assert_eq!(released[0].deleted_by, Some(1000));
            let held = attachments::of_volume(r, id)?;
            assert_eq!((held[0].consumer.as_str(), held[0].may_go_stale), ("docker mount 3f2a", true));
            let journal = operations::unfinished(r)?;
            assert_eq!(journal[0].intent, Intent::Detach { attachment: held[0].id, target: None });
            assert_eq!(events::newest(r)?, 7);
            let after =
                |after| events::select(r, &EventQuery { after: Some(after), ..EventQuery::default() });
            assert_eq!(after(5)?.iter().map(|event| event.sequence).collect::<Vec<_>>(), [6, 7]);
            assert_eq!(after(4).unwrap_err().kind, ErrorKind::Expired);
            Ok(())
        })
        .unwrap();
    assert_eq!(*store.previous_run(), PreviousRun::Rebooted { closed: false });
}

#[test]
fn a_store_of_version_2_is_opened_with_all_that_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = restored(V2, dir.path());
    let store = Store::open(&file, StoreOptions { boot_id: "boot-2".to_owned(), ..options() }).unwrap();
    let id: VolumeId = "019f0000-0000-7000-8000-0000000000a1".parse().unwrap();
    store
        .read(|r| {
            let held = attachments::of_volume(r, id)?;
            let [docker, host] = held.as_slice() else { panic!("{held:?}") };
            assert_eq!((docker.scope.as_str(), docker.target.as_deref()), ("3f2a", None));
            assert_eq!(attachments::by_target(r, "node-a", Path::new("/mnt/a b"))?.as_ref(), Some(host));
            assert_eq!((host.read_only, host.since_boot.as_millis()), (true, 1_234_567));
            for row in &held {
                assert_eq!((row.staged, &row.form), (false, &Form::default()));
            }
            let row = volumes::by_id(r, id)?.unwrap();
            assert_eq!(row.temp_grace, Period::After(600));
            let snapshots = snapshots::of_volume(r, id)?;
            assert_eq!(snapshots.len(), 1);
            assert_eq!(pools::all(r)?[0].reserved.bytes(), 2 * (512 << 20) + (16 << 20));
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_store_of_version_3_is_opened_with_all_that_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = restored(V3, dir.path());
    let store = Store::open(&file, StoreOptions { boot_id: "boot-2".to_owned(), ..options() }).unwrap();
    let id: VolumeId = "019f0000-0000-7000-8000-0000000000a1".parse().unwrap();
    store
        .read(|r| {
            let staged: Vec<_> =
                attachments::of_volume(r, id)?.into_iter().filter(|row| row.staged).collect();
            assert_eq!(staged.len(), 1);
            let snapshot = snapshot_aliases::find(r, Front::Csi, "snapshot-6f1c")?.unwrap();
            assert_eq!((snapshot.title().as_str(), snapshot.group), ("public/before", None));
            assert_eq!(operations::unfinished(r)?.len(), 1);
            Ok(())
        })
        .unwrap();
}

/// A migration that is released is never edited: stores out there would differ from new ones.
#[test]
fn released_versions_are_still_what_they_were() {
    let schema = |file: &Path| {
        let connection = rusqlite::Connection::open(file).unwrap();
        let sql =
            "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.collect::<rusqlite::Result<Vec<(String, String, String)>>>().unwrap()
    };
    let migrations = [
        include_str!("../migrations/0001.sql"),
        include_str!("../migrations/0002.sql"),
        include_str!("../migrations/0003.sql"),
    ];
    for (index, dump) in [V1, V2, V3].into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let old = restored(dump, dir.path());
        let new = dir.path().join("new.db");
        let connection = rusqlite::Connection::open(&new).unwrap();
        for migration in &migrations[..=index] {
            connection.execute_batch(migration).unwrap();
        }
        assert_eq!(schema(&old), schema(&new), "version {}", index + 1);
    }
}

#[test]
fn a_damaged_store_says_what_to_do() {
    let f = Fixture::new();
    for n in 0..600 {
        f.stored(&format!("volume-{n}"));
    }
    f.store.close().unwrap();
    let file = f.file();
    drop(f.store);
    let whole = fs::read(&file).unwrap();
    // From the middle on, as a disk that lost writes would leave it.
    let mut damaged = whole.clone();
    let half = damaged.len() / 2 / 4096 * 4096;
    damaged[half..].fill(0xAB);
    fs::write(&file, &damaged).unwrap();
    let rebooted = StoreOptions { boot_id: "boot-2".to_owned(), ..options() };
    // The run before was closed well, so that nothing is checked at start; a query finds it.
    let store = Store::open(&file, rebooted).unwrap();
    let error = store.read(|r| volumes::page(r, &Default::default())).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Store);
    assert!(error.hint.unwrap().contains("volume.json beside each image"), "{}", error.message);
    drop(store);
    // Not closed well, and the host was rebooted since: the start finds it.
    fs::write(&file, &damaged).unwrap();
    for rest in ["orlop.db-wal", "orlop.db-shm"] {
        let _ = fs::remove_file(f.dir.path().join(rest));
    }
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute_batch("UPDATE meta SET value = 'false' WHERE key = 'closed'").unwrap();
    connection.close().unwrap();
    let rebooted = StoreOptions { boot_id: "boot-3".to_owned(), ..options() };
    let error = Store::open(&file, rebooted).map(drop).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Store);
    assert!(error.hint.unwrap().contains("volume.json beside each image"), "{}", error.message);
}

#[test]
fn a_row_that_no_build_wrote_is_a_damaged_store() {
    let f = Fixture::new();
    f.stored("data");
    let connection = rusqlite::Connection::open(f.file()).unwrap();
    connection.execute_batch("UPDATE volumes SET state = 'afloat'").unwrap();
    let error = f.store.read(|r| volumes::page(r, &Default::default())).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Store);
    assert!(error.message.contains("afloat"), "{error}");
    assert!(error.hint.unwrap().contains("the store is damaged"));
}

#[test]
fn a_missing_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = refusal(&dir.path().join("none").join("orlop.db"));
    assert_eq!(error.kind, ErrorKind::Store);
    assert!(error.message.contains("none/orlop.db"), "{error}");
}

#[test]
fn a_read_only_state_directory_is_named() {
    require!(Part::Root);
    let fs = ScratchFs::tmpfs(4 << 20);
    let file = fs.join("orlop.db");
    let remount =
        |mode: &str| run(Command::new("mount").args(["-o", &format!("remount,{mode}")]).arg(fs.path())).ok();
    remount("ro");
    let none = refusal(&file);
    remount("rw");
    open(&file).unwrap().close().unwrap();
    remount("ro");
    let there = refusal(&file);
    remount("rw");
    for error in [none, there] {
        assert_eq!(error.kind, ErrorKind::Store);
        assert!(error.hint.clone().unwrap().contains("the state directory is read-only"), "{error}");
    }
    open(&file).unwrap();
}
