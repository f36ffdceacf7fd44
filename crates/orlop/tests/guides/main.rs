//! The pages of `docs` that show how something is done: every command in them is run, in order, in a
//! directory of its own and against a daemon of its own.
#![allow(clippy::unwrap_used)]

mod alerts;
mod page;

use orlop_testkit::{OrlopDaemon, Part, require};

use page::Page;

fn follow(page: &'static str) {
    require!(Part::Loop);
    Page::read(page).follow(&OrlopDaemon::start());
}

#[test]
fn grow() {
    follow("grow.md");
}

#[test]
fn snapshots() {
    require!(Part::Xfs);
    follow("snapshots.md");
}

#[test]
fn restore() {
    require!(Part::Xfs);
    follow("restore.md");
}

#[test]
fn migrate() {
    follow("migrate.md");
}

#[test]
fn undelete() {
    follow("undelete.md");
}

#[test]
fn temp() {
    follow("temp.md");
}

#[test]
fn pools() {
    require!(Part::Xfs);
    follow("pools.md");
}

#[test]
fn move_to_another_machine() {
    require!(Part::Xfs);
    follow("move-to-another-machine.md");
}

#[test]
fn adopt() {
    follow("adopt.md");
}

#[test]
fn recovery() {
    follow("recovery.md");
}
