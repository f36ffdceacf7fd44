//! What all operations share: the store, the locks, the pools that are open, and small helpers to
//! find rows and to open entries of the journal. No operation lives here.

use std::{
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::Timestamp;
use orlop_model::{
    Error, ErrorKind, OperationId, Result, SnapshotId, VolumeId, WorkspaceName, error::nearest,
    resource::VolumeState,
};
use orlop_sys::{durable::FileLock, target::TargetRoot};
use uuid::Uuid;

use crate::{
    attachment::place::Places,
    authority::{self, Rule},
    backend::image::Image,
    background::Signal,
    blank::Blanks,
    expiry::Expiry,
    format::Placement,
    locks::Locks,
    observation::{device::Missing, watch::Warnings},
    pool::{Pools, room::Rooms, share::Shares},
    reconcile::frozen::Frozen,
    request::{Caller, EngineConfig, VolumeRef},
    running::Running,
    statistics::Tally,
    store::{Intent, OperationRow, Reader, Store, VolumeRow, WorkspaceRow, volumes, workspaces},
    volume::{health::Watch, temp::Countdowns},
};

/// One engine's state. What is here is about the whole, never about an idle volume.
pub(crate) struct Core {
    pub(crate) config: EngineConfig,
    /// The state directory without symbolic links.
    pub(crate) state_dir: PathBuf,
    pub(crate) boot_id: String,
    pub(crate) store: Store,
    pub(crate) locks: Locks,
    pub(crate) pools: Pools,
    pub(crate) rooms: Rooms,
    pub(crate) places: Places,
    /// Where an orchestrator names its targets, where one is served.
    pub(crate) node_root: Option<TargetRoot>,
    pub(crate) blanks: Blanks,
    pub(crate) countdowns: Countdowns,
    pub(crate) expired_snapshots: Expiry<SnapshotId>,
    pub(crate) expired_volumes: Expiry<VolumeId>,
    pub(crate) shares: Shares,
    pub(crate) tally: Tally,
    pub(crate) running: Running,
    pub(crate) watch: Watch,
    pub(crate) warnings: Warnings,
    pub(crate) missing: Missing,
    pub(crate) frozen: Frozen,
    pub(crate) signal: Signal,
    pub(crate) recovered: AtomicBool,
    /// Why mounts made here are not seen by the host; empty where they are.
    pub(crate) problems: Mutex<Vec<String>>,
    /// Held for as long as the engine lives.
    pub(crate) _lock: FileLock,
}

impl Core {
    pub(crate) fn now() -> Timestamp {
        Timestamp::now()
    }

    pub(crate) fn is_recovered(&self) -> bool {
        self.recovered.load(Ordering::Acquire)
    }

    /// The live volume of that name, or any of that id.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub(crate) fn row(&self, which: &VolumeRef) -> Result<VolumeRow> {
        self.store.read(|r| row(r, which))
    }

    /// The same volume again, after its lock was taken: it may have gone meanwhile.
    pub(crate) fn again(&self, id: VolumeId) -> Result<VolumeRow> {
        self.row(&VolumeRef::Id(id))
    }

    pub(crate) fn workspace(&self, name: &WorkspaceName) -> Result<WorkspaceRow> {
        if let Some(found) = self.store.read(|r| workspaces::by_name(r, name))? {
            return Ok(found);
        }
        let all = self.store.read(workspaces::all)?;
        Err(similar(no_workspace(name), name.as_str(), all.iter().map(|row| row.name.as_str())))
    }

    /// Whether the caller may change, use or delete that volume.
    pub(crate) fn authorise(&self, caller: &Caller, row: &VolumeRow) -> Result<()> {
        let workspace = self.workspace(&row.workspace)?;
        authority::rule_volume(caller, &rule(&workspace), row.owner_uid, &row.title())
    }

    /// Where the image of that volume is. Its pool has to be open.
    pub(crate) fn image(&self, row: &VolumeRow) -> Result<Image> {
        let paths = self.pools.paths(row.placement.pool, &row.placement.pool_name)?;
        let Placement::Image(placement) = &row.placement.detail;
        Ok(Image {
            id: row.id,
            directory: paths.volume(row.id),
            path: paths.image(row.id),
            size: row.placement.size.bytes(),
            placement: placement.clone(),
            derived: row.source.is_some(),
            marks: row.source.as_ref().map(|origin| origin.marks.clone()).unwrap_or_default(),
            object: object(row),
        })
    }

    /// An entry of the journal, to be begun.
    pub(crate) fn operation(
        &self,
        caller: Option<&Caller>,
        volume: Option<VolumeId>,
        intent: Intent,
    ) -> OperationRow {
        OperationRow {
            id: OperationId(Uuid::now_v7()),
            node: self.config.node.clone(),
            volume,
            intent,
            boot_id: self.boot_id.clone(),
            actor_uid: caller.map(|caller| caller.uid),
            front: caller.map(|caller| caller.front),
            started_at: Self::now(),
        }
    }
}

/// See [`Core::row`].
pub(crate) fn row(r: &Reader<'_>, which: &VolumeRef) -> Result<VolumeRow> {
    let (found, name, workspace) = match which {
        VolumeRef::Key(key) => {
            let name = format!("{}/{}", key.workspace, key.name);
            (volumes::by_key(r, key)?, name, Some(&key.workspace))
        }
        VolumeRef::Id(id) => (volumes::by_id(r, *id)?, id.to_string(), None),
    };
    if let Some(found) = found {
        return Ok(found);
    }
    let elsewhere = workspace.filter(|workspace| **workspace != WorkspaceName::public());
    let place = elsewhere.map_or_else(String::new, |workspace| format!(" -w {workspace}"));
    let error = Error::new(ErrorKind::NotFound, format!("there is no volume {name}"))
        .object(format!("volume {name}"))
        .hint(format!("orlop get -t volume{place} -a lists the volumes"));
    let VolumeRef::Key(key) = which else { return Err(error) };
    let all = volumes::names(r)?;
    let there = all.iter().filter(|row| row.key.workspace == key.workspace);
    Err(similar(error, key.name.as_str(), there.map(|row| row.key.name.as_str())))
}

/// The error that something is not there, with the name that may have been meant before its hint.
pub(crate) fn similar<'a>(error: Error, name: &str, names: impl Iterator<Item = &'a str>) -> Error {
    let names: Vec<&str> = names.collect();
    let Some(meant) = nearest(name, &names) else { return error };
    let hint = error.hint.as_deref().map_or_else(String::new, |hint| format!(" {hint}"));
    error.hint(format!("did you mean {meant}?{hint}"))
}

/// What messages call a volume.
pub(crate) fn object(row: &VolumeRow) -> String {
    format!("volume {}", row.title())
}

pub(crate) fn rule(workspace: &WorkspaceRow) -> Rule<'_> {
    Rule { workspace: &workspace.name, owner_uid: workspace.owner_uid, grants: &workspace.grants }
}

pub(crate) fn no_workspace(name: &WorkspaceName) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no workspace {name}"))
        .object(format!("workspace {name}"))
        .hint(format!("make it first: orlop workspace create {name}"))
}

/// Refuses a volume that nobody can use now. An `error` one is let through: its image may be back.
pub(crate) fn usable(row: &VolumeRow) -> Result<()> {
    let title = row.title();
    let refused = |kind, what: String| Error::new(kind, what).object(object(row));
    match row.state {
        VolumeState::Active | VolumeState::Error => Ok(()),
        VolumeState::Pending => {
            Err(refused(ErrorKind::Recovering, format!("volume {title} is still being made"))
                .hint("retry: the work goes on meanwhile"))
        }
        VolumeState::Deleting => Err(refused(
            ErrorKind::Conflict,
            format!("volume {title} is being deleted, and goes when its last user has left"),
        )
        .hint("wait until it is gone, then apply it anew")),
        VolumeState::Released => {
            Err(refused(ErrorKind::NotFound, format!("volume {title} was deleted; its data is retained"))
                .hint(format!("orlop undelete --id {} brings it back", row.id)))
        }
    }
}
