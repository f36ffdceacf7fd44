//! What happened, in the words of users. Events are appended in the write that makes them true; only
//! refusals and what was merely seen have writes of their own.

use orlop_model::{Error, ErrorKind, PoolName, WorkspaceName, resource::Severity};

use crate::{
    core::Core,
    request::{Caller, SnapshotKey, VolumeKey},
    store::{NewEvent, SnapshotRow, VolumeRow, events, snapshots},
};

/// An event that concerns nothing in particular yet.
pub(crate) fn event(reason: &str, message: impl Into<String>) -> NewEvent {
    NewEvent {
        at: Core::now(),
        severity: Severity::Info,
        reason: reason.to_owned(),
        message: message.into(),
        workspace: None,
        volume: None,
        volume_id: None,
        pool: None,
        actor_uid: None,
        front: None,
    }
}

impl NewEvent {
    /// It concerns that volume.
    pub(crate) fn of(mut self, row: &VolumeRow) -> Self {
        self.workspace = Some(row.workspace.clone());
        self.volume = Some(row.manifest.name.clone());
        self.volume_id = Some(row.id);
        self.pool = Some(row.placement.pool_name.clone());
        self
    }

    /// It concerns that snapshot, and so the volume that it is of.
    pub(crate) fn of_snapshot(mut self, row: &SnapshotRow) -> Self {
        self.workspace = Some(row.workspace.clone());
        self.volume = Some(row.manifest.snapshot.volume.clone());
        self.volume_id = Some(row.volume);
        self.pool = Some(row.pool_name.clone());
        self
    }

    /// It concerns that pool.
    pub(crate) fn in_pool(mut self, pool: &PoolName) -> Self {
        self.pool = Some(pool.clone());
        self
    }

    /// That caller caused it.
    pub(crate) fn by(mut self, caller: &Caller) -> Self {
        self.actor_uid = Some(caller.uid);
        self.front = Some(caller.front);
        self
    }

    /// That caller, or the daemon by itself.
    pub(crate) fn by_any(self, caller: Option<&Caller>) -> Self {
        match caller {
            Some(caller) => self.by(caller),
            None => self,
        }
    }

    pub(crate) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    pub(crate) fn error(mut self) -> Self {
        self.severity = Severity::Error;
        self
    }
}

/// Appends an event in a write of its own. That it fails is logged and changes nothing: what it
/// tells of has happened.
pub(crate) fn note(core: &Core, event: NewEvent) {
    if let Err(error) = core.store.write(move |tx| events::append(tx, &event)) {
        tracing::warn!(%error, "could not record an event");
    }
}

/// Records that something was refused, where that is worth telling.
pub(crate) fn refusal(core: &Core, caller: &Caller, operation: &str, about: About<'_>, error: &Error) {
    let (reason, severe) = match error.kind {
        ErrorKind::AccessRefused => ("AccessRefused", false),
        ErrorKind::InUse => ("InUse", false),
        ErrorKind::PermissionDenied => ("PermissionDenied", false),
        ErrorKind::PoolFull => ("PoolFull", false),
        ErrorKind::LowSpace => ("LowSpace", false),
        ErrorKind::WorkspaceFull => ("WorkspaceFull", false),
        ErrorKind::Protected => ("Protected", false),
        ErrorKind::HostLimit => ("HostLimit", true),
        ErrorKind::Host => ("HostFailure", true),
        ErrorKind::Damaged => ("Damaged", true),
        ErrorKind::Immutable => ("Immutable", false),
        ErrorKind::Conflict => ("Conflict", false),
        ErrorKind::Unsupported => ("Unsupported", false),
        ErrorKind::Locked => ("Locked", false),
        ErrorKind::NewerFormat => ("NewerFormat", false),
        // The caller's own mistakes, what will succeed when asked again, and what has no event log.
        ErrorKind::InvalidArgument
        | ErrorKind::InvalidManifest
        | ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::Recovering
        | ErrorKind::Unavailable
        | ErrorKind::Store
        | ErrorKind::Expired
        | ErrorKind::Interrupted
        | ErrorKind::Unreachable => return,
    };
    let told = event(reason, format!("{operation} refused: {error}")).by(caller);
    let told = if severe { told.error() } else { told.warning() };
    note(
        core,
        match about {
            About::Row(row) => told.of(row),
            About::Key(key) => {
                NewEvent { workspace: Some(key.workspace.clone()), volume: Some(key.name.clone()), ..told }
            }
            About::Snapshot(key) => match core.store.read(|r| snapshots::by_key(r, key)) {
                Ok(Some(row)) => told.of_snapshot(&row),
                Ok(None) | Err(_) => NewEvent { workspace: Some(key.workspace.clone()), ..told },
            },
            About::Workspace(workspace) => NewEvent { workspace: Some(workspace.clone()), ..told },
            About::Pool(pool) => told.in_pool(pool),
            About::Nothing => told,
        },
    );
}

/// What a refusal concerns.
#[derive(Debug, Clone, Copy)]
pub(crate) enum About<'a> {
    /// A volume.
    Row(&'a VolumeRow),
    /// A volume that is not there.
    Key(&'a VolumeKey),
    /// A snapshot, and so its volume where it is there.
    Snapshot(&'a SnapshotKey),
    /// A workspace.
    Workspace(&'a WorkspaceName),
    /// A pool.
    Pool(&'a PoolName),
    /// Nothing that has a log.
    Nothing,
}
