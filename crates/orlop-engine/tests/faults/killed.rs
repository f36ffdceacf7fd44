//! `kill -9` of a process that does everything at once: what it said it had made is there with its data,
//! what it had begun is finished or taken back, and the sums are right.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use orlop_engine::*;
use orlop_model::{ErrorKind, Result, resource::VolumeState};
use orlop_testkit::{Part, ScratchFs, command::eventually, require};

use crate::{harness::*, rows};

const DIRECTORY: &str = "ORLOP_KILLED_DIRECTORY";
const SEED: &str = "ORLOP_KILLED_SEED";
const WORKERS: u64 = 4;
const ROUNDS: u64 = 8;

/// Numbers that are always the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len() as u64) as usize]
    }
}

fn world(directory: &Path) -> World {
    World::over(directory, |config| config.blanks = 1)
}

/// What the child does until it is killed; nothing where this is no child.
#[test]
fn the_part_of_who_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    let world = world(Path::new(&directory));
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let world = &world;
            scope.spawn(move || {
                let mut dice = Dice(seed * WORKERS + worker);
                loop {
                    step(world, worker, &mut dice);
                }
            });
        }
    });
}

fn say(words: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nsaid {words}").unwrap();
    out.flush().unwrap();
}

/// One thing done to one of the worker's own volumes. That it is refused is right.
fn step(world: &World, worker: u64, dice: &mut Dice) {
    let name = format!("v{worker}-{}", dice.roll(2));
    let snapshot = format!("s{worker}-{}", dice.roll(2));
    let clone = format!("c{worker}");
    let target = world.join(&format!("target{worker}"));
    let size = dice.pick(&["16Mi", "24Mi", "32Mi"]);
    let spec =
        format!("size: {size}, accessMode: ReadWriteMany, type: {}", dice.pick(&["temp", "persistent"]));
    let group = format!("g{worker}-{}", dice.roll(2));
    let done: Result<()> = match dice.roll(14) {
        0 | 1 => make(world, &name, &spec, dice.roll(1 << 30)),
        2 => world.attach(&name, "one").map(drop),
        3 => world.detach(&name, "one"),
        4 => world.mount(&name, &target, MountAccess::ByMode).map(drop),
        5 => world.engine().unmount(&ROOT, &target),
        6 => world.snapshot(&snapshot, &name).map(drop),
        7 => world.delete_snapshot(&snapshot),
        8 => world.restore(&snapshot).map(drop),
        9 => {
            let source = [format!("snapshot {snapshot}"), format!("volume {name}")];
            let source = &source[dice.roll(2) as usize];
            let spec = format!("size: 32Mi, accessMode: ReadWriteMany, type: temp, source: {source}");
            world.apply(&clone, &spec).and_then(|_| world.delete(&clone)).map(drop)
        }
        10 => {
            let pool = Some(dice.pick(&["default", "other"]).parse().unwrap());
            let size = (dice.roll(3) == 0).then(|| size.parse().unwrap());
            world.engine().migrate(&ROOT, &key(&name), &MigrateRequest { pool, size }).map(drop)
        }
        11 => {
            // One is another worker's, who does something else to it.
            let theirs = format!("v{}-0", (worker + 1) % WORKERS);
            let [one, two] = [0, 1].map(|n| format!("v{worker}-{n}"));
            world.snapshot_group(&group, &[&theirs, &one, &two]).map(drop)
        }
        12 => world.delete_snapshot_group(&group),
        _ => match world.engine().volume(&ROOT, &key(&name)) {
            Ok(volume) => {
                say(&format!("gone {}", volume.status.id));
                world.delete(&name).map(drop)
            }
            Err(error) => Err(error),
        },
    };
    let Err(error) = done else { return };
    let refused = [
        ErrorKind::NotFound,
        ErrorKind::InUse,
        ErrorKind::Conflict,
        ErrorKind::Immutable,
        ErrorKind::Unsupported,
        ErrorKind::InvalidArgument,
        ErrorKind::AlreadyExists,
        ErrorKind::LowSpace,
        ErrorKind::PoolFull,
    ];
    if !refused.contains(&error.kind) {
        say(&format!("wrong {:?} {error}", error.kind));
    }
}

/// Makes it, or changes what may be changed; a new one gets a file that says which one it is.
fn make(world: &World, name: &str, spec: &str, cookie: u64) -> Result<()> {
    let made = world.apply(name, spec)?;
    if made.outcome != orlop_model::resource::Outcome::Created {
        return Ok(());
    }
    let path = world.attach(name, "maker")?.path;
    fs::write(path.join("file"), cookie.to_string()).unwrap();
    world.detach(name, "maker")?;
    say(&format!("made {} {cookie}", made.resource.status.id));
    Ok(())
}

#[test]
fn whatever_is_killed_whenever() {
    require!(Part::Loop, Part::Sqlite3);
    let rounds = std::env::var("ORLOP_KILLED_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let host = ScratchFs::xfs(2 << 30);
    {
        let world = world(host.path());
        let place = PoolPlace::Directory(world.join("other"));
        let request = PoolRequest { name: "other".parse().unwrap(), place, capacity: None, overcommit: None };
        world.engine().create_pool(&ROOT, &request).unwrap();
        for worker in 0..WORKERS {
            world.mkdir(&format!("target{worker}"));
        }
    }
    let first = std::env::var("ORLOP_KILLED_FIRST").map_or(0, |first| first.parse().unwrap());
    let mut made: BTreeMap<String, String> = BTreeMap::new();
    for round in first..first + rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::the_part_of_who_is_killed", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, host.path())
            .env(SEED, round.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = child.stdout.take().unwrap();
        let heard = std::thread::spawn(move || {
            let lines = BufReader::new(said).lines().map_while(|line| line.ok());
            lines.filter_map(|line| line.strip_prefix("said ").map(str::to_owned)).collect::<Vec<_>>()
        });
        std::thread::sleep(Duration::from_millis(300 + Dice(round).roll(1500)));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in heard.join().unwrap() {
            match line.split_once(' ').unwrap() {
                ("made", volume) => {
                    let (id, cookie) = volume.split_once(' ').unwrap();
                    made.insert(id.to_owned(), cookie.to_owned());
                }
                ("gone", id) => drop(made.remove(id)),
                _ => panic!("round {round}: {line}"),
            }
        }
        check(host.path(), round, &made);
    }
}

fn check(directory: &Path, round: u64, made: &BTreeMap<String, String>) {
    let mut world = World::stopped(directory, |config| config.blanks = 1);
    let recovery = world.start();
    println!("round {round}: {recovery:?}, {} volumes", made.len());
    assert!(recovery.unaccounted.is_empty(), "round {round}: {recovery:?}");
    let left = || rows(&world, "SELECT volume_id, intent FROM operations");
    assert!(eventually(Duration::from_secs(10), || left().is_empty()), "round {round}: {}", left());
    for (id, cookie) in made {
        let volume = VolumeRef::Id(id.parse().unwrap());
        let now = world.engine().volume(&ROOT, &volume).unwrap_or_else(|e| panic!("round {round}: {e}"));
        if now.status.state == VolumeState::Released {
            continue;
        }
        assert_eq!(now.status.state, VolumeState::Active, "round {round}: {now:?}");
        let request = AttachRequest {
            volume: volume.clone(),
            scope: Scope { id: "check".to_owned(), shared: false, may_go_stale: true },
            consumer: "the check".to_owned(),
            read_only: true,
            known_as: None,
        };
        let path = world.engine().attach(&DOCKER, &request, PATIENCE).unwrap().path;
        assert_eq!(&fs::read_to_string(path.join("file")).unwrap(), cookie, "round {round}");
        world.engine().detach(&DOCKER, &volume, "check", PATIENCE).unwrap();
    }
    let parts = "SELECT name FROM snapshot_groups g WHERE (SELECT count(*) FROM snapshots WHERE group_id = g.id) != 3";
    assert_eq!(rows(&world, parts), "", "round {round}: parts of groups");
    assert_eq!(
        rows(&world, "SELECT name, state FROM snapshots WHERE state != 'active'"),
        "",
        "round {round}"
    );
    println!("round {round}: {} groups", rows(&world, "SELECT count(*) FROM snapshot_groups"));
    let all = VolumeQuery::default();
    for volume in world.engine().volumes(&ROOT, &all).unwrap().items {
        assert_eq!(volume.status.state, VolumeState::Active, "round {round}: {volume:?}");
    }
    for pool in ["default", "other"] {
        let report = world.engine().check_pool(&ROOT, &pool.parse().unwrap(), false).unwrap();
        assert!(report.findings.is_empty(), "round {round}: {:?}", report.findings);
    }
    world.forget();
}
