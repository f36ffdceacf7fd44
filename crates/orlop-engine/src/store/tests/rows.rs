//! Every table: what is written comes back, and what must not be written is refused.

use orlop_model::{ErrorKind, Result, VolumeUsage};

use super::*;
use crate::request::{Form, VolumeKey};

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind
}

#[test]
fn a_volume_comes_back_as_it_was_written() {
    let f = Fixture::new();
    let mut row = f.volume("data");
    row.reason = Some("ünïcode ' \" and\nlines".to_owned());
    row.used_bytes = Some(i64::MAX as u64);
    row.deleted_at = Some(row.created_at);
    row.deleted_by = Some(u32::MAX);
    f.insert(&row);
    let f = f.reopened();
    let key = VolumeKey { workspace: row.workspace.clone(), name: row.manifest.name.clone() };
    f.store
        .read(|r| {
            assert_eq!(volumes::by_id(r, row.id)?, Some(row.clone()));
            assert_eq!(volumes::by_key(r, &key)?, Some(row.clone()));
            assert_eq!(volumes::by_ids(r, &[row.id, VolumeId(Uuid::now_v7())])?, [row.clone()]);
            assert_eq!(volumes::in_state(r, VolumeState::Pending)?, [row.clone()]);
            assert_eq!(volumes::in_state(r, VolumeState::Active)?, []);
            assert_eq!(volumes::ids_in_pool(r, f.pool.id)?, [row.id]);
            assert_eq!(volumes::count_by_state(r)?, [(VolumeState::Pending, 1)]);
            assert_eq!(volumes::by_id(r, VolumeId(Uuid::now_v7()))?, None);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_change_counts_the_generation_and_an_outdated_one_is_refused() {
    let f = Fixture::new();
    let row = f.stored("data");
    let mut first = row.clone();
    first.state = VolumeState::Active;
    first.placement.initialised = true;
    first.placement.size = Size::from_bytes(32 * MIB);
    let first = f.store.write(move |tx| volumes::update(tx, &mut first).map(|()| first)).unwrap();
    assert_eq!(first.generation, 2);
    assert_eq!(f.store.read(|r| volumes::by_id(r, row.id)).unwrap(), Some(first));

    let mut second = row.clone();
    second.state = VolumeState::Error;
    let refusal = f.store.write(move |tx| volumes::update(tx, &mut second)).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Conflict);
    assert!(refusal.message.contains("generation 1 was read, and it is at 2"), "{refusal}");

    let mut gone = f.volume("gone");
    assert_eq!(kind(f.store.write(move |tx| volumes::update(tx, &mut gone))), ErrorKind::NotFound);
}

#[test]
fn what_is_observed_is_no_change_of_the_record() {
    let f = Fixture::new();
    let row = f.stored("data");
    let seen = usage_of(7, "2026-11-22T08:00:00Z");
    let recorded = seen.clone();
    f.store.write(move |tx| volumes::observe(tx, row.id, Some(&seen), Some(Size::from_bytes(9)))).unwrap();
    f.store.write(move |tx| volumes::observe(tx, row.id, None, None)).unwrap();
    let now = f.store.read(|r| volumes::by_id(r, row.id)).unwrap().unwrap();
    assert_eq!((now.placement.allocated, now.generation), (Size::from_bytes(9), 1));
    assert_eq!(f.pool_now().allocated, Size::from_bytes(9));
    let known = f.store.read(|r| usage::of_volumes(r, &[row.id, VolumeId(Uuid::now_v7())])).unwrap();
    assert_eq!(known, [(row.id, recorded)].into());
}

fn usage_of(used_bytes: u64, at: &str) -> VolumeUsage {
    VolumeUsage {
        seen_at: at.parse().unwrap(),
        capacity_bytes: 100,
        used_bytes,
        available_bytes: 100 - used_bytes,
        inodes: 10,
        inodes_used: 1,
        stopped: false,
        filesystem_errors: None,
        filesystem_warnings: Some(1),
    }
}

#[test]
fn the_last_day_is_kept_and_no_more() {
    let f = Fixture::new();
    let row = f.stored("data");
    for (used, at) in
        [(1, "21T09"), (2, "21T10"), (2, "21T11"), (3, "22T09"), (3, "22T10"), (4, "22T11"), (3, "22T12")]
    {
        let seen = usage_of(used, &format!("2026-11-{at}:00:00Z"));
        f.store.write(move |tx| usage::record(tx, row.id, &seen)).unwrap();
    }
    let begin = "2026-11-21T12:00:00Z".parse().unwrap();
    let day = || {
        let samples = f.store.read(|r| samples::since(r, row.id, begin)).unwrap();
        samples.iter().map(|sample| (sample.used_bytes, sample.at.to_string())).collect::<Vec<_>>()
    };
    let text = |at: &str| format!("2026-11-{at}:00:00Z");
    let expected = [(2, text("21T10")), (3, text("22T09")), (4, text("22T11")), (3, text("22T12"))];
    assert_eq!(day(), expected, "equal ones are one, and what held when the day began is the first");
    f.store.write(move |tx| samples::prune(tx, begin)).unwrap();
    assert_eq!(day(), expected);
    let count = |sql: &str| f.store.read(|r| r.one("count", sql, [], |row| row.get::<_, u64>(0))).unwrap();
    assert_eq!(count("SELECT count(*) FROM samples"), Some(4), "what held before is gone");
    f.store.write(move |tx| volumes::delete(tx, row.id)).unwrap();
    assert_eq!(count("SELECT count(*) FROM samples"), Some(0));
    f.store.write(move |tx| usage::record(tx, row.id, &usage_of(1, "2026-11-22T13:00:00Z"))).unwrap();
    assert_eq!(count("SELECT count(*) FROM usage"), Some(0), "nothing is recorded of what is gone");
}

#[test]
fn a_name_is_unique_among_live_volumes_only() {
    let f = Fixture::new();
    let mut old = f.stored("data");
    let twin = f.volume("data");
    let other = twin.clone();
    let refusal = f.store.write(move |tx| volumes::insert(tx, &other)).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::AlreadyExists);
    assert!(refusal.message.contains("public/data"), "{refusal}");
    assert_eq!(f.pool_now().volumes, 1, "a refused one reserves nothing");

    old.state = VolumeState::Released;
    old.released_at = Some(Timestamp::now());
    let mut released = f.store.write(move |tx| volumes::update(tx, &mut old).map(|()| old)).unwrap();
    f.insert(&twin);
    let key = twin.key();
    assert_eq!(f.store.read(|r| volumes::by_key(r, &key)).unwrap(), Some(twin));
    assert_eq!(f.pool_now().volumes, 2, "released ones count");

    // Back from release while the name is taken.
    released.released_at = None;
    assert_eq!(kind(f.store.write(move |tx| volumes::update(tx, &mut released))), ErrorKind::AlreadyExists);
}

#[test]
fn a_volume_needs_its_workspace_and_its_pool() {
    let f = Fixture::new();
    let stray = volume(&f.pool, "nowhere", "data");
    assert_eq!(kind(f.store.write(move |tx| volumes::insert(tx, &stray))), ErrorKind::NotFound);
    let stray = volume(&pool("lost", Size::from_bytes(0)), "public", "data");
    assert_eq!(kind(f.store.write(move |tx| volumes::insert(tx, &stray))), ErrorKind::NotFound);
    assert_eq!(f.store.read(volumes::count_by_state).unwrap(), []);
}

#[test]
fn deleting_a_volume_frees_all_that_hangs_on_it() {
    let f = Fixture::new();
    let row = f.stored("data");
    let (id, held) = (row.id, attachment(&row, "one"));
    let alias = AliasRow {
        front: Front::Docker,
        external: "data".to_owned(),
        volume: id,
        node: "node-a".to_owned(),
        created_at: Timestamp::now(),
    };
    let attached = held.id;
    f.store
        .write(move |tx| {
            aliases::insert(tx, &alias)?;
            attachments::insert(tx, &held)
        })
        .unwrap();
    assert_eq!(kind(f.store.write(move |tx| volumes::delete(tx, id))), ErrorKind::InUse);
    f.store
        .write(move |tx| {
            assert!(attachments::delete(tx, attached)?);
            assert!(!attachments::delete(tx, attached)?);
            assert!(volumes::delete(tx, id)?);
            assert!(!volumes::delete(tx, id)?);
            Ok(())
        })
        .unwrap();
    assert_eq!(f.store.read(|r| aliases::find(r, Front::Docker, "data")).unwrap(), None);
    assert_eq!((f.pool_now().reserved, f.pool_now().volumes), (Size::from_bytes(0), 0));
}

#[test]
fn workspaces_and_their_grants() {
    let f = Fixture::new();
    let team = WorkspaceRow { grants: vec![1002, 1001, 1001], owner_uid: 1000, ..workspace("team") };
    let (name, created) = (team.name.clone(), team.created_at);
    let again = team.clone();
    f.store.write(move |tx| workspaces::insert(tx, &team)).unwrap();
    assert_eq!(kind(f.store.write(move |tx| workspaces::insert(tx, &again))), ErrorKind::AlreadyExists);

    let row = volume(&f.pool, "team", "data");
    f.insert(&row);
    let read = f.store.read(|r| workspaces::by_name(r, &name)).unwrap().unwrap();
    assert_eq!((read.grants, read.size_limit, read.owner_uid), (vec![1001, 1002], None, 1000));
    let ws = name.clone();
    f.store.write(move |tx| workspaces::set_limits(tx, &ws, Some(Size::from_bytes(7)), Some(3))).unwrap();
    let read = f.store.read(|r| workspaces::by_name(r, &name)).unwrap().unwrap();
    assert_eq!((read.size_limit, read.volume_limit), (Some(Size::from_bytes(7)), Some(3)));
    let usage = f.store.read(|r| workspaces::content(r, Some(&name))).unwrap();
    assert_eq!(usage[&name].live, Held { count: 1, bytes: 16 * MIB });
    assert_eq!(read.created_at, created);

    let ws = name.clone();
    let refusal = f.store.write(move |tx| workspaces::delete(tx, &ws)).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::InUse);
    let (ws, id) = (name.clone(), row.id);
    let deleted = f.store.write(move |tx| {
        workspaces::set_grants(tx, &ws, &[])?;
        volumes::delete(tx, id)?;
        workspaces::delete(tx, &ws)
    });
    assert_eq!(deleted, Ok(true));
    let names: Vec<String> =
        f.store.read(workspaces::all).unwrap().into_iter().map(|row| row.name.to_string()).collect();
    assert_eq!(names, ["public"]);
}

#[test]
fn pools_and_their_sums() {
    let f = Fixture::new();
    let read = f.pool_now();
    assert_eq!(read, f.pool);
    assert_eq!(f.store.read(|r| pools::by_name(r, &f.pool.name)).unwrap(), Some(read));
    for twin in [
        PoolRow { id: PoolId(Uuid::now_v7()), path: "/elsewhere".into(), ..f.pool.clone() },
        PoolRow { id: PoolId(Uuid::now_v7()), name: "other".parse().unwrap(), ..f.pool.clone() },
    ] {
        assert_eq!(kind(f.store.write(move |tx| pools::insert(tx, &twin))), ErrorKind::AlreadyExists);
    }
    f.stored("a");
    let id = f.pool.id;
    f.store.write(move |tx| pools::set_capacity(tx, id, Size::from_bytes(5), 2.0)).unwrap();
    let now = f.pool_now();
    assert_eq!(
        (now.capacity, now.overcommit, now.reserved),
        (Size::from_bytes(5), 2.0, Size::from_bytes(16 * MIB))
    );
    let spare = pool("spare", Size::from_bytes(1));
    f.store.write(move |tx| pools::insert(tx, &spare)).unwrap();
    assert_eq!(f.store.read(pools::all).unwrap().len(), 2);
}

#[test]
fn attachments_are_found_by_all_that_names_them() {
    let f = Fixture::new();
    let (a, b) = (f.stored("a"), f.stored("b"));
    let docker = attachment(&a, "one");
    let host = AttachmentRow {
        front: Front::Host,
        target: Some("/mnt/a b".into()),
        read_only: true,
        shared: true,
        may_go_stale: false,
        ..attachment(&a, "one")
    };
    for row in [docker.clone(), host.clone()] {
        f.store.write(move |tx| attachments::insert(tx, &row)).unwrap();
    }
    f.store
        .read(|r| {
            assert_eq!(attachments::all(r)?, [docker.clone(), host.clone()]);
            assert_eq!(attachments::count(r)?, 2);
            assert_eq!(attachments::of_volume(r, a.id)?, [docker.clone(), host.clone()]);
            assert_eq!(attachments::of_volume(r, b.id)?, []);
            let map = attachments::of_volumes(r, &[a.id, b.id])?;
            assert_eq!(map.get(&a.id), Some(&vec![docker.clone(), host.clone()]));
            assert_eq!(map.get(&b.id), None);
            assert_eq!(attachments::find(r, a.id, "node-a", Front::Docker, "one")?, Some(docker.clone()));
            assert_eq!(attachments::find(r, a.id, "node-b", Front::Docker, "one")?, None);
            assert_eq!(attachments::find(r, a.id, "node-a", Front::Host, "one")?, None, "it has a target");
            assert_eq!(attachments::by_target(r, "node-a", Path::new("/mnt/a b"))?, Some(host.clone()));
            Ok(())
        })
        .unwrap();
    let same_scope = attachment(&a, "one");
    let same_target = AttachmentRow { target: Some("/mnt/a b".into()), ..attachment(&b, "two") };
    let no_volume = attachment(&f.volume("gone"), "one");
    for (row, expected) in [
        (same_scope, ErrorKind::AlreadyExists),
        (same_target, ErrorKind::AlreadyExists),
        (no_volume, ErrorKind::NotFound),
    ] {
        assert_eq!(kind(f.store.write(move |tx| attachments::insert(tx, &row))), expected);
    }
}

#[test]
fn a_scope_has_a_volume_at_many_targets_and_each_target_once() {
    let f = Fixture::new();
    let a = f.stored("a");
    let form = Form::Filesystem { group: Some(2000), options: vec![orlop_model::MountOption::Noexec] };
    let at = |target: &str, staged| AttachmentRow {
        front: Front::Csi,
        target: Some(target.into()),
        staged,
        form: if staged { Form::Block } else { form.clone() },
        ..attachment(&a, "node")
    };
    let rows = [at("/k/stage", true), at("/k/one", false), at("/k/two", false)];
    for row in rows.clone() {
        f.store.write(move |tx| attachments::insert(tx, &row)).unwrap();
    }
    assert_eq!(f.store.read(|r| attachments::of_volume(r, a.id)).unwrap(), rows);
    let again = at("/k/one", false);
    assert_eq!(kind(f.store.write(move |tx| attachments::insert(tx, &again))), ErrorKind::AlreadyExists);
    let nowhere = AttachmentRow { target: None, ..at("", true) };
    assert!(f.store.write(move |tx| attachments::insert(tx, &nowhere)).is_err(), "something stands for it");
}

#[test]
fn an_alias_means_one_volume_for_its_front() {
    let f = Fixture::new();
    let (a, b) = (f.stored("a"), f.stored("b"));
    let alias = |front, external: &str, volume: &VolumeRow| AliasRow {
        front,
        external: external.to_owned(),
        volume: volume.id,
        node: "node-a".to_owned(),
        created_at: Timestamp::now(),
    };
    let weird = "Project_Volume/ü'; --";
    let first = alias(Front::Docker, weird, &a);
    for row in [first.clone(), first.clone(), alias(Front::Podman, weird, &b), alias(Front::Docker, "b", &b)]
    {
        f.store.write(move |tx| aliases::insert(tx, &row)).unwrap();
    }
    let clash = alias(Front::Docker, weird, &b);
    assert_eq!(kind(f.store.write(move |tx| aliases::insert(tx, &clash))), ErrorKind::AlreadyExists);
    f.store
        .read(|r| {
            assert_eq!(aliases::find(r, Front::Docker, weird)?, Some(first.clone()));
            assert_eq!(volumes::by_alias(r, Front::Docker, weird)?, Some(a.clone()));
            assert_eq!(volumes::by_alias(r, Front::Podman, weird)?, Some(b.clone()));
            assert_eq!(volumes::by_alias(r, Front::Podman, "b")?, None);
            let names: Vec<_> =
                aliases::of_front(r, Front::Docker)?.into_iter().map(|row| row.external).collect();
            assert_eq!(names, [weird, "b"]);
            Ok(())
        })
        .unwrap();
    let id = b.id;
    f.store
        .write(move |tx| {
            assert!(aliases::delete(tx, Front::Docker, "b")?);
            assert!(!aliases::delete(tx, Front::Docker, "b")?);
            assert_eq!(aliases::delete_of_volume(tx, id)?, 1);
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_journal_holds_what_is_unfinished() {
    let f = Fixture::new();
    let (a, b) = (f.stored("a"), f.stored("b"));
    let create = operation(&a, Intent::Create { blank: Some("ext4-1-r1.img".to_owned()) });
    let attach = operation(&b, Intent::Attach { attachment: AttachmentId(Uuid::now_v7()), target: None });
    let started = OperationRow {
        volume: None,
        actor_uid: None,
        front: None,
        ..operation(
            &a,
            Intent::CreatePool { pool: f.pool.id, path: "/p".to_owned(), medium: Medium::Directory },
        )
    };
    for row in [create.clone(), attach.clone(), started.clone()] {
        f.store.write(move |tx| operations::begin(tx, &row)).unwrap();
    }
    let f = f.reopened();
    f.store
        .read(|r| {
            assert_eq!(operations::unfinished(r)?, [create.clone(), attach.clone(), started.clone()]);
            assert_eq!(operations::of_volume(r, b.id)?, std::slice::from_ref(&attach));
            Ok(())
        })
        .unwrap();
    let id = create.id;
    f.store.write(move |tx| operations::finish(tx, id)).unwrap();
    assert_eq!(kind(f.store.write(move |tx| operations::finish(tx, id))), ErrorKind::Conflict);
    assert_eq!(f.store.read(operations::unfinished).unwrap(), [attach, started]);
}

#[test]
fn a_person_can_read_it() {
    orlop_testkit::require!(orlop_testkit::Part::Sqlite3);
    let f = Fixture::new();
    f.stored("data");
    let shell = |sql: &str| {
        let mut command = std::process::Command::new("sqlite3");
        orlop_testkit::run(command.arg("-readonly").arg(f.file()).arg(sql)).ok()
    };
    assert_eq!(
        shell("SELECT workspace, name, type, access_mode, state FROM volumes"),
        "public|data|persistent|ReadWriteMany|pending"
    );
    assert_eq!(shell("SELECT name, reserved_bytes, volumes FROM pools"), format!("default|{}|1", 16 * MIB));
    assert_eq!(shell("SELECT count(*) FROM volumes WHERE created_at LIKE '20__-__-__T__:__:__.%Z'"), "1");
}

#[test]
fn aliases_set_aside_come_back_where_they_are_free() {
    let f = Fixture::new();
    let (old, new) = (f.stored("old"), f.stored("new"));
    let alias = |external: &str, volume: VolumeId| AliasRow {
        front: Front::Docker,
        external: external.to_owned(),
        volume,
        node: "node-a".to_owned(),
        created_at: Timestamp::now(),
    };
    let (first, second, taken) = (alias("first", old.id), alias("second", old.id), alias("first", new.id));
    f.store
        .write(move |tx| {
            aliases::insert(tx, &first)?;
            aliases::insert(tx, &second)?;
            aliases::set_aside(tx, old.id)?;
            assert_eq!(aliases::of_volume(tx, old.id)?, []);
            aliases::insert(tx, &taken)?;
            let aside = aliases::aside(tx, old.id)?;
            aliases::restore(tx, old.id, &aside)
        })
        .unwrap();
    let names = |id| {
        let rows = f.store.read(|r| aliases::of_volume(r, id)).unwrap();
        rows.into_iter().map(|row| row.external).collect::<Vec<_>>()
    };
    assert_eq!((names(old.id), names(new.id)), (vec!["second".to_owned()], vec!["first".to_owned()]));
}

#[test]
fn a_vacancy_is_no_change_of_the_record() {
    let f = Fixture::new();
    let row = f.stored("data");
    let at = Timestamp::now();
    let id = row.id;
    let vacant = || f.store.read(volumes::vacant).unwrap().len();
    f.store.write(move |tx| volumes::vacate(tx, id, Some(at))).unwrap();
    assert_eq!(vacant(), 1);
    let now = f.store.read(|r| volumes::by_id(r, id)).unwrap().unwrap();
    assert_eq!((now.vacated_at, now.generation), (Some(at), row.generation));
    let mut changed = now;
    f.store.write(move |tx| volumes::update(tx, &mut changed)).unwrap();
    assert_eq!(vacant(), 1, "a change of the record leaves it");
    f.store.write(move |tx| volumes::renewed(tx, id, None)).unwrap();
    assert_eq!(vacant(), 0);
}
