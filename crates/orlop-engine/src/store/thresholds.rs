//! The thresholds of use that were told of and still hold.

use std::collections::HashMap;

use orlop_model::{PoolId, Result, VolumeId};
use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::{Reader, Tx, value::Word};

/// What has thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A volume.
    Volume(VolumeId),
    /// A pool.
    Pool(PoolId),
}

/// What is measured of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Bytes in a volume.
    Bytes,
    /// Files and directories in a volume.
    Inodes,
    /// What is promised of a pool.
    Reserved,
    /// What is used of the disk under a pool.
    Disk,
}

/// Which threshold holds of what, in percent.
pub type Told = HashMap<(Subject, Measure), u8>;

/// All that hold.
pub fn all(r: &Reader<'_>) -> Result<Told> {
    let sql = "SELECT volume_id, pool_id, measure, percent FROM thresholds";
    let rows = r.all("read thresholds", sql, [], |row| {
        let subject = match row.get::<_, Option<Word<_>>>(0)? {
            Some(volume) => Subject::Volume(volume.0),
            None => Subject::Pool(row.get::<_, Word<_>>(1)?.0),
        };
        Ok(((subject, row.get::<_, Word<_>>(2)?.0), row.get(3)?))
    })?;
    Ok(rows.into_iter().collect())
}

/// Records which threshold holds; 0 for none. Says whether its volume or pool is still there.
pub fn set(tx: &Tx<'_>, subject: Subject, measure: Measure, percent: u8) -> Result<bool> {
    let (column, table, id) = match &subject {
        Subject::Volume(id) => ("volume_id", "volumes", id.to_string()),
        Subject::Pool(id) => ("pool_id", "pools", id.to_string()),
    };
    let what = "record a threshold";
    let sql = format!("DELETE FROM thresholds WHERE {column} = ?1 AND measure = ?2");
    tx.execute(what, &sql, params![id, Word(&measure)])?;
    let sql = format!("SELECT id FROM {table} WHERE id = ?1");
    let there = tx.one(what, &sql, [&id], |_| Ok(()))?.is_some();
    if there && percent > 0 {
        let sql =
            format!("INSERT INTO thresholds ({column}, measure, node, percent) VALUES (?1, ?2, ?3, ?4)");
        tx.execute(what, &sql, params![id, Word(&measure), tx.node(), percent])?;
    }
    Ok(there)
}
