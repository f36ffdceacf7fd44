//! Aliases: the names by which a front's engine knows volumes, verbatim.

use std::collections::HashMap;

use jiff::Timestamp;
use orlop_model::{Error, ErrorKind, Result, VolumeId, resource::Front};
use rusqlite::{Row, params};

use super::{
    Reader, Tx,
    failure::is_duplicate,
    value::{At, Json, Word},
};

/// A front's name for a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasRow {
    /// Whose name.
    pub front: Front,
    /// The name, verbatim; unique with the front.
    pub external: String,
    /// The volume, live or released.
    pub volume: VolumeId,
    /// The node that recorded it.
    pub node: String,
    /// When it was recorded.
    pub created_at: Timestamp,
}

const SELECT: &str = "SELECT front, external, volume_id, node, created_at FROM aliases";

fn row(row: &Row<'_>) -> rusqlite::Result<AliasRow> {
    Ok(AliasRow {
        front: row.get::<_, Word<_>>(0)?.0,
        external: row.get(1)?,
        volume: row.get::<_, Word<_>>(2)?.0,
        node: row.get(3)?,
        created_at: row.get::<_, At>(4)?.0,
    })
}

/// The alias of that name.
pub fn find(r: &Reader<'_>, front: Front, external: &str) -> Result<Option<AliasRow>> {
    let sql = format!("{SELECT} WHERE front = ?1 AND external = ?2");
    r.one("read an alias", &sql, params![Word(&front), external], row)
}

/// All aliases of a front, by name.
pub fn of_front(r: &Reader<'_>, front: Front) -> Result<Vec<AliasRow>> {
    r.all("list aliases", &format!("{SELECT} WHERE front = ?1 ORDER BY external"), [Word(&front)], row)
}

/// The aliases of each of those volumes that has any, by name.
pub fn of_volumes(r: &Reader<'_>, volumes: &[VolumeId]) -> Result<HashMap<VolumeId, Vec<AliasRow>>> {
    let sql =
        format!("{SELECT} WHERE volume_id IN (SELECT value FROM json_each(?1)) ORDER BY external, front");
    let mut map: HashMap<_, Vec<_>> = HashMap::new();
    for alias in r.all("list aliases", &sql, [Json(&volumes)], row)? {
        map.entry(alias.volume).or_default().push(alias);
    }
    Ok(map)
}

/// Records an alias; the same again changes nothing, and one that means another volume is
/// [`ErrorKind::AlreadyExists`].
pub fn insert(tx: &Tx<'_>, alias: &AliasRow) -> Result<()> {
    if find(tx, alias.front, &alias.external)?.is_some_and(|there| there.volume == alias.volume) {
        return Ok(());
    }
    let sql =
        "INSERT INTO aliases (front, external, volume_id, node, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    let (front, external) = (Word(&alias.front), alias.external.as_str());
    match tx.try_execute(sql, params![front, external, Word(&alias.volume), tx.node(), At(alias.created_at)])
    {
        Ok(_) => Ok(()),
        Err(error) if is_duplicate(&error) => Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("{} knows another volume as {external:?}", alias.front.as_str()),
        )
        .object(format!("alias {external:?}"))),
        Err(error) => Err(tx.failed("record an alias", &error)),
    }
}

/// Remembers a name that a front uses, unless it means something already.
pub fn note(tx: &Tx<'_>, alias: &AliasRow) -> Result<()> {
    let sql = "INSERT OR IGNORE INTO aliases (front, external, volume_id, node, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5)";
    let (front, external) = (Word(&alias.front), alias.external.as_str());
    let params = params![front, external, Word(&alias.volume), tx.node(), At(alias.created_at)];
    tx.execute("remember an alias", sql, params).map(drop)
}

/// Forgets one alias, and says whether there was one.
pub fn delete(tx: &Tx<'_>, front: Front, external: &str) -> Result<bool> {
    let sql = "DELETE FROM aliases WHERE front = ?1 AND external = ?2";
    Ok(tx.execute("forget an alias", sql, params![Word(&front), external])? > 0)
}

/// Sets the aliases of a volume aside, so that they are free for another until [`restore`].
pub fn set_aside(tx: &Tx<'_>, volume: VolumeId) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO released_aliases (volume_id, front, external, node, created_at)
        SELECT volume_id, front, external, node, created_at FROM aliases WHERE volume_id = ?1";
    tx.execute("set aliases aside", sql, [Word(&volume)])?;
    delete_of_volume(tx, volume).map(drop)
}

/// The aliases of a volume that are set aside, by front and name.
pub fn aside(r: &Reader<'_>, volume: VolumeId) -> Result<Vec<AliasRow>> {
    let sql = "SELECT front, external, volume_id, node, created_at FROM released_aliases
        WHERE volume_id = ?1 ORDER BY front, external";
    r.all("list aliases", sql, [Word(&volume)], row)
}

/// Records an alias of a released volume as set aside.
pub fn put_aside(tx: &Tx<'_>, alias: &AliasRow) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO released_aliases (volume_id, front, external, node, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5)";
    let (volume, front, external) = (Word(&alias.volume), Word(&alias.front), alias.external.as_str());
    tx.execute("set an alias aside", sql, params![volume, front, external, tx.node(), At(alias.created_at)])
        .map(drop)
}

/// Gives a volume those of the aliases that were set aside, and forgets the others.
pub fn restore(tx: &Tx<'_>, volume: VolumeId, names: &[AliasRow]) -> Result<()> {
    for alias in names {
        note(tx, alias)?;
    }
    tx.execute("restore aliases", "DELETE FROM released_aliases WHERE volume_id = ?1", [Word(&volume)])
        .map(drop)
}

/// The aliases of a volume, by front and name.
pub fn of_volume(r: &Reader<'_>, volume: VolumeId) -> Result<Vec<AliasRow>> {
    let sql = format!("{SELECT} WHERE volume_id = ?1 ORDER BY front, external");
    r.all("list aliases", &sql, [Word(&volume)], row)
}

/// Forgets all aliases of a volume, and says how many there were. Deleting the volume does it too.
pub fn delete_of_volume(tx: &Tx<'_>, volume: VolumeId) -> Result<usize> {
    tx.execute("forget aliases", "DELETE FROM aliases WHERE volume_id = ?1", [Word(&volume)])
}
