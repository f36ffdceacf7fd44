//! Committing: together where that is possible, each by itself where it fails, and never said
//! before it is so.

use std::{
    fs,
    sync::{Arc, Barrier, mpsc},
    thread,
};

use orlop_model::{Error, ErrorKind};
use orlop_testkit::{Part, ScratchFs, require};

use super::*;

fn refused() -> Error {
    Error::new(ErrorKind::Conflict, "refused")
}

type Changing = Box<dyn FnOnce(&Tx<'_>) -> Result<()> + Send>;

/// Holds the writer, lets `changes` queue up behind it, then lets go: they share a commit.
fn together(store: &Store, changes: Vec<Changing>) -> Vec<Result<()>> {
    let (held, is_held) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let first = scope.spawn(move || {
            store.write(move |_| {
                held.send(()).unwrap();
                released.recv().unwrap();
                Err::<(), _>(refused())
            })
        });
        is_held.recv().unwrap();
        let asked = store.writer.asked();
        // One after the other, so that they run in this order.
        let threads: Vec<_> = changes
            .into_iter()
            .enumerate()
            .map(|(n, change)| {
                let thread = scope.spawn(move || store.write(change));
                while store.writer.asked() <= asked + n {
                    thread::yield_now();
                }
                thread
            })
            .collect();
        release.send(()).unwrap();
        assert!(first.join().unwrap().is_err());
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn set(key: &'static str) -> Changing {
    Box::new(move |tx| meta::set(tx, key, "set"))
}

fn is_set(store: &Store, key: &str) -> bool {
    store.read(|r| meta::get(r, key)).unwrap().is_some()
}

#[test]
fn what_waits_together_is_committed_together() {
    let f = Fixture::new();
    let before = f.store.commits();
    let results = together(&f.store, vec![set("a"), set("b"), set("c")]);
    assert_eq!(results, [Ok(()), Ok(()), Ok(())]);
    let after = f.store.commits();
    assert_eq!((after.changes - before.changes, after.commits - before.commits), (3, 1));
}

#[test]
fn a_failure_undoes_only_itself() {
    let f = Fixture::new();
    let results = together(
        &f.store,
        vec![
            set("a"),
            Box::new(|tx| {
                meta::set(tx, "b", "set")?;
                meta::set(tx, "a", "spoilt")?;
                Err(refused())
            }),
            Box::new(|tx| {
                meta::set(tx, "c", "set")?;
                panic!("a fault in a change")
            }),
            Box::new(|tx| {
                assert_eq!(meta::get(tx, "a")?.as_deref(), Some("set"));
                meta::set(tx, "d", "set")
            }),
        ],
    );
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true]);
    assert_eq!(results[1].as_ref().unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(results[2].as_ref().unwrap_err().kind, ErrorKind::Store);
    let f = f.reopened();
    assert_eq!(["a", "b", "c", "d"].map(|key| is_set(&f.store, key)), [true, false, false, true]);
    assert_eq!(f.store.read(|r| meta::get(r, "a")).unwrap().as_deref(), Some("set"));
}

#[test]
fn a_change_cannot_wait_for_another() {
    let f = Fixture::new();
    let store = Arc::new(f.store);
    let inner = Arc::clone(&store);
    let result = store.write(move |_| inner.write(|tx| meta::set(tx, "a", "b")));
    assert_eq!(result.unwrap_err().kind, ErrorKind::Store);
    assert!(!is_set(&store, "a"));
}

#[test]
fn a_reader_sees_one_state() {
    let f = Fixture::new();
    f.store
        .read(|r| {
            assert_eq!(meta::get(r, "a")?, None);
            f.store.write(|tx| meta::set(tx, "a", "later"))?;
            assert_eq!(meta::get(r, "a")?, None);
            Ok(())
        })
        .unwrap();
    assert!(is_set(&f.store, "a"));
}

#[test]
fn more_threads_read_than_there_are_connections() {
    let f = Fixture::new();
    f.stored("data");
    let all_in = Barrier::new(16);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                all_in.wait();
                for _ in 0..50 {
                    let page = f.store.read(|r| volumes::page(r, &Default::default())).unwrap();
                    assert_eq!(page.items.len(), 1);
                }
            });
        }
    });
}

/// The pool has room for 100 volumes; 16 threads want 20 each.
#[test]
fn reservations_are_exact_under_concurrency() {
    let f = Fixture::new();
    let (size, room) = (16 * MIB, 100 * 16 * MIB);
    let admitted: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|t| {
                let f = &f;
                scope.spawn(move || {
                    (0..20)
                        .filter(|n| {
                            let row = f.volume(&format!("v-{t}-{n}"));
                            let done = f.store.write(move |tx| {
                                let pool = pools::by_id(tx, row.placement.pool)?.unwrap();
                                if pool.reserved.bytes() + size > room {
                                    return Err(Error::new(ErrorKind::PoolFull, "full"));
                                }
                                volumes::insert(tx, &row)
                            });
                            done.is_ok()
                        })
                        .count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(admitted, 100);
    let pool = f.pool_now();
    assert_eq!((pool.reserved.bytes(), pool.volumes), (room, 100));
}

#[test]
fn kept_sums_are_the_sums() {
    let f = Fixture::new();
    let other = pool("other", Size::from_bytes(1 << 40));
    let row = other.clone();
    f.store.write(move |tx| pools::insert(tx, &row)).unwrap();
    let pools_of = [&f.pool, &other];
    // A fixed walk through insertions, growth, observations and deletions.
    let mut live: Vec<VolumeRow> = Vec::new();
    let mut state = 7_u64;
    for n in 0..300_u64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (pick, what) = ((state >> 33) as usize, state >> 60);
        if live.is_empty() || what < 6 {
            let row = volume(pools_of[pick % 2], "public", &format!("v{n}"));
            f.insert(&row);
            live.push(row);
            continue;
        }
        let index = pick % live.len();
        let mut row = live[index].clone();
        match what {
            6..9 => {
                row.placement.size = Size::from_bytes(pick as u64);
                live[index] = f.store.write(move |tx| volumes::update(tx, &mut row).map(|()| row)).unwrap();
            }
            9..12 => {
                let seen = Some(Size::from_bytes(pick as u64));
                f.store.write(move |tx| volumes::observe(tx, row.id, None, seen)).unwrap();
            }
            _ => {
                live.swap_remove(index);
                f.store.write(move |tx| volumes::delete(tx, row.id)).unwrap();
            }
        }
    }
    let connection = rusqlite::Connection::open(f.file()).unwrap();
    let sql = "SELECT count(*) FROM pools p WHERE (reserved_bytes, allocated_bytes, volumes) IS NOT
        (SELECT coalesce(sum(size_bytes), 0), coalesce(sum(allocated_bytes), 0), count(*) FROM placements WHERE pool_id = p.id)";
    let wrong: u64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(wrong, 0);
    assert_eq!(
        f.store.read(pools::all).unwrap().iter().map(|pool| pool.volumes).sum::<u64>(),
        live.len() as u64
    );
}

/// An entry of the journal that needs so many pages of 4 KiB.
fn large(volume: &VolumeRow, pages: usize) -> Changing {
    let row = OperationRow { boot_id: "x".repeat(pages * 4096), ..operation(volume, Intent::Configure) };
    Box::new(move |tx| operations::begin(tx, &row))
}

#[test]
fn on_a_full_disk_what_is_acknowledged_is_there_and_nothing_else() {
    require!(Part::Root);
    let disk = ScratchFs::tmpfs(4 << 20);
    let file = disk.join("orlop.db");
    let store = Store::open(&file, options()).unwrap();
    store.write(|tx| meta::set(tx, "before", "set")).unwrap();
    let free = usize::try_from(orlop_sys::space::usage(disk.path()).unwrap().available).unwrap();
    fs::write(disk.join("other"), vec![1; free]).unwrap();
    let row = volume(&pool("default", Size::from_bytes(0)), "public", "data");
    let results = together(&store, vec![set("with it"), large(&row, 800), set("after it")]);
    let error = results[1].clone().unwrap_err();
    assert_eq!(error.kind, ErrorKind::LowSpace, "{results:?}");
    assert!(error.hint.unwrap().contains("state directory is full"), "{}", error.message);
    let (with, after) = (results[0].is_ok(), results[2].is_ok());
    assert_eq!(["before", "with it", "after it"].map(|key| is_set(&store, key)), [true, with, after]);
    fs::remove_file(disk.join("other")).unwrap();
    store.write(|tx| meta::set(tx, "again", "set")).unwrap();
    drop(store);
    let store = Store::open(&file, options()).unwrap();
    assert_eq!(
        ["before", "with it", "after it", "again"].map(|key| is_set(&store, key)),
        [true, with, after, true]
    );
    assert_eq!(store.read(operations::unfinished).unwrap(), []);
}

/// In the middle of a transaction, "full" can make SQLite undo all of it by itself: those that ran
/// before must hear of it, though nothing went wrong with theirs.
#[test]
fn a_transaction_that_sqlite_undid_is_not_acknowledged() {
    let f = Fixture::new();
    let enlarge = large(&f.volume("data"), 300);
    let results = together(
        &f.store,
        vec![
            set("first"),
            Box::new(move |tx| {
                tx.limit_pages_to_those_there_are();
                enlarge(tx)
            }),
            set("last"),
        ],
    );
    assert_eq!(results[0].as_ref().unwrap_err().kind, ErrorKind::LowSpace, "{results:?}");
    assert_eq!(results[1].as_ref().unwrap_err().kind, ErrorKind::LowSpace, "{results:?}");
    let last = results[2].is_ok();
    let f = f.reopened();
    assert_eq!(["first", "last"].map(|key| is_set(&f.store, key)), [false, last]);
    assert_eq!(f.store.read(operations::unfinished).unwrap(), []);
    f.store.write(|tx| meta::set(tx, "again", "set")).unwrap();
}
