//! Volumes: what apply has to do (`plan`, by `facts`) and doing it (`apply`, `create`, `change`,
//! `resize`), moving them and their files (`migrate`, `transfer`), what engines call them (`aliased`),
//! what an orchestrator asks for (`provision`, `amend`),
//! how they go and come back (`delete`, `undelete`, `purge`), when scratch is emptied (`temp`, `wipe`),
//! other names (`rename`), whether anybody uses them (`unused`), their state by what became of them
//! (`state`, `health`, `fsck`), their description beside the data (`describe`), and how users see them
//! (`view`).

pub(crate) mod adopt;
pub(crate) mod aliased;
pub(crate) mod amend;
pub(crate) mod apply;
pub(crate) mod change;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod describe;
pub(crate) mod facts;
pub(crate) mod fsck;
pub(crate) mod health;
pub(crate) mod migrate;
mod mounted;
pub(crate) mod plan;
pub(crate) mod provision;
pub(crate) mod purge;
pub(crate) mod rename;
pub(crate) mod resize;
pub(crate) mod state;
pub(crate) mod temp;
pub(crate) mod transfer;
pub(crate) mod undelete;
pub(crate) mod unused;
pub(crate) mod view;
pub(crate) mod wipe;
