//! The pages of `docs` that show how something is done: every command in them is run, in order, in a
//! directory of its own and against a daemon of its own.
#![allow(clippy::unwrap_used)]

mod alerts;
mod lost;
mod page;

use std::{fs, path::Path};

use orlop_testkit::{OrlopDaemon, Part, require};

use page::Page;

macro_rules! pages {
    ($($name:ident: $page:literal [$($part:ident),*],)*) => {
        $(
            #[test]
            fn $name() {
                require!(Part::Loop $(, Part::$part)*);
                Page::read($page).follow(&OrlopDaemon::start());
            }
        )*

        /// Those that are followed; the page on alerts with what it needs beside a daemon.
        const FOLLOWED: &[&str] = &[$($page,)* alerts::PAGE];
    };
}

pages! {
    grow: "grow.md" [],
    snapshots: "snapshots.md" [Xfs],
    restore: "restore.md" [Xfs],
    migrate: "migrate.md" [],
    undelete: "undelete.md" [],
    temp: "temp.md" [],
    pools: "pools.md" [Xfs],
    move_to_another_machine: "move-to-another-machine.md" [Xfs],
    adopt: "adopt.md" [],
    fsck: "fsck.md" [Xfs],
    recovery: "recovery.md" [],
}

#[test]
fn every_page_that_shows_commands_is_followed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let pages = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found = 0;
    for page in pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        if fs::read_to_string(&page).unwrap().lines().any(|line| line == "```sh") {
            let name = page.file_name().unwrap().to_str().unwrap();
            assert!(FOLLOWED.contains(&name), "nothing follows {name}");
            found += 1;
        }
    }
    assert_eq!(found, FOLLOWED.len());
}
