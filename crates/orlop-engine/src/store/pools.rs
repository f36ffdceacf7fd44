//! Pools and the sums that admission decides by. Whether there is room is the engine's to decide,
//! in the same write as the insertion that takes it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use orlop_model::{
    Error, ErrorKind, PoolId, PoolName, Result, Size,
    resource::{Backend, Medium},
};
use rusqlite::{Row, params};

use super::{
    Reader, Tx,
    failure::{is_duplicate, is_foreign_key},
    value::{At, Json, Word},
};

/// A pool.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolRow {
    /// The pool, wherever it is carried.
    pub id: PoolId,
    /// The node that made it.
    pub node: String,
    /// Its name.
    pub name: PoolName,
    /// What is in it.
    pub backend: Backend,
    /// Its directory.
    pub path: PathBuf,
    /// What that directory is on.
    pub medium: Medium,
    /// How much it was given.
    pub capacity: Size,
    /// The factor by which promises may exceed that; at least 1.0.
    pub overcommit: f64,
    /// When it was made.
    pub created_at: Timestamp,
    /// The sum of the sizes in it, released ones included, and of what snapshots can take. Read only: the store sums.
    pub reserved: Size,
    /// The sum of what its images take, each as last seen. Read only: the store sums.
    pub allocated: Size,
    /// How many volumes it holds, released ones included. Read only: the store counts.
    pub volumes: u64,
    /// How many snapshots it holds. Read only: the store counts.
    pub snapshots: u64,
}

const SELECT: &str = "SELECT id, node, name, backend, path, capacity_bytes, overcommit, created_at,
    reserved_bytes, allocated_bytes, volumes, snapshots, medium FROM pools";

fn row(row: &Row<'_>) -> rusqlite::Result<PoolRow> {
    Ok(PoolRow {
        id: row.get::<_, Word<_>>(0)?.0,
        node: row.get(1)?,
        name: row.get::<_, Word<_>>(2)?.0,
        backend: row.get::<_, Word<_>>(3)?.0,
        path: PathBuf::from(row.get::<_, String>(4)?),
        capacity: Size::from_bytes(row.get(5)?),
        overcommit: row.get(6)?,
        created_at: row.get::<_, At>(7)?.0,
        reserved: Size::from_bytes(row.get(8)?),
        allocated: Size::from_bytes(row.get(9)?),
        volumes: row.get(10)?,
        snapshots: row.get(11)?,
        medium: row.get::<_, Json<_>>(12)?.0,
    })
}

/// One pool.
pub fn by_id(r: &Reader<'_>, id: PoolId) -> Result<Option<PoolRow>> {
    r.one("read a pool", &format!("{SELECT} WHERE id = ?1"), [Word(&id)], row)
}

/// One pool, by name.
pub fn by_name(r: &Reader<'_>, name: &PoolName) -> Result<Option<PoolRow>> {
    r.one("read a pool", &format!("{SELECT} WHERE name = ?1"), [name.as_str()], row)
}

/// All pools, by name.
pub fn all(r: &Reader<'_>) -> Result<Vec<PoolRow>> {
    r.all("list pools", &format!("{SELECT} ORDER BY name"), [], row)
}

/// Adds a pool; [`ErrorKind::AlreadyExists`] where its id, name or path is taken. The sums of
/// `pool` are not looked at.
pub fn insert(tx: &Tx<'_>, pool: &PoolRow) -> Result<()> {
    let sql =
        "INSERT INTO pools (id, node, name, backend, path, capacity_bytes, overcommit, created_at, medium)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let params = params![
        Word(&pool.id),
        tx.node(),
        pool.name.as_str(),
        Word(&pool.backend),
        text(&pool.path)?,
        pool.capacity.bytes(),
        pool.overcommit,
        At(pool.created_at),
        Json(&pool.medium)
    ];
    match tx.try_execute(sql, params) {
        Ok(_) => Ok(()),
        Err(error) if is_duplicate(&error) => Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("there is already a pool named {} or at {}", pool.name, pool.path.display()),
        )
        .object(format!("pool {}", pool.name))
        .hint("`orlop pool list` shows the pools and where they are")),
        Err(error) => Err(tx.failed("add a pool", &error)),
    }
}

/// Changes what may be promised.
pub fn set_capacity(tx: &Tx<'_>, id: PoolId, capacity: Size, overcommit: f64) -> Result<()> {
    let sql = "UPDATE pools SET capacity_bytes = ?2, overcommit = ?3 WHERE id = ?1";
    tx.execute("change a pool", sql, params![Word(&id), capacity.bytes(), overcommit]).map(drop)
}

/// What the triggers keep of a pool, summed anew: volumes, data on its way there, snapshots.
const SUMS: &str = "SELECT coalesce(sum(reserved), 0) AS reserved, coalesce(sum(allocated), 0) AS allocated,
    coalesce(sum(volume), 0) AS volumes, coalesce(sum(snapshot), 0) AS snapshots FROM (
    SELECT size_bytes AS reserved, allocated_bytes AS allocated, 1 AS volume, 0 AS snapshot
        FROM placements WHERE pool_id = ?1
    UNION ALL SELECT size_bytes, 0, 0, 0 FROM incoming WHERE pool_id = ?1
    UNION ALL SELECT reserved_bytes, exclusive_bytes, 0, 1 FROM snapshots WHERE pool_id = ?1)";

/// What of the kept sums is wrong, in words; `None` where they are the sums.
pub fn wrong_sums(r: &Reader<'_>, id: PoolId) -> Result<Option<String>> {
    let read = |row: &Row<'_>| -> rusqlite::Result<(u64, u64, u64, u64)> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    };
    let sql = "SELECT reserved_bytes, allocated_bytes, volumes, snapshots FROM pools WHERE id = ?1";
    let Some(kept) = r.one("sum a pool", sql, [Word(&id)], read)? else { return Ok(None) };
    let Some(real) = r.one("sum a pool", SUMS, [Word(&id)], read)? else { return Ok(None) };
    let words = |(reserved, allocated, volumes, snapshots)| {
        format!(
            "{reserved} bytes reserved and {allocated} allocated by {volumes} volumes and {snapshots} snapshots"
        )
    };
    Ok((kept != real).then(|| format!("it keeps {}, and has {}", words(kept), words(real))))
}

/// Sums a pool again, for what the triggers did not see.
pub fn sum_again(tx: &Tx<'_>, id: PoolId) -> Result<()> {
    let sql = format!(
        "UPDATE pools SET (reserved_bytes, allocated_bytes, volumes, snapshots) = ({SUMS}) WHERE id = ?1"
    );
    tx.execute("sum a pool", &sql, [Word(&id)]).map(drop)
}

/// Records what is now known of what its directory is on.
pub fn set_medium(tx: &Tx<'_>, id: PoolId, medium: &Medium) -> Result<()> {
    let sql = "UPDATE pools SET medium = ?2 WHERE id = ?1";
    tx.execute("change a pool", sql, params![Word(&id), Json(medium)]).map(drop)
}

/// Forgets a pool, and says whether there was one. [`ErrorKind::InUse`] where anything is recorded in it.
pub fn delete(tx: &Tx<'_>, id: PoolId) -> Result<bool> {
    match tx.try_execute("DELETE FROM pools WHERE id = ?1", [Word(&id)]) {
        Ok(rows) => Ok(rows > 0),
        Err(error) if is_foreign_key(&error) => {
            Err(Error::new(ErrorKind::InUse, "the pool still holds data, or some is on its way there")
                .object(format!("pool {id}"))
                .hint("orlop pool list shows what each pool holds, orlop operation list what is under way"))
        }
        Err(error) => Err(tx.failed("forget a pool", &error)),
    }
}

/// A path as the store keeps it, which is text.
pub(super) fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, format!("the path {} is not UTF-8", path.display()))
            .object("path")
            .hint("use a path of UTF-8 characters")
    })
}
