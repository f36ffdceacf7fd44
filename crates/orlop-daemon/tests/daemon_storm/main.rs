//! A storm over the driver's socket: many volumes, calls in any order from several clients at once, some
//! repeated, some left out, some given up while they run, and the process killed again and again. Each
//! answer is one that the specification has for that call, and in the end nothing is left behind.
//!
//! The order of the calls is that of a seed, which is printed: `ORLOP_STORM_SEED` repeats it, and
//! `ORLOP_STORM_SECONDS` makes it longer.
#![allow(clippy::unwrap_used)]

mod client;
mod dice;
mod left;
mod volumes;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use orlop_testkit::{OrlopDaemon, Part, ScratchFs, require};
use tokio::task::{JoinSet, block_in_place};

use client::Client;
use dice::Dice;
use volumes::Storm;

const VOLUMES: usize = 200;
const CLIENTS: u64 = 8;
const SECONDS: u64 = 20;
/// How long the driver lives, in milliseconds.
const LIFE: std::ops::Range<u64> = 500..3000;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_behind_whatever_is_asked_and_whenever_it_is_killed() {
    require!(Part::Loop, Part::Sqlite3);
    let given = |name: &str| std::env::var(name).ok().map(|number| number.parse::<u64>().unwrap());
    let seed = given("ORLOP_STORM_SEED")
        .unwrap_or_else(|| u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos()));
    println!("ORLOP_STORM_SEED={seed}");
    let length = Duration::from_secs(given("ORLOP_STORM_SECONDS").unwrap_or(SECONDS));

    let disk = ScratchFs::xfs(16 << 30);
    let kubelet = disk.join("kubelet");
    std::fs::create_dir_all(&kubelet).unwrap();
    let socket = disk.join("csi.sock");
    let config = format!(
        "csiEndpoint: unix://{}\nnodeId: node-1\nkubeletRoot: {}\n",
        socket.display(),
        kubelet.display()
    );
    let mut daemon = OrlopDaemon::builder().config(config).state_dir(disk.join("state")).start();

    let storm = Arc::new(Storm::new(VOLUMES, kubelet, seed));
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let mut client = Client::new(&socket, &storm, Dice::new(seed ^ (number + 1))).await;
        clients.spawn(async move {
            while began.elapsed() < length {
                client.ask().await;
            }
        });
    }
    let mut dice = Dice::new(seed);
    let mut kills = 0;
    while began.elapsed() < length {
        let life = LIFE.start + dice.roll(LIFE.end - LIFE.start);
        tokio::time::sleep(Duration::from_millis(life)).await;
        block_in_place(|| {
            daemon.kill9();
            daemon.restart();
        });
        kills += 1;
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    println!("{} after {kills} kills and {:?}", storm.told(), began.elapsed());

    let client = Client::new(&socket, &storm, Dice::new(seed)).await;
    client.clean_up().await;
    println!("cleaned up after {:?}", began.elapsed());
    storm.assert_right();
    block_in_place(|| left::assert_nothing(&daemon, &storm));
    println!("ended after {:?}", began.elapsed());
}
