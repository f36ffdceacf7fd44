//! `orlop.pool`, the file that makes a directory a pool.

use std::path::Path;

use jiff::Timestamp;
use orlop_model::{PoolId, Result, resource::Backend};
use serde::{Deserialize, Serialize};

use super::{FIRST, decode, encode};

/// What `orlop.pool` says. A name or a capacity is not in it: those belong to the store that uses
/// the pool, and a pool may be carried to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolFile {
    /// The format of this file. Others in the pool may have a newer one.
    pub format: u32,
    /// The pool, wherever it is carried.
    pub id: PoolId,
    /// What is in it.
    pub backend: Backend,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was taken off the node that used it, by an export: it is whole, and nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exported_at: Option<Timestamp>,
}

impl PoolFile {
    /// One of the format that this build writes.
    pub fn new(id: PoolId, backend: Backend, created_at: Timestamp) -> Self {
        Self { format: FIRST, id, backend, created_at, exported_at: None }
    }

    /// Reads it. `file` is only for messages. [`orlop_model::ErrorKind::NewerFormat`] where a newer
    /// build wrote it, [`orlop_model::ErrorKind::Damaged`] where it is none.
    pub fn decode(bytes: &[u8], file: &Path) -> Result<Self> {
        decode(bytes, file)
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Result<Vec<u8>> {
        encode(self, "orlop.pool")
    }
}
