//! The engine's face: one method an operation. What each does lives in the modules of that name.

use std::{path::Path, sync::Arc, time::Duration};

use orlop_model::{
    Error, ErrorKind, PoolName, Result, WorkspaceName,
    resource::{Deletion, Event, Front, Pool, Volume, Workspace},
};

use crate::request::*;

/// One engine over one state directory. Clones share it.
#[derive(Clone)]
pub struct Engine {
    _inner: Arc<EngineConfig>,
}

fn unfinished<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, "not built yet"))
}

impl Engine {
    /// Takes the lock of the state directory, migrates the store and opens the pools.
    pub fn open(config: EngineConfig) -> Result<Self> {
        Ok(Self { _inner: Arc::new(config) })
    }

    /// Compares store, disk and kernel, finishes or undoes what was begun. Called once, before readiness.
    pub fn recover(&self) -> Result<Recovery> {
        unfinished()
    }

    /// Whether the engine may be used: recovered, and mounts are seen by the host.
    pub fn readiness(&self) -> Readiness {
        Readiness { problems: Vec::new() }
    }

    /// Stops background work and flushes the store. Mounts stay.
    pub fn shutdown(&self) {}

    /// Makes a workspace, or sets who is granted it.
    pub fn put_workspace(
        &self,
        _: &Caller,
        _: &WorkspaceName,
        _grants: Option<Vec<u32>>,
    ) -> Result<Applied<Workspace>> {
        unfinished()
    }

    /// One workspace.
    pub fn workspace(&self, _: &Caller, _: &WorkspaceName) -> Result<Workspace> {
        unfinished()
    }

    /// All workspaces.
    pub fn workspaces(&self, _: &Caller) -> Result<Vec<Workspace>> {
        unfinished()
    }

    /// Deletes an empty workspace; released volumes count as content.
    pub fn delete_workspace(&self, _: &Caller, _: &WorkspaceName) -> Result<()> {
        unfinished()
    }

    /// Makes a pool (root only).
    pub fn create_pool(&self, _: &Caller, _: &PoolRequest) -> Result<Applied<Pool>> {
        unfinished()
    }

    /// One pool.
    pub fn pool(&self, _: &Caller, _: &PoolName) -> Result<Pool> {
        unfinished()
    }

    /// All pools.
    pub fn pools(&self, _: &Caller) -> Result<Vec<Pool>> {
        unfinished()
    }

    /// Makes or changes a volume; returns when it is active.
    pub fn apply(&self, _: &Caller, _: &ApplyRequest) -> Result<Applied<Volume>> {
        unfinished()
    }

    /// One volume.
    pub fn volume(&self, _: &Caller, _: &VolumeRef) -> Result<Volume> {
        unfinished()
    }

    /// A page of volumes.
    pub fn volumes(&self, _: &Caller, _: &VolumeQuery) -> Result<Page<Volume>> {
        unfinished()
    }

    /// Deletes a volume: destroys or releases its data by type. In use it is refused, or with
    /// `force` marked and finished after the last holder has gone.
    pub fn delete(&self, _: &Caller, _: &VolumeRef, _force: bool) -> Result<Deletion> {
        unfinished()
    }

    /// Attaches a volume for a consumer. Waits at most `patience` for other work on the volume,
    /// then says [`ErrorKind::Recovering`].
    pub fn attach(&self, _: &Caller, _: &AttachRequest, _patience: Duration) -> Result<Attached> {
        unfinished()
    }

    /// Ends one scope's use of a volume; of a scope that is not attached it succeeds.
    pub fn detach(&self, _: &Caller, _: &VolumeRef, _scope: &str, _patience: Duration) -> Result<()> {
        unfinished()
    }

    /// Where an attached volume is for that front's consumers; `None` when it is not attached.
    pub fn attached_path(&self, _: &Caller, _: &VolumeRef) -> Result<Option<Attached>> {
        unfinished()
    }

    /// Mounts a volume onto a directory of the host.
    pub fn mount(&self, _: &Caller, _: &MountRequest) -> Result<Attached> {
        unfinished()
    }

    /// Ends a host mount.
    pub fn unmount(&self, _: &Caller, _target: &Path) -> Result<()> {
        unfinished()
    }

    /// The volume that a front knows by that name: by alias, else `name` in `public`, else
    /// `workspace.name`. The same volume is found for ever under the same external name.
    pub fn resolve(&self, _: &Caller, _external: &str) -> Result<Option<Volume>> {
        unfinished()
    }

    /// Makes the volume that a front asks for by its own name and records the alias; where the
    /// volume exists and agrees with what was said, records the alias alone.
    pub fn create_aliased(
        &self,
        _: &Caller,
        _: &AliasedRequest,
        _patience: Duration,
    ) -> Result<Applied<Volume>> {
        unfinished()
    }

    /// The names by which a front may call the volumes it can use, with the volumes.
    pub fn aliased(&self, _: &Caller) -> Result<Vec<(String, Volume)>> {
        unfinished()
    }

    /// Deletes what that front created under that name; anything else is refused. An unknown name succeeds.
    pub fn remove_aliased(&self, _: &Caller, _external: &str, _patience: Duration) -> Result<()> {
        unfinished()
    }

    /// Events in order; [`ErrorKind::Expired`] when those right after `after` are no longer kept.
    pub fn events(&self, _: &Caller, _: &EventQuery) -> Result<Vec<Event>> {
        unfinished()
    }

    /// The newest sequence.
    pub fn newest_event(&self) -> u64 {
        0
    }

    /// Calls back with the newest sequence after every commit that added events. The callback must not block.
    pub fn on_event(&self, _: Box<dyn Fn(u64) + Send + Sync>) {}

    /// Numbers for `/metrics`.
    pub fn statistics(&self) -> Statistics {
        Statistics::default()
    }

    /// The front's own view of whom it serves, for messages.
    pub fn node(&self) -> &str {
        &self._inner.node
    }

    /// Whether volumes made through this front may be removed by it.
    pub fn owns(front: Front, volume: &Volume) -> bool {
        volume.status.created_by == front
    }
}
