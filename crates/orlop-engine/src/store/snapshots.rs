//! Snapshots and where their data is.

use jiff::Timestamp;
use orlop_model::{
    Error, ErrorKind, PoolId, PoolName, Result, Size, SnapshotGroupId, SnapshotId, SnapshotManifest,
    SnapshotName, VolumeId, WorkspaceName,
    resource::{Consistency, Front, SnapshotState},
};
use rusqlite::{Row, ToSql, params, params_from_iter};

use super::{
    Reader, Tx,
    failure::{is_duplicate, is_foreign_key},
    snapshot_groups::{self, SnapshotGroupRow},
    value::{At, Json, Word},
};
use crate::{
    format::{Origin, Placement},
    request::{Order, Page, SnapshotKey, SnapshotQuery},
};

/// No page is longer.
const LONGEST: usize = 1000;

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    /// The snapshot, for ever.
    pub id: SnapshotId,
    /// The node that made it.
    pub node: String,
    /// The namespace of its name.
    pub workspace: WorkspaceName,
    /// What was asked for; its name is unique in the workspace. The volume's name in it is the one that
    /// the volume has, or had last.
    pub manifest: SnapshotManifest,
    /// The volume it is of, which may be gone.
    pub volume: VolumeId,
    /// Where it is in its life.
    pub state: SnapshotState,
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
    /// When it is deleted by itself.
    pub expires_at: Option<Timestamp>,
    /// Whether the schedule of its volume made it.
    pub scheduled: bool,
    /// What it was made with, at one moment, and goes with; never changes.
    pub group: Option<SnapshotGroupRow>,
    /// Of which moment its data is.
    pub consistency: Consistency,
    /// What its volume was made from at that moment.
    pub source: Option<Origin>,
    /// The pool; never changes.
    pub pool: PoolId,
    /// Its name. Read only: it is the pool's.
    pub pool_name: PoolName,
    /// The length of its image.
    pub size: Size,
    /// What it can take of the host's filesystem at most.
    pub reserved: Size,
    /// What it takes that it shares with nothing else, as last seen.
    pub exclusive: Size,
    /// Specific to the backend.
    pub detail: Placement,
}

impl SnapshotRow {
    /// `workspace/name`, as messages call it.
    pub fn title(&self) -> String {
        format!("{}/{}", self.workspace, self.manifest.name)
    }
}

const SELECT: &str =
    "SELECT s.id, s.node, s.workspace, s.manifest, s.volume_id, s.state, s.reason, s.generation,
    s.owner_uid, s.created_by, s.created_at, s.updated_at, s.expires_at, s.scheduled, s.consistency, s.source,
    s.pool_id, o.name, s.size_bytes, s.reserved_bytes, s.exclusive_bytes, s.detail, v.name,
    g.id, g.workspace, g.name, g.created_by, g.known_as, g.created_at
    FROM snapshots s CROSS JOIN pools o ON o.id = s.pool_id LEFT JOIN volumes v ON v.id = s.volume_id
    LEFT JOIN snapshot_groups g ON g.id = s.group_id";

fn row(row: &Row<'_>) -> rusqlite::Result<SnapshotRow> {
    let mut manifest: SnapshotManifest = row.get::<_, Json<_>>(3)?.0;
    if let Some(name) = row.get::<_, Option<Word<_>>>(22)? {
        manifest.snapshot.volume = name.0;
    }
    Ok(SnapshotRow {
        id: row.get::<_, Word<_>>(0)?.0,
        node: row.get(1)?,
        workspace: row.get::<_, Word<_>>(2)?.0,
        manifest,
        volume: row.get::<_, Word<_>>(4)?.0,
        state: row.get::<_, Word<_>>(5)?.0,
        reason: row.get(6)?,
        generation: row.get(7)?,
        owner_uid: row.get(8)?,
        created_by: row.get::<_, Word<_>>(9)?.0,
        created_at: row.get::<_, At>(10)?.0,
        updated_at: row.get::<_, At>(11)?.0,
        expires_at: row.get::<_, Option<At>>(12)?.map(|at| at.0),
        scheduled: row.get(13)?,
        consistency: row.get::<_, Word<_>>(14)?.0,
        source: row.get::<_, Option<Json<_>>>(15)?.map(|origin| origin.0),
        pool: row.get::<_, Word<_>>(16)?.0,
        pool_name: row.get::<_, Word<_>>(17)?.0,
        size: Size::from_bytes(row.get(18)?),
        reserved: Size::from_bytes(row.get(19)?),
        exclusive: Size::from_bytes(row.get(20)?),
        detail: row.get::<_, Json<_>>(21)?.0,
        group: snapshot_groups::columns(row, 23)?,
    })
}

/// One snapshot.
pub fn by_id(r: &Reader<'_>, id: SnapshotId) -> Result<Option<SnapshotRow>> {
    r.one("read a snapshot", &format!("{SELECT} WHERE s.id = ?1"), [Word(&id)], row)
}

/// The snapshot of that name.
pub fn by_key(r: &Reader<'_>, key: &SnapshotKey) -> Result<Option<SnapshotRow>> {
    let sql = format!("{SELECT} WHERE s.workspace = ?1 AND s.name = ?2");
    r.one("read a snapshot", &sql, [key.workspace.as_str(), key.name.as_str()], row)
}

/// The names of the snapshots in a workspace.
pub fn names(r: &Reader<'_>, workspace: &WorkspaceName) -> Result<Vec<SnapshotName>> {
    let sql = "SELECT name FROM snapshots WHERE workspace = ?1 ORDER BY name";
    r.all("list the names of snapshots", sql, [workspace.as_str()], |row| Ok(row.get::<_, Word<_>>(0)?.0))
}

/// The snapshots of a volume, oldest first.
pub fn of_volume(r: &Reader<'_>, volume: VolumeId) -> Result<Vec<SnapshotRow>> {
    r.all("list snapshots", &format!("{SELECT} WHERE s.volume_id = ?1 ORDER BY s.id"), [Word(&volume)], row)
}

/// The snapshots of a group, in the order of their ids.
pub fn of_group(r: &Reader<'_>, group: SnapshotGroupId) -> Result<Vec<SnapshotRow>> {
    r.all("list snapshots", &format!("{SELECT} WHERE s.group_id = ?1 ORDER BY s.id"), [Word(&group)], row)
}

/// Those whose time is over.
pub fn expired(r: &Reader<'_>, now: Timestamp) -> Result<Vec<SnapshotRow>> {
    let sql =
        format!("{SELECT} WHERE s.expires_at IS NOT NULL AND s.expires_at <= ?1 AND s.state != 'pending'");
    r.all("list snapshots", &sql, [At(now)], row)
}

/// The ids of all snapshots in a pool.
pub fn ids_in_pool(r: &Reader<'_>, pool: PoolId) -> Result<Vec<SnapshotId>> {
    let sql = "SELECT id FROM snapshots WHERE pool_id = ?1";
    r.all("list snapshots", sql, [Word(&pool)], |row| Ok(row.get::<_, Word<_>>(0)?.0))
}

/// All snapshots in a pool.
pub fn in_pool(r: &Reader<'_>, pool: PoolId) -> Result<Vec<SnapshotRow>> {
    r.all("list snapshots", &format!("{SELECT} WHERE s.pool_id = ?1 ORDER BY s.id"), [Word(&pool)], row)
}

/// One page of the snapshots that `query` asks for. Its token is the last key, so that it stays valid
/// whatever comes and goes.
pub fn page(r: &Reader<'_>, query: &SnapshotQuery) -> Result<Page<SnapshotRow>> {
    let limit = if query.limit == 0 { LONGEST } else { query.limit.min(LONGEST) };
    let after = query.after.as_deref().map(|text| Token::parse(query.order, text)).transpose()?;
    let mut terms = vec!["true"];
    let mut values: Vec<Box<dyn ToSql + '_>> = Vec::new();
    if let Some(workspace) = &query.workspace {
        terms.push("s.workspace = ?");
        values.push(Box::new(workspace.as_str()));
    }
    if let Some(volume) = &query.volume {
        terms.push("coalesce(v.name, s.volume_name) = ?");
        values.push(Box::new(volume.as_str()));
    }
    if let Some(volume) = &query.volume_id {
        terms.push("s.volume_id = ?");
        values.push(Box::new(Word(volume)));
    }
    match &after {
        Some(Token::Name(key)) => {
            terms.push("(s.workspace, s.name) > (?, ?)");
            values.push(Box::new(key.workspace.as_str()));
            values.push(Box::new(key.name.as_str()));
        }
        Some(Token::Id(id)) => {
            terms.push("s.id > ?");
            values.push(Box::new(Word(id)));
        }
        None => {}
    }
    values.push(Box::new(limit + 1));
    let order = match query.order {
        Order::ByName => "s.workspace, s.name",
        Order::ById => "s.id",
    };
    let sql = format!("{SELECT} WHERE {} ORDER BY {order} LIMIT ?", terms.join(" AND "));
    let mut items = r.all("list snapshots", &sql, params_from_iter(values), row)?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| match query.order {
        Order::ByName => format!("{}.{}", last.workspace, last.manifest.name),
        Order::ById => last.id.to_string(),
    });
    Ok(Page { items, next })
}

/// The key of the last snapshot of a page.
enum Token {
    Name(SnapshotKey),
    Id(SnapshotId),
}

impl Token {
    fn parse(order: Order, text: &str) -> Result<Self> {
        let parse = || match order {
            Order::ByName => {
                let (workspace, name) = text.split_once('.')?;
                let name = name.parse::<SnapshotName>().ok()?;
                Some(Self::Name(SnapshotKey { workspace: workspace.parse().ok()?, name }))
            }
            Order::ById => text.parse().ok().map(Self::Id),
        };
        parse().ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("{text:?} is no token of a page"))
                .object("after")
                .hint("pass the token that the page before came with, unchanged")
        })
    }
}

/// Adds a snapshot. [`ErrorKind::AlreadyExists`] where the name is taken, by a group too.
pub fn insert(tx: &Tx<'_>, snapshot: &SnapshotRow) -> Result<()> {
    let sql = "INSERT INTO snapshots (id, node, workspace, manifest, volume_id, state, reason, generation, owner_uid,
        created_by, created_at, updated_at, expires_at, scheduled, consistency, source, pool_id, size_bytes,
        reserved_bytes, exclusive_bytes, detail, group_id)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)";
    let params = params![
        Word(&snapshot.id),
        tx.node(),
        snapshot.workspace.as_str(),
        Json(&snapshot.manifest),
        Word(&snapshot.volume),
        Word(&snapshot.state),
        snapshot.reason,
        snapshot.generation,
        snapshot.owner_uid,
        Word(&snapshot.created_by),
        At(snapshot.created_at),
        At(snapshot.updated_at),
        snapshot.expires_at.map(At),
        snapshot.scheduled,
        Word(&snapshot.consistency),
        snapshot.source.as_ref().map(Json),
        Word(&snapshot.pool),
        snapshot.size.bytes(),
        snapshot.reserved.bytes(),
        snapshot.exclusive.bytes(),
        Json(&snapshot.detail),
        snapshot.group.as_ref().map(|group| Word(&group.id))
    ];
    let object = format!("snapshot {}", snapshot.title());
    let key = SnapshotKey { workspace: snapshot.workspace.clone(), name: snapshot.manifest.name.clone() };
    if let Some(group) = snapshot_groups::by_key(tx, &key)? {
        let message = format!("there is already a group of snapshots {}", group.title());
        return Err(Error::new(ErrorKind::AlreadyExists, message).object(object).hint("choose another name"));
    }
    match tx.try_execute(sql, params) {
        Ok(_) => Ok(()),
        Err(error) if is_duplicate(&error) => {
            let message = format!("there is already a snapshot {}", snapshot.title());
            Err(Error::new(ErrorKind::AlreadyExists, message).object(object).hint("choose another name"))
        }
        Err(error) if is_foreign_key(&error) => {
            let (workspace, pool) = (&snapshot.workspace, &snapshot.pool_name);
            let message = format!("the workspace {workspace} or the pool {pool} is gone");
            Err(Error::new(ErrorKind::NotFound, message).object(object))
        }
        Err(error) => Err(tx.failed("add a snapshot", &error)),
    }
}

/// Writes what may change of a snapshot, and raises its generation by one. [`ErrorKind::Conflict`]
/// where the stored generation is another one, or it is gone.
pub fn update(tx: &Tx<'_>, snapshot: &mut SnapshotRow) -> Result<()> {
    let sql = "UPDATE snapshots SET manifest = ?3, state = ?4, reason = ?5, updated_at = ?6, expires_at = ?7,
        consistency = ?8, created_at = ?9, reserved_bytes = ?10, generation = generation + 1 WHERE id = ?1 AND generation = ?2";
    let params = params![
        Word(&snapshot.id),
        snapshot.generation,
        Json(&snapshot.manifest),
        Word(&snapshot.state),
        snapshot.reason,
        At(snapshot.updated_at),
        snapshot.expires_at.map(At),
        Word(&snapshot.consistency),
        At(snapshot.created_at),
        snapshot.reserved.bytes()
    ];
    if tx.execute("change a snapshot", sql, params)? == 0 {
        let title = snapshot.title();
        return Err(Error::new(ErrorKind::Conflict, format!("the snapshot {title} was changed meanwhile"))
            .object(format!("snapshot {title}"))
            .hint("read it again and repeat the change"));
    }
    snapshot.generation += 1;
    Ok(())
}

/// Records what it was seen to take for itself; no change of the record.
pub fn observe(tx: &Tx<'_>, id: SnapshotId, exclusive: Size) -> Result<()> {
    let sql = "UPDATE snapshots SET exclusive_bytes = ?2 WHERE id = ?1";
    tx.execute("record the use of a snapshot", sql, params![Word(&id), exclusive.bytes()]).map(drop)
}

/// Has the snapshots of a volume, which is about to be forgotten, keep the name that it has.
pub(super) fn keep_name(tx: &Tx<'_>, volume: VolumeId) -> Result<()> {
    let sql = "UPDATE snapshots SET manifest = json_set(snapshots.manifest, '$.snapshot.volume', v.name)
        FROM volumes v WHERE v.id = ?1 AND snapshots.volume_id = v.id AND volume_name != v.name";
    tx.execute("keep the name of a volume", sql, [Word(&volume)]).map(drop)
}

/// Forgets a snapshot, and frees its reservation.
pub fn delete(tx: &Tx<'_>, id: SnapshotId) -> Result<bool> {
    Ok(tx.execute("forget a snapshot", "DELETE FROM snapshots WHERE id = ?1", [Word(&id)])? > 0)
}
