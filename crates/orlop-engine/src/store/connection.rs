//! What queries run on: a [`Reader`] sees one state of the store, a [`Tx`] can also change it.

use std::{cell::Cell, ops::Deref, path::Path};

use orlop_model::{Error, Result};
use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::failure::failed;

/// One consistent view of the store: queries made through the same reader see the same state.
pub struct Reader<'c> {
    connection: &'c Connection,
    file: &'c Path,
}

/// A change of the store that becomes durable as a whole or not at all.
pub struct Tx<'c> {
    reader: Reader<'c>,
    node: &'c str,
    /// The newest event appended in this transaction; 0 where there is none.
    newest_event: Cell<u64>,
}

impl<'c> Deref for Tx<'c> {
    type Target = Reader<'c>;

    fn deref(&self) -> &Reader<'c> {
        &self.reader
    }
}

impl<'c> Reader<'c> {
    pub(super) fn new(connection: &'c Connection, file: &'c Path) -> Self {
        Self { connection, file }
    }

    /// The error of a failed statement. `what` completes "could not …".
    pub(super) fn failed(&self, what: &str, error: &rusqlite::Error) -> Error {
        failed(self.file, what, error)
    }

    /// The one row of a query, if there is one.
    pub(super) fn one<T>(
        &self,
        what: &str,
        sql: &str,
        params: impl Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let run = || self.connection.prepare_cached(sql)?.query_row(params, map).optional();
        run().map_err(|error| self.failed(what, &error))
    }

    /// All rows of a query.
    pub(super) fn all<T>(
        &self,
        what: &str,
        sql: &str,
        params: impl Params,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let run =
            || self.connection.prepare_cached(sql)?.query_map(params, map)?.collect::<rusqlite::Result<_>>();
        run().map_err(|error| self.failed(what, &error))
    }
}

impl<'c> Tx<'c> {
    pub(super) fn new(connection: &'c Connection, file: &'c Path, node: &'c str) -> Self {
        Self { reader: Reader::new(connection, file), node, newest_event: Cell::new(0) }
    }

    /// The node that every row carries.
    pub(super) fn node(&self) -> &str {
        self.node
    }

    pub(super) fn newest_event(&self) -> u64 {
        self.newest_event.get()
    }

    pub(super) fn set_newest_event(&self, sequence: u64) {
        self.newest_event.set(sequence);
    }

    pub(super) fn last_rowid(&self) -> i64 {
        self.connection.last_insert_rowid()
    }

    /// Runs a statement and says how many rows it changed.
    pub(super) fn execute(&self, what: &str, sql: &str, params: impl Params) -> Result<usize> {
        self.try_execute(sql, params).map_err(|error| self.failed(what, &error))
    }

    /// The same, for callers that tell a broken constraint from a fault.
    pub(super) fn try_execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.connection.prepare_cached(sql)?.execute(params)
    }
}

#[cfg(test)]
impl Tx<'_> {
    /// What needs another page from now on fails as on a full disk.
    pub(super) fn limit_pages_to_those_there_are(&self) {
        // SQLite never goes below the pages that there are.
        self.connection.pragma_update(None, "max_page_count", 1).unwrap_or_default();
    }
}
