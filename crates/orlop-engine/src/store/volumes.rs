//! Volumes and where their data is. Paging through them is in `page`, what is seen of them in `observed`, and
//! those that were deleted and keep their data in `released`.

mod observed;
mod page;
mod released;

use jiff::Timestamp;
use orlop_model::{
    Error, ErrorKind, FilesystemKind, Period, PoolId, PoolName, Result, Size, VolumeId, VolumeManifest,
    WorkspaceName,
    resource::{Front, VolumeState},
};
use rusqlite::{Row, params};

use super::{
    Reader, Tx,
    failure::{is_duplicate, is_foreign_key},
    snapshots,
    value::{At, Json, Word},
};
use crate::{
    format::{Origin, Placement},
    request::VolumeKey,
};

pub use observed::{applied, observe, renewed, vacant, vacate};
pub use page::page;
#[cfg(test)]
pub(super) use page::plan_of_page;
pub use released::{count_released, released_before, released_by_pool};

/// A volume.
#[derive(Debug, Clone, PartialEq)]
pub struct VolumeRow {
    /// The volume, for ever.
    pub id: VolumeId,
    /// The node that made it.
    pub node: String,
    /// The namespace of its name.
    pub workspace: WorkspaceName,
    /// What was asked for; its name is unique among the live volumes of the workspace.
    pub manifest: VolumeManifest,
    /// Where it is in its life.
    pub state: VolumeState,
    /// Why it is in that state and what to do.
    pub reason: Option<String>,
    /// Grows with every [`update`]; begins at 1.
    pub generation: u64,
    /// The uid that owns it.
    pub owner_uid: u32,
    /// Through which front it was made.
    pub created_by: Front,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its record last changed.
    pub updated_at: Timestamp,
    /// When it was deleted, for a deleting or released one.
    pub deleted_at: Option<Timestamp>,
    /// The uid that deleted it.
    pub deleted_by: Option<u32>,
    /// Since when its data is retained without a live volume; frees the name.
    pub released_at: Option<Timestamp>,
    /// Bytes in use inside, as version 1 last saw it; later ones record it in [`super::usage`].
    pub used_bytes: Option<u64>,
    /// How long after its last user left the data of a temp volume is wiped.
    pub temp_grace: Period,
    /// When its last user left with a word, while that counts. Read only: see [`vacate`].
    pub vacated_at: Option<Timestamp>,
    /// The size that its filesystem was made with.
    pub created_size: Size,
    /// The set of manifests that it was last applied with. Changed by [`applied`] only.
    pub applied_set: Option<String>,
    /// What it was made from or put back to, where it was.
    pub source: Option<Origin>,
    /// Whether it was made for one consumer and goes with it; never changes.
    pub ephemeral: bool,
    /// Where its data is.
    pub placement: PlacementRow,
}

/// Where the data of a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementRow {
    /// The pool; never changes.
    pub pool: PoolId,
    /// Its name. Read only: it is the pool's.
    pub pool_name: PoolName,
    /// What is reserved for it, and the length of an image.
    pub size: Size,
    /// What it takes of the host's filesystem, as last seen.
    pub allocated: Size,
    /// Whether its filesystem was made and flushed.
    pub initialised: bool,
    /// Specific to the backend.
    pub detail: Placement,
}

/// The name of a volume, without the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRow {
    /// The volume, for ever.
    pub id: VolumeId,
    /// As users name it.
    pub key: VolumeKey,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A volume that somebody uses: no more than figures are labelled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedRow {
    /// The volume, for ever.
    pub id: VolumeId,
    /// As users name it.
    pub key: VolumeKey,
    /// The name of its pool.
    pub pool: PoolName,
    /// Its filesystem; none where it is had as a block device.
    pub filesystem: Option<FilesystemKind>,
}

impl VolumeRow {
    /// `workspace/name`, as messages call it.
    pub fn title(&self) -> String {
        format!("{}/{}", self.workspace, self.manifest.name)
    }

    /// As users name it.
    pub fn key(&self) -> VolumeKey {
        VolumeKey { workspace: self.workspace.clone(), name: self.manifest.name.clone() }
    }
}

// The cross joins keep SQLite from beginning with anything but the volume.
const SELECT: &str =
    "SELECT v.id, v.node, v.workspace, v.manifest, v.state, v.reason, v.generation, v.owner_uid,
    v.created_by, v.created_at, v.updated_at, v.deleted_at, v.deleted_by, v.released_at, v.used_bytes,
    v.temp_grace_seconds, v.vacated_at, p.pool_id, o.name, p.size_bytes, p.allocated_bytes, p.initialised, p.detail,
    coalesce(v.created_size, p.size_bytes), v.applied_set, v.source, v.ephemeral
    FROM volumes v CROSS JOIN placements p ON p.volume_id = v.id CROSS JOIN pools o ON o.id = p.pool_id";

fn row(row: &Row<'_>) -> rusqlite::Result<VolumeRow> {
    let time = |index| row.get::<_, Option<At>>(index).map(|at| at.map(|at| at.0));
    let Json(manifest): Json<VolumeManifest> = row.get(3)?;
    Ok(VolumeRow {
        id: row.get::<_, Word<_>>(0)?.0,
        node: row.get(1)?,
        workspace: row.get::<_, Word<_>>(2)?.0,
        manifest: VolumeManifest { volume: manifest.volume.recorded(), ..manifest },
        state: row.get::<_, Word<_>>(4)?.0,
        reason: row.get(5)?,
        generation: row.get(6)?,
        owner_uid: row.get(7)?,
        created_by: row.get::<_, Word<_>>(8)?.0,
        created_at: row.get::<_, At>(9)?.0,
        updated_at: row.get::<_, At>(10)?.0,
        deleted_at: time(11)?,
        deleted_by: row.get(12)?,
        released_at: time(13)?,
        used_bytes: row.get(14)?,
        temp_grace: Period::from_seconds(row.get(15)?),
        vacated_at: time(16)?,
        created_size: Size::from_bytes(row.get(23)?),
        applied_set: row.get(24)?,
        source: row.get::<_, Option<Json<_>>>(25)?.map(|origin| origin.0),
        ephemeral: row.get(26)?,
        placement: PlacementRow {
            pool: row.get::<_, Word<_>>(17)?.0,
            pool_name: row.get::<_, Word<_>>(18)?.0,
            size: Size::from_bytes(row.get(19)?),
            allocated: Size::from_bytes(row.get(20)?),
            initialised: row.get(21)?,
            detail: row.get::<_, Json<_>>(22)?.0,
        },
    })
}

/// One volume, live or released.
pub fn by_id(r: &Reader<'_>, id: VolumeId) -> Result<Option<VolumeRow>> {
    r.one("read a volume", &format!("{SELECT} WHERE v.id = ?1"), [Word(&id)], row)
}

/// The live volume of that name.
pub fn by_key(r: &Reader<'_>, key: &VolumeKey) -> Result<Option<VolumeRow>> {
    let sql = format!("{SELECT} WHERE v.workspace = ?1 AND v.name = ?2 AND v.released_at IS NULL");
    r.one("read a volume", &sql, [key.workspace.as_str(), key.name.as_str()], row)
}

/// The volume that a front knows by that name, live or released.
pub fn by_alias(r: &Reader<'_>, front: Front, external: &str) -> Result<Option<VolumeRow>> {
    let sql =
        format!("{SELECT} WHERE v.id = (SELECT volume_id FROM aliases WHERE front = ?1 AND external = ?2)");
    r.one("read a volume", &sql, params![Word(&front), external], row)
}

/// Many volumes by id, in no order; those that are gone are missing.
pub fn by_ids(r: &Reader<'_>, ids: &[VolumeId]) -> Result<Vec<VolumeRow>> {
    let sql = format!("{SELECT} WHERE v.id IN (SELECT value FROM json_each(?1))");
    r.all("read volumes", &sql, [Json(&ids)], row)
}

/// All volumes in a state, oldest first.
pub fn in_state(r: &Reader<'_>, state: VolumeState) -> Result<Vec<VolumeRow>> {
    r.all("list volumes", &format!("{SELECT} WHERE v.state = ?1 ORDER BY v.id"), [Word(&state)], row)
}

/// The ids of all volumes in a pool, released ones included.
pub fn ids_in_pool(r: &Reader<'_>, pool: PoolId) -> Result<Vec<VolumeId>> {
    let sql = "SELECT volume_id FROM placements WHERE pool_id = ?1";
    r.all("list volumes", sql, [Word(&pool)], |row| Ok(row.get::<_, Word<_>>(0)?.0))
}

/// The names of all live volumes, by workspace and name, with what a list of names shows.
pub fn names(r: &Reader<'_>) -> Result<Vec<NameRow>> {
    let sql = "SELECT id, workspace, name, created_at FROM volumes WHERE released_at IS NULL
        ORDER BY workspace, name";
    r.all("list the names of volumes", sql, [], |row| {
        Ok(NameRow {
            id: row.get::<_, Word<_>>(0)?.0,
            key: VolumeKey { workspace: row.get::<_, Word<_>>(1)?.0, name: row.get::<_, Word<_>>(2)?.0 },
            created_at: row.get::<_, At>(3)?.0,
        })
    })
}

/// The volumes that have attachments, by id.
pub fn attached(r: &Reader<'_>) -> Result<Vec<AttachedRow>> {
    let sql = "SELECT v.id, v.workspace, v.name, o.name, p.detail
        FROM (SELECT DISTINCT volume_id FROM attachments) a CROSS JOIN volumes v ON v.id = a.volume_id
        CROSS JOIN placements p ON p.volume_id = v.id CROSS JOIN pools o ON o.id = p.pool_id ORDER BY v.id";
    r.all("list the volumes in use", sql, [], |row| {
        let Placement::Image(placement) = row.get::<_, Json<_>>(4)?.0;
        Ok(AttachedRow {
            id: row.get::<_, Word<_>>(0)?.0,
            key: VolumeKey { workspace: row.get::<_, Word<_>>(1)?.0, name: row.get::<_, Word<_>>(2)?.0 },
            pool: row.get::<_, Word<_>>(3)?.0,
            filesystem: placement.filesystem().map(|filesystem| filesystem.kind),
        })
    })
}

/// How many volumes are in each state; states without any are missing.
pub fn count_by_state(r: &Reader<'_>) -> Result<Vec<(VolumeState, u64)>> {
    let sql = "SELECT state, count(*) FROM volumes GROUP BY state";
    r.all("count volumes", sql, [], |row| Ok((row.get::<_, Word<_>>(0)?.0, row.get(1)?)))
}

/// Adds a volume and its placement. [`ErrorKind::AlreadyExists`] where a live volume has the name,
/// [`ErrorKind::NotFound`] where the workspace or the pool is gone.
pub fn insert(tx: &Tx<'_>, volume: &VolumeRow) -> Result<()> {
    let sql = "INSERT INTO volumes (id, node, workspace, manifest, state, reason, generation, owner_uid, created_by,
        created_at, updated_at, deleted_at, deleted_by, released_at, used_bytes, temp_grace_seconds, created_size,
        applied_set, source, ephemeral)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)";
    let params = params![
        Word(&volume.id),
        tx.node(),
        volume.workspace.as_str(),
        Json(&volume.manifest),
        Word(&volume.state),
        volume.reason,
        volume.generation,
        volume.owner_uid,
        Word(&volume.created_by),
        At(volume.created_at),
        At(volume.updated_at),
        volume.deleted_at.map(At),
        volume.deleted_by,
        volume.released_at.map(At),
        volume.used_bytes,
        volume.temp_grace.seconds(),
        volume.created_size.bytes(),
        volume.applied_set,
        volume.source.as_ref().map(Json),
        volume.ephemeral
    ];
    tx.try_execute(sql, params).map_err(|error| refused(tx, volume, "add a volume", &error))?;
    place(tx, volume)
}

/// Records where the data of a volume is.
pub(super) fn place(tx: &Tx<'_>, volume: &VolumeRow) -> Result<()> {
    let sql =
        "INSERT INTO placements (volume_id, pool_id, node, size_bytes, allocated_bytes, initialised, detail)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let placement = &volume.placement;
    let params = params![
        Word(&volume.id),
        Word(&placement.pool),
        tx.node(),
        placement.size.bytes(),
        placement.allocated.bytes(),
        placement.initialised,
        Json(&placement.detail)
    ];
    tx.try_execute(sql, params).map_err(|error| refused(tx, volume, "place a volume", &error)).map(drop)
}

/// Writes what may change of a volume and its placement, and raises `volume.generation` by one.
/// [`ErrorKind::Conflict`] where the stored generation is another one, [`ErrorKind::NotFound`]
/// where the volume is gone. Id, workspace, pool, creator and what is only observed stay.
pub fn update(tx: &Tx<'_>, volume: &mut VolumeRow) -> Result<()> {
    let sql = "UPDATE volumes SET manifest = ?3, state = ?4, reason = ?5, owner_uid = ?6, updated_at = ?7,
        deleted_at = ?8, deleted_by = ?9, released_at = ?10, temp_grace_seconds = ?11, created_size = ?12,
        source = ?13, generation = generation + 1
        WHERE id = ?1 AND generation = ?2";
    let params = params![
        Word(&volume.id),
        volume.generation,
        Json(&volume.manifest),
        Word(&volume.state),
        volume.reason,
        volume.owner_uid,
        At(volume.updated_at),
        volume.deleted_at.map(At),
        volume.deleted_by,
        volume.released_at.map(At),
        volume.temp_grace.seconds(),
        volume.created_size.bytes(),
        volume.source.as_ref().map(Json)
    ];
    let what = "change a volume";
    if tx.try_execute(sql, params).map_err(|error| refused(tx, volume, what, &error))? == 0 {
        return Err(outdated(tx, volume)?);
    }
    let placement = &volume.placement;
    let sql = "UPDATE placements SET size_bytes = ?3, initialised = ?4, detail = ?5
        WHERE volume_id = ?1 AND pool_id = ?2";
    let params = params![
        Word(&volume.id),
        Word(&placement.pool),
        placement.size.bytes(),
        placement.initialised,
        Json(&placement.detail)
    ];
    tx.execute(what, sql, params)?;
    volume.generation += 1;
    Ok(())
}

/// Forgets a volume with its placement and aliases, and says whether there was one; frees its
/// reservation. [`ErrorKind::InUse`] where attachments are recorded.
pub fn delete(tx: &Tx<'_>, id: VolumeId) -> Result<bool> {
    snapshots::keep_name(tx, id)?;
    match tx.try_execute("DELETE FROM volumes WHERE id = ?1", [Word(&id)]) {
        Ok(rows) => Ok(rows > 0),
        Err(error) if is_foreign_key(&error) => {
            let message = "the volume still has attachments";
            Err(Error::new(ErrorKind::InUse, message).object(format!("volume {id}")))
        }
        Err(error) => Err(tx.failed("forget a volume", &error)),
    }
}

fn refused(tx: &Tx<'_>, volume: &VolumeRow, what: &str, error: &rusqlite::Error) -> Error {
    let object = format!("volume {}", volume.title());
    if is_duplicate(error) {
        return Error::new(ErrorKind::AlreadyExists, format!("there is already a volume {}", volume.title()))
            .object(object);
    }
    if is_foreign_key(error) {
        let (workspace, pool) = (&volume.workspace, &volume.placement.pool_name);
        return Error::new(
            ErrorKind::NotFound,
            format!("the workspace {workspace} or the pool {pool} is gone"),
        )
        .object(object)
        .hint("`orlop workspace get` and `orlop pool list` show what there is");
    }
    tx.failed(what, error)
}

fn outdated(tx: &Tx<'_>, volume: &VolumeRow) -> Result<Error> {
    let (title, object) = (volume.title(), format!("volume {}", volume.title()));
    let Some(now) = by_id(tx, volume.id)? else {
        return Ok(Error::new(ErrorKind::NotFound, format!("the volume {title} is gone")).object(object));
    };
    let message = format!(
        "the volume {title} was changed meanwhile: generation {} was read, and it is at {}",
        volume.generation, now.generation
    );
    Ok(Error::new(ErrorKind::Conflict, message).object(object).hint("read it again and repeat the change"))
}
