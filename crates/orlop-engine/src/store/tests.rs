//! Tests of the store against real files; here are the rows they work with.
#![allow(clippy::unwrap_used)]

mod commits;
mod opening;
mod pages;
mod rows;
mod snapshot_rows;
mod stream;

use jiff::Timestamp;
use orlop_model::{
    AttachmentId, FilesystemKind, OperationId, Period, PoolId, Size, VolumeId,
    resource::{Backend, Front, Medium, Severity, VolumeState},
};
use uuid::Uuid;

use super::*;
use crate::format::{Content, FilesystemContent, ImageFormat, ImagePlacement, Placement};

const MIB: u64 = 1 << 20;

/// A store of its own, with the workspace `public` and the pool `default` of 1 TiB in it.
struct Fixture {
    dir: tempfile::TempDir,
    store: Store,
    pool: PoolRow,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("orlop.db"), options()).unwrap();
        let pool = pool("default", Size::from_bytes(1 << 40));
        let row = pool.clone();
        store
            .write(move |tx| {
                workspaces::insert(tx, &workspace("public"))?;
                pools::insert(tx, &row)
            })
            .unwrap();
        Self { dir, store, pool }
    }

    /// Closes the store and opens it anew.
    fn reopened(self) -> Self {
        self.store.close().unwrap();
        drop(self.store);
        let store = Store::open(&self.dir.path().join("orlop.db"), options()).unwrap();
        Self { store, ..self }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("orlop.db")
    }

    /// A volume of 16 MiB that is not yet stored.
    fn volume(&self, name: &str) -> VolumeRow {
        volume(&self.pool, "public", name)
    }

    /// A stored one.
    fn stored(&self, name: &str) -> VolumeRow {
        let row = self.volume(name);
        self.insert(&row);
        row
    }

    fn insert(&self, row: &VolumeRow) {
        let row = row.clone();
        self.store.write(move |tx| volumes::insert(tx, &row)).unwrap();
    }

    fn pool_now(&self) -> PoolRow {
        self.store.read(|r| pools::by_id(r, self.pool.id)).unwrap().unwrap()
    }
}

fn options() -> StoreOptions {
    StoreOptions { node: "node-a".to_owned(), boot_id: "boot-1".to_owned(), events_kept: 1000 }
}

fn workspace(name: &str) -> WorkspaceRow {
    WorkspaceRow {
        name: name.parse().unwrap(),
        node: "node-a".to_owned(),
        owner_uid: 0,
        grants: Vec::new(),
        size_limit: None,
        volume_limit: None,
        created_at: Timestamp::now(),
    }
}

fn pool(name: &str, capacity: Size) -> PoolRow {
    PoolRow {
        id: PoolId(Uuid::now_v7()),
        node: "node-a".to_owned(),
        name: name.parse().unwrap(),
        backend: Backend::Image,
        path: PathBuf::from("/pools").join(name),
        medium: Medium::Directory,
        capacity,
        overcommit: 1.5,
        created_at: Timestamp::now(),
        reserved: Size::from_bytes(0),
        allocated: Size::from_bytes(0),
        volumes: 0,
        snapshots: 0,
    }
}

fn volume(pool: &PoolRow, workspace: &str, name: &str) -> VolumeRow {
    let manifest = format!(
        r#"{{"name":"{name}","version":"v1beta","type":"volume","tags":["app:{name}","all"],"description":"for tests",
            "volume":{{"size":"16Mi","accessMode":"ReadWriteMany","type":"persistent","mountOptions":["noatime"]}}}}"#
    );
    let now = Timestamp::now();
    VolumeRow {
        id: VolumeId(Uuid::now_v7()),
        node: "node-a".to_owned(),
        workspace: workspace.parse().unwrap(),
        manifest: serde_json::from_str(&manifest).unwrap(),
        state: VolumeState::Pending,
        reason: None,
        generation: 1,
        owner_uid: 1000,
        created_by: Front::Manifest,
        created_at: now,
        updated_at: now,
        deleted_at: None,
        deleted_by: None,
        released_at: None,
        used_bytes: None,
        temp_grace: Period::Never,
        vacated_at: None,
        created_size: Size::from_bytes(16 * MIB),
        applied_set: None,
        source: None,
        ephemeral: false,
        placement: PlacementRow {
            pool: pool.id,
            pool_name: pool.name.clone(),
            size: Size::from_bytes(16 * MIB),
            allocated: Size::from_bytes(0),
            initialised: false,
            detail: Placement::Image(ImagePlacement {
                content: Content::Filesystem(FilesystemContent {
                    kind: FilesystemKind::Ext4,
                    block_size: 4096,
                    format: ImageFormat {
                        rule: 1,
                        program: "mke2fs 1.47.0".to_owned(),
                        arguments: vec!["-b".to_owned(), "4096".to_owned()],
                    },
                }),
                loop_block_size: 4096,
                preallocated: false,
            }),
        },
    }
}

fn attachment(volume: &VolumeRow, scope: &str) -> AttachmentRow {
    AttachmentRow {
        id: AttachmentId(Uuid::now_v7()),
        volume: volume.id,
        node: "node-a".to_owned(),
        front: Front::Docker,
        scope: scope.to_owned(),
        shared: false,
        may_go_stale: true,
        consumer: format!("docker mount {scope}"),
        target: None,
        staged: false,
        form: crate::request::Form::default(),
        read_only: false,
        boot_id: "boot-1".to_owned(),
        since: Timestamp::now(),
        since_boot: std::time::Duration::from_millis(1_234_567),
    }
}

fn operation(volume: &VolumeRow, intent: Intent) -> OperationRow {
    OperationRow {
        id: OperationId(Uuid::now_v7()),
        node: "node-a".to_owned(),
        volume: Some(volume.id),
        intent,
        boot_id: "boot-1".to_owned(),
        actor_uid: Some(1000),
        front: Some(Front::Host),
        started_at: Timestamp::now(),
    }
}

fn event(message: &str) -> NewEvent {
    NewEvent {
        at: Timestamp::now(),
        severity: Severity::Info,
        reason: "Tested".to_owned(),
        message: message.to_owned(),
        workspace: None,
        volume: None,
        volume_id: None,
        pool: None,
        actor_uid: None,
        front: None,
    }
}
