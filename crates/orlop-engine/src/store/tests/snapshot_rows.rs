//! Snapshots: their rows, the sums that they are in, what holds them, pages and schedules.

use jiff::SignedDuration;
use orlop_model::{
    ErrorKind, Retain, SnapshotGroupId, SnapshotId, SnapshotManifest, resource::SnapshotState,
};

use super::*;
use crate::{
    format::Origin,
    request::{Page, SnapshotKey, SnapshotQuery},
};

/// One of `volume` that reserves 3 MiB.
fn snapshot(volume: &VolumeRow, name: &str) -> SnapshotRow {
    let now = Timestamp::now();
    SnapshotRow {
        id: SnapshotId(Uuid::now_v7()),
        node: "node-a".to_owned(),
        workspace: volume.workspace.clone(),
        manifest: SnapshotManifest::new(
            name.parse().unwrap(),
            volume.manifest.name.clone(),
            Retain::Seconds(60),
        ),
        volume: volume.id,
        state: SnapshotState::Pending,
        reason: None,
        generation: 1,
        owner_uid: 1000,
        created_by: Front::Docker,
        created_at: now,
        updated_at: now,
        expires_at: None,
        scheduled: false,
        group: None,
        consistency: orlop_model::resource::Consistency::Filesystem,
        source: None,
        pool: volume.placement.pool,
        pool_name: volume.placement.pool_name.clone(),
        size: volume.placement.size,
        reserved: Size::from_bytes(3 * MIB),
        exclusive: Size::from_bytes(0),
        detail: volume.placement.detail.clone(),
    }
}

fn key(workspace: &str, name: &str) -> SnapshotKey {
    SnapshotKey { workspace: workspace.parse().unwrap(), name: name.parse().unwrap() }
}

impl Fixture {
    fn keep(&self, row: &SnapshotRow) -> Result<()> {
        let row = row.clone();
        self.store.write(move |tx| snapshots::insert(tx, &row))
    }

    /// Reserved, allocated and the number of snapshots.
    fn sums(&self) -> (u64, u64, u64) {
        let pool = self.pool_now();
        (pool.reserved.bytes(), pool.allocated.bytes(), pool.snapshots)
    }

    fn plainly(&self, sql: &str) -> rusqlite::Result<usize> {
        rusqlite::Connection::open(self.file()).unwrap().execute(sql, [])
    }
}

#[test]
fn a_snapshot_comes_back_as_it_was_written() {
    let f = Fixture::new();
    let volume = f.stored("data");
    let row = SnapshotRow {
        reason: Some("ünïcode and\nlines".to_owned()),
        expires_at: Some(Timestamp::now()),
        scheduled: true,
        source: Some(Origin {
            snapshot: Some(SnapshotId(Uuid::now_v7())),
            volume: volume.id,
            named: "snapshot public/other".to_owned(),
            at: Timestamp::now(),
            marks: vec![volume.id],
        }),
        exclusive: Size::from_bytes(7),
        ..snapshot(&volume, "s")
    };
    f.keep(&row).unwrap();
    let f = f.reopened();
    f.store
        .read(|r| {
            assert_eq!(snapshots::by_id(r, row.id)?, Some(row.clone()));
            assert_eq!(snapshots::by_key(r, &key("public", "s"))?, Some(row.clone()));
            assert_eq!(snapshots::of_volume(r, volume.id)?, std::slice::from_ref(&row));
            assert_eq!(snapshots::in_pool(r, f.pool.id)?, std::slice::from_ref(&row));
            assert_eq!(snapshots::ids_in_pool(r, f.pool.id)?, [row.id]);
            assert_eq!(snapshots::by_id(r, SnapshotId(Uuid::now_v7()))?, None);
            assert_eq!(snapshots::by_key(r, &key("team", "s"))?, None);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_name_is_one_snapshot_of_its_workspace_and_needs_that_and_a_pool() {
    let f = Fixture::new();
    let volume = f.stored("data");
    f.keep(&snapshot(&volume, "s")).unwrap();
    let twin = f.keep(&snapshot(&volume, "s")).unwrap_err();
    assert_eq!((twin.kind, twin.object.as_deref()), (ErrorKind::AlreadyExists, Some("snapshot public/s")));
    let elsewhere = SnapshotRow { workspace: "team".parse().unwrap(), ..snapshot(&volume, "s") };
    assert_eq!(f.keep(&elsewhere).unwrap_err().kind, ErrorKind::NotFound);
    f.store.write(|tx| workspaces::insert(tx, &workspace("team"))).unwrap();
    f.keep(&elsewhere).unwrap();
    let nowhere = SnapshotRow { pool: PoolId(Uuid::now_v7()), ..snapshot(&volume, "t") };
    assert_eq!(f.keep(&nowhere).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(f.sums().2, 2, "what was refused left nothing in the sums");
}

#[test]
fn a_change_counts_the_generation_and_an_outdated_one_is_refused() {
    let f = Fixture::new();
    let row = snapshot(&f.stored("data"), "s");
    f.keep(&row).unwrap();
    let mut first =
        SnapshotRow { state: SnapshotState::Active, reserved: Size::from_bytes(MIB), ..row.clone() };
    first.manifest.snapshot.retain = Retain::Forever;
    let first = f.store.write(move |tx| snapshots::update(tx, &mut first).map(|()| first)).unwrap();
    assert_eq!(first.generation, 2);
    assert_eq!(f.store.read(|r| snapshots::by_id(r, row.id)).unwrap(), Some(first));
    let mut second = SnapshotRow { state: SnapshotState::Deleting, ..row.clone() };
    let refused = f.store.write(move |tx| snapshots::update(tx, &mut second)).unwrap_err();
    assert_eq!((refused.kind, refused.object.as_deref()), (ErrorKind::Conflict, Some("snapshot public/s")));
    // What is seen of it is no change.
    f.store.write(move |tx| snapshots::observe(tx, row.id, Size::from_bytes(5))).unwrap();
    let now = f.store.read(|r| snapshots::by_id(r, row.id)).unwrap().unwrap();
    assert_eq!((now.exclusive, now.generation, now.state), (Size::from_bytes(5), 2, SnapshotState::Active));
}

#[test]
fn the_sums_of_a_pool_follow_its_snapshots() {
    let f = Fixture::new();
    let volume = f.stored("data");
    assert_eq!(f.sums(), (16 * MIB, 0, 0));
    let (a, b) = (snapshot(&volume, "a"), snapshot(&volume, "b"));
    f.keep(&a).unwrap();
    f.keep(&b).unwrap();
    assert_eq!(f.sums(), (22 * MIB, 0, 2));
    f.store.write(move |tx| snapshots::observe(tx, a.id, Size::from_bytes(MIB))).unwrap();
    let mut smaller = SnapshotRow { reserved: Size::from_bytes(2 * MIB), ..b.clone() };
    f.store.write(move |tx| snapshots::update(tx, &mut smaller)).unwrap();
    assert_eq!(f.sums(), (21 * MIB, MIB, 2));
    let id = f.pool.id;
    assert_eq!(f.store.read(|r| pools::wrong_sums(r, id)).unwrap(), None);
    // A snapshot never moves: its sums would stay behind.
    let spare = pool("spare", Size::from_bytes(1));
    let other = spare.id;
    f.store.write(move |tx| pools::insert(tx, &spare)).unwrap();
    let moved = f.plainly(&format!("UPDATE snapshots SET pool_id = '{other}'")).unwrap_err();
    assert!(moved.to_string().contains("a snapshot does not change its pool"), "{moved}");
    f.plainly(&format!("UPDATE pools SET snapshots = 9, reserved_bytes = 1 WHERE id = '{id}'")).unwrap();
    let wrong = f.store.read(|r| pools::wrong_sums(r, id)).unwrap().unwrap();
    assert!(wrong.contains("9 snapshots") && wrong.contains("2 snapshots"), "{wrong}");
    f.store.write(move |tx| pools::sum_again(tx, id)).unwrap();
    assert_eq!(f.sums(), (21 * MIB, MIB, 2));
    assert!(f.store.write(move |tx| snapshots::delete(tx, a.id)).unwrap());
    assert!(!f.store.write(move |tx| snapshots::delete(tx, a.id)).unwrap(), "it is gone already");
    f.store.write(move |tx| snapshots::delete(tx, b.id)).unwrap();
    assert_eq!(f.sums(), (16 * MIB, 0, 0));
}

#[test]
fn a_snapshot_outlives_its_volume_and_holds_its_pool_and_workspace() {
    let f = Fixture::new();
    f.store.write(|tx| workspaces::insert(tx, &workspace("team"))).unwrap();
    let volume = volume(&f.pool, "team", "data");
    f.insert(&volume);
    let row = snapshot(&volume, "s");
    f.keep(&row).unwrap();
    f.store.write(move |tx| volumes::delete(tx, volume.id)).unwrap();
    assert_eq!(f.store.read(|r| snapshots::of_volume(r, volume.id)).unwrap(), std::slice::from_ref(&row));
    let (id, team) = (f.pool.id, row.workspace.clone());
    let held = f.store.write(move |tx| pools::delete(tx, id)).unwrap_err();
    assert_eq!(held.kind, ErrorKind::InUse);
    let held = f.store.write(move |tx| workspaces::delete(tx, &team)).unwrap_err();
    assert!(held.kind == ErrorKind::InUse && held.hint.unwrap().contains("orlop snapshot list -w team"));
    let content = f.store.read(|r| workspaces::content(r, None)).unwrap();
    let held = content.get(&row.workspace).copied().unwrap();
    assert_eq!(held, ContentRow { snapshots: Held { count: 1, bytes: 3 * MIB }, ..ContentRow::default() });
    f.store
        .write(move |tx| {
            snapshots::delete(tx, row.id)?;
            workspaces::delete(tx, &row.workspace)?;
            pools::delete(tx, id)
        })
        .unwrap();
}

/// One whose volume was renamed is of the volume as it is called now.
#[test]
fn a_snapshot_names_its_volume_as_that_is_called() {
    let f = Fixture::new();
    let mut volume = f.stored("data");
    f.keep(&snapshot(&volume, "s")).unwrap();
    volume.manifest.name = "renamed".parse().unwrap();
    f.store.write(move |tx| volumes::update(tx, &mut volume)).unwrap();
    let read = f.store.read(|r| snapshots::by_key(r, &key("public", "s"))).unwrap().unwrap();
    assert_eq!(read.manifest.snapshot.volume.as_str(), "renamed");
}

#[test]
fn those_whose_time_is_over_are_found_and_no_others() {
    let f = Fixture::new();
    let volume = f.stored("data");
    let now = Timestamp::now();
    let at = |seconds: i64| Some(now + SignedDuration::from_secs(seconds));
    let states =
        [SnapshotState::Active, SnapshotState::Error, SnapshotState::Pending, SnapshotState::Deleting];
    for (index, state) in states.into_iter().enumerate() {
        for (name, expires_at) in [("past", at(-1)), ("just", at(0)), ("later", at(1)), ("never", None)] {
            let row = snapshot(&volume, &format!("{name}-{index}"));
            f.keep(&SnapshotRow { state, expires_at, ..row }).unwrap();
        }
    }
    let found = f.store.read(|r| snapshots::expired(r, now)).unwrap();
    let mut names: Vec<_> = found.iter().map(|row| row.manifest.name.to_string()).collect();
    names.sort();
    // One that is still being made is not yet anybody's.
    assert_eq!(names, ["just-0", "just-1", "just-3", "past-0", "past-1", "past-3"]);
}

fn page(f: &Fixture, query: &SnapshotQuery) -> Page<SnapshotRow> {
    f.store.read(|r| snapshots::page(r, query)).unwrap()
}

#[test]
fn pages_are_complete_in_order_and_filtered() {
    let f = Fixture::new();
    f.store.write(|tx| workspaces::insert(tx, &workspace("team"))).unwrap();
    let (data, other) = (f.stored("data"), f.stored("other"));
    let theirs = volume(&f.pool, "team", "data");
    f.insert(&theirs);
    for (volume, name) in
        [(&data, "b"), (&theirs, "a"), (&other, "a-b"), (&data, "ab"), (&data, "a"), (&theirs, "z")]
    {
        f.keep(&snapshot(volume, name)).unwrap();
    }
    let all = ["public/a", "public/a-b", "public/ab", "public/b", "team/a", "team/z"];
    for limit in 1..=7 {
        let mut query = SnapshotQuery { limit, ..SnapshotQuery::default() };
        let mut seen = Vec::new();
        loop {
            let page = page(&f, &query);
            assert!(page.items.len() <= limit);
            seen.extend(page.items.iter().map(SnapshotRow::title));
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, all, "pages of {limit}");
    }
    let titles =
        |query: &SnapshotQuery| page(&f, query).items.iter().map(SnapshotRow::title).collect::<Vec<_>>();
    let team = SnapshotQuery { workspace: Some("team".parse().unwrap()), ..SnapshotQuery::default() };
    assert_eq!(titles(&team), ["team/a", "team/z"]);
    let of_data = SnapshotQuery {
        workspace: Some("public".parse().unwrap()),
        volume: Some("data".parse().unwrap()),
        ..SnapshotQuery::default()
    };
    assert_eq!(titles(&of_data), ["public/a", "public/ab", "public/b"]);
    // What goes while somebody turns pages disturbs no other.
    let first = page(&f, &SnapshotQuery { limit: 2, ..SnapshotQuery::default() });
    let gone = first.items[1].id;
    f.store.write(move |tx| snapshots::delete(tx, gone)).unwrap();
    let rest = SnapshotQuery { after: first.next, ..SnapshotQuery::default() };
    assert_eq!(titles(&rest), all[2..]);
    for bad in ["", "x", ".", "public.", "PUBLIC.a"] {
        let query = SnapshotQuery { after: Some(bad.to_owned()), ..SnapshotQuery::default() };
        assert_eq!(
            f.store.read(|r| snapshots::page(r, &query)).unwrap_err().kind,
            ErrorKind::InvalidArgument
        );
    }
}

#[test]
fn a_schedule_is_due_as_long_as_it_is_that_schedule() {
    let f = Fixture::new();
    let with = |name: &str, schedule: &str| {
        let mut row = f.volume(name);
        let policy = serde_json::json!({ "schedule": schedule, "keep": { "last": 1 } });
        row.manifest.volume.snapshots = Some(serde_json::from_value(policy).unwrap());
        f.insert(&row);
        row
    };
    f.stored("without");
    let row = with("data", "0 * * * *");
    let all = || f.store.read(schedules::all).unwrap();
    assert_eq!(all(), [ScheduleRow { volume: row.id, due_at: None }]);
    let due = Timestamp::from_second(1_800_000_000).unwrap();
    f.store.write(move |tx| schedules::set(tx, row.id, due)).unwrap();
    assert_eq!(all(), [ScheduleRow { volume: row.id, due_at: Some(due) }]);
    // Of another schedule nothing is known yet.
    let mut changed = row.clone();
    changed.manifest.volume.snapshots =
        serde_json::from_value(serde_json::json!({ "schedule": "5 * * * *", "keep": { "last": 1 } }))
            .unwrap();
    let mut changed = f.store.write(move |tx| volumes::update(tx, &mut changed).map(|()| changed)).unwrap();
    assert_eq!(all(), [ScheduleRow { volume: row.id, due_at: None }]);
    f.store.write(move |tx| schedules::set(tx, row.id, due)).unwrap();
    // A released volume has no snapshots made of it; undeleted, it goes on.
    changed.released_at = Some(Timestamp::now());
    let mut changed = f.store.write(move |tx| volumes::update(tx, &mut changed).map(|()| changed)).unwrap();
    assert_eq!(all(), []);
    changed.released_at = None;
    let mut changed = f.store.write(move |tx| volumes::update(tx, &mut changed).map(|()| changed)).unwrap();
    assert_eq!(all().len(), 1);
    changed.manifest.volume.snapshots = None;
    f.store.write(move |tx| volumes::update(tx, &mut changed)).unwrap();
    assert_eq!(all(), []);
    f.store.write(move |tx| schedules::set(tx, row.id, due)).unwrap();
    assert_eq!(all(), [], "of a volume without one nothing is recorded");
    let other = with("other", "0 0 * * *");
    f.store.write(move |tx| schedules::set(tx, other.id, due)).unwrap();
    f.store.write(move |tx| volumes::delete(tx, other.id)).unwrap();
    assert_eq!(all(), []);
}

fn group(name: &str, known_as: Option<&str>) -> SnapshotGroupRow {
    SnapshotGroupRow {
        id: SnapshotGroupId(Uuid::now_v7()),
        workspace: "public".parse().unwrap(),
        name: name.parse().unwrap(),
        created_by: Front::Csi,
        known_as: known_as.map(str::to_owned),
        created_at: Timestamp::now(),
    }
}

#[test]
fn a_group_is_there_as_long_as_one_of_its_snapshots() {
    let f = Fixture::new();
    let volume = f.stored("data");
    let group = group("g", Some("Their Name"));
    let rows =
        ["g-a", "g-b"].map(|name| SnapshotRow { group: Some(group.clone()), ..snapshot(&volume, name) });
    // Without its group there is no snapshot of it.
    f.keep(&rows[0]).unwrap_err();
    let (new, kept) = (group.clone(), rows.clone());
    f.store
        .write(move |tx| {
            snapshot_groups::insert(tx, &new)?;
            kept.iter().try_for_each(|row| snapshots::insert(tx, row))
        })
        .unwrap();
    let known = || f.store.read(|r| snapshot_groups::known_as(r, Front::Csi, "Their Name")).unwrap();
    assert_eq!(known().as_ref(), Some(&group));
    assert_eq!(f.store.read(|r| snapshot_groups::by_key(r, &key("public", "g"))).unwrap(), known());
    assert_eq!(f.store.read(|r| snapshot_groups::known_as(r, Front::Docker, "Their Name")).unwrap(), None);
    assert_eq!(f.store.read(|r| snapshots::of_group(r, group.id)).unwrap(), rows);
    let [a, b] = rows.map(|row| row.id);
    f.store.write(move |tx| snapshots::delete(tx, a)).unwrap();
    assert!(known().is_some());
    f.store.write(move |tx| snapshots::delete(tx, b)).unwrap();
    assert_eq!(known(), None);
}

#[test]
fn groups_and_snapshots_have_one_space_of_names() {
    let f = Fixture::new();
    let volume = f.stored("data");
    let add = |group: SnapshotGroupRow| f.store.write(move |tx| snapshot_groups::insert(tx, &group));
    f.keep(&snapshot(&volume, "s")).unwrap();
    add(group("g", Some("one"))).unwrap();
    for refused in [
        add(group("s", None)),
        add(group("g", None)),
        add(group("h", Some("one"))),
        f.keep(&snapshot(&volume, "g")),
    ] {
        assert_eq!(refused.unwrap_err().kind, ErrorKind::AlreadyExists);
    }
    add(group("h", None)).unwrap();
}
