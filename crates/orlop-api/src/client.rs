//! The typed client: one method an operation, over a unix socket. How bytes travel is in
//! `transport`, how events arrive in `watch` and `stream`.

mod stream;
#[cfg(test)]
mod tests;
mod transport;
mod watch;

use std::path::{Path, PathBuf};

use orlop_model::{
    Error, ErrorKind, OperationId, PoolName, Result, SnapshotManifest, SnapshotName, UsageSample, VolumeId,
    VolumeManifest, VolumeName, WorkspaceName,
    pool_report::{PoolCheck, PoolImport},
    resource::{self, Pool, Restored, Snapshot, SnapshotGroup, Volume, VolumeCheck, VolumePlan, Workspace},
};
use serde::{Serialize, de::DeserializeOwned};

pub use watch::Watch;

use crate::{
    query,
    route::Operation,
    types::{
        AdoptRequest, Applied, ApplyOptions, CheckOptions, DeleteOptions, Deleted, DeviceFilter,
        DeviceReport, EventFilter, EventList, GrowRequest, ImportRequest, List, MigrateRequest, MountFilter,
        MountRequest, Mounted, Page, PoolExported, PoolRequest, ReadinessReport, RenameRequest,
        SnapshotFilter, SnapshotGroupRequest, SnapshotOptions, UndeleteRequest, VersionReport,
        VolumeCheckOptions, VolumeFilter, WatchFilter, WorkspaceRequest,
    },
};

/// A client of one daemon. Each call makes a connection of its own, so clones are free and a
/// daemon that was restarted in between makes no difference.
///
/// A call waits as long as the daemon works on it: an operation has no time limit here, only the
/// connecting has. Dropping the future is safe: the daemon brings what it began to its end.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// The request's body, as none.
const EMPTY: Option<&()> = None;

impl Client {
    /// Where a daemon listens that was started without saying where.
    pub const DEFAULT_SOCKET: &str = "/run/orlop/orlop.sock";

    /// A client of the daemon that listens on `socket`. Nothing is connected yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// The daemon's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Makes a volume or changes it in place, and waits until it is active.
    pub async fn apply(
        &self,
        workspace: &WorkspaceName,
        manifest: &VolumeManifest,
        options: &ApplyOptions,
    ) -> Result<Applied<Volume>> {
        let path = [workspace.as_str(), manifest.name.as_str()];
        self.call(Operation::ApplyVolume, &path, options, Some(manifest)).await
    }

    /// What an apply would do now.
    pub async fn plan(
        &self,
        workspace: &WorkspaceName,
        manifest: &VolumeManifest,
        options: &ApplyOptions,
    ) -> Result<VolumePlan> {
        let path = [workspace.as_str(), manifest.name.as_str()];
        self.call(Operation::PlanVolume, &path, options, Some(manifest)).await
    }

    /// Moves a volume, or its files into another filesystem. Long work.
    pub async fn migrate(
        &self,
        workspace: &WorkspaceName,
        name: &VolumeName,
        request: &MigrateRequest,
    ) -> Result<Applied<Volume>> {
        self.call(Operation::MigrateVolume, &[workspace.as_str(), name.as_str()], &(), Some(request)).await
    }

    /// A live volume.
    pub async fn volume(&self, workspace: &WorkspaceName, name: &VolumeName) -> Result<Volume> {
        self.call(Operation::GetVolume, &[workspace.as_str(), name.as_str()], &(), EMPTY).await
    }

    /// Checks the filesystem of a live volume, and repairs it where that is asked for.
    pub async fn check_volume(
        &self,
        workspace: &WorkspaceName,
        name: &VolumeName,
        options: &VolumeCheckOptions,
    ) -> Result<VolumeCheck> {
        self.call(Operation::CheckVolume, &[workspace.as_str(), name.as_str()], options, EMPTY).await
    }

    /// The use of a live volume over the last day, oldest first.
    pub async fn volume_usage(
        &self,
        workspace: &WorkspaceName,
        name: &VolumeName,
    ) -> Result<Vec<UsageSample>> {
        let path = [workspace.as_str(), name.as_str()];
        let list: List<UsageSample> = self.call(Operation::GetVolumeUsage, &path, &(), EMPTY).await?;
        Ok(list.items)
    }

    /// A volume by id, released ones included.
    pub async fn volume_by_id(&self, id: VolumeId) -> Result<Volume> {
        self.call(Operation::GetVolumeById, &[&id.to_string()], &(), EMPTY).await
    }

    /// One page of volumes.
    pub async fn volumes(&self, filter: &VolumeFilter) -> Result<Page<Volume>> {
        self.call(Operation::ListVolumes, &[], filter, EMPTY).await
    }

    /// The volumes of every page from `filter.after` on.
    pub async fn all_volumes(&self, filter: &VolumeFilter) -> Result<Vec<Volume>> {
        let mut filter = filter.clone();
        let mut volumes = Vec::new();
        loop {
            let page = self.volumes(&filter).await?;
            volumes.extend(page.items);
            match page.next {
                Some(next) => filter.after = Some(next),
                None => return Ok(volumes),
            }
        }
    }

    /// Deletes a volume by name.
    pub async fn delete_volume(
        &self,
        workspace: &WorkspaceName,
        name: &VolumeName,
        options: &DeleteOptions,
    ) -> Result<Deleted> {
        self.call(Operation::DeleteVolume, &[workspace.as_str(), name.as_str()], options, EMPTY).await
    }

    /// Deletes a volume by id.
    pub async fn delete_volume_by_id(&self, id: VolumeId, options: &DeleteOptions) -> Result<Deleted> {
        self.call(Operation::DeleteVolumeById, &[&id.to_string()], options, EMPTY).await
    }

    /// Brings back the one deleted volume of that name.
    pub async fn undelete(
        &self,
        workspace: &WorkspaceName,
        name: &VolumeName,
        request: &UndeleteRequest,
    ) -> Result<Applied<Volume>> {
        let path = [workspace.as_str(), name.as_str()];
        self.call(Operation::UndeleteVolume, &path, &(), Some(request)).await
    }

    /// Brings back a deleted volume by id.
    pub async fn undelete_by_id(&self, id: VolumeId, request: &UndeleteRequest) -> Result<Applied<Volume>> {
        self.call(Operation::UndeleteVolumeById, &[&id.to_string()], &(), Some(request)).await
    }

    /// Destroys the data of a deleted volume.
    pub async fn purge(&self, id: VolumeId) -> Result<Deleted> {
        self.call(Operation::PurgeVolume, &[&id.to_string()], &(), EMPTY).await
    }

    /// Gives a volume another name.
    pub async fn rename(
        &self,
        workspace: &WorkspaceName,
        name: &VolumeName,
        request: &RenameRequest,
    ) -> Result<Applied<Volume>> {
        self.call(Operation::RenameVolume, &[workspace.as_str(), name.as_str()], &(), Some(request)).await
    }

    /// Makes a snapshot or changes how long it is kept, and waits until it is whole.
    pub async fn apply_snapshot(
        &self,
        workspace: &WorkspaceName,
        manifest: &SnapshotManifest,
        options: &SnapshotOptions,
    ) -> Result<Applied<Snapshot>> {
        let path = [workspace.as_str(), manifest.name.as_str()];
        self.call(Operation::ApplySnapshot, &path, options, Some(manifest)).await
    }

    /// A snapshot.
    pub async fn snapshot(&self, workspace: &WorkspaceName, name: &SnapshotName) -> Result<Snapshot> {
        self.call(Operation::GetSnapshot, &[workspace.as_str(), name.as_str()], &(), EMPTY).await
    }

    /// The snapshots of every page from `filter.after` on.
    pub async fn all_snapshots(&self, filter: &SnapshotFilter) -> Result<Vec<Snapshot>> {
        let mut filter = filter.clone();
        let mut snapshots = Vec::new();
        loop {
            let page: Page<Snapshot> = self.call(Operation::ListSnapshots, &[], &filter, EMPTY).await?;
            snapshots.extend(page.items);
            match page.next {
                Some(next) => filter.after = Some(next),
                None => return Ok(snapshots),
            }
        }
    }

    /// Deletes a snapshot.
    pub async fn delete_snapshot(&self, workspace: &WorkspaceName, name: &SnapshotName) -> Result<()> {
        self.call(Operation::DeleteSnapshot, &[workspace.as_str(), name.as_str()], &(), EMPTY).await
    }

    /// Makes snapshots of several volumes at one moment or changes how long they are kept, and waits until they
    /// are whole.
    pub async fn apply_snapshot_group(
        &self,
        workspace: &WorkspaceName,
        name: &SnapshotName,
        request: &SnapshotGroupRequest,
    ) -> Result<Applied<SnapshotGroup>> {
        let path = [workspace.as_str(), name.as_str()];
        self.call(Operation::ApplySnapshotGroup, &path, &(), Some(request)).await
    }

    /// A group of snapshots.
    pub async fn snapshot_group(
        &self,
        workspace: &WorkspaceName,
        name: &SnapshotName,
    ) -> Result<SnapshotGroup> {
        self.call(Operation::GetSnapshotGroup, &[workspace.as_str(), name.as_str()], &(), EMPTY).await
    }

    /// Deletes a group with all its snapshots.
    pub async fn delete_snapshot_group(&self, workspace: &WorkspaceName, name: &SnapshotName) -> Result<()> {
        self.call(Operation::DeleteSnapshotGroup, &[workspace.as_str(), name.as_str()], &(), EMPTY).await
    }

    /// Puts a volume back to a snapshot.
    pub async fn restore(&self, workspace: &WorkspaceName, name: &SnapshotName) -> Result<Restored> {
        self.call(Operation::RestoreSnapshot, &[workspace.as_str(), name.as_str()], &(), EMPTY).await
    }

    /// All workspaces.
    pub async fn workspaces(&self) -> Result<Vec<Workspace>> {
        let list: List<Workspace> = self.call(Operation::ListWorkspaces, &[], &(), EMPTY).await?;
        Ok(list.items)
    }

    /// One workspace.
    pub async fn workspace(&self, name: &WorkspaceName) -> Result<Workspace> {
        self.call(Operation::GetWorkspace, &[name.as_str()], &(), EMPTY).await
    }

    /// Makes a workspace, or sets who is granted it.
    pub async fn put_workspace(
        &self,
        name: &WorkspaceName,
        request: &WorkspaceRequest,
    ) -> Result<Applied<Workspace>> {
        self.call(Operation::PutWorkspace, &[name.as_str()], &(), Some(request)).await
    }

    /// Deletes an empty workspace.
    pub async fn delete_workspace(&self, name: &WorkspaceName) -> Result<()> {
        self.call(Operation::DeleteWorkspace, &[name.as_str()], &(), EMPTY).await
    }

    /// All pools.
    pub async fn pools(&self) -> Result<Vec<Pool>> {
        let list: List<Pool> = self.call(Operation::ListPools, &[], &(), EMPTY).await?;
        Ok(list.items)
    }

    /// One pool.
    pub async fn pool(&self, name: &PoolName) -> Result<Pool> {
        self.call(Operation::GetPool, &[name.as_str()], &(), EMPTY).await
    }

    /// Makes a pool.
    pub async fn create_pool(&self, name: &PoolName, request: &PoolRequest) -> Result<Applied<Pool>> {
        self.call(Operation::CreatePool, &[name.as_str()], &(), Some(request)).await
    }

    /// Removes an empty pool.
    pub async fn delete_pool(&self, name: &PoolName) -> Result<()> {
        self.call(Operation::DeletePool, &[name.as_str()], &(), EMPTY).await
    }

    /// Takes a pool off the node, with its data.
    pub async fn export_pool(&self, name: &PoolName) -> Result<PoolExported> {
        self.call(Operation::ExportPool, &[name.as_str()], &(), EMPTY).await
    }

    /// Lets a pool grow.
    pub async fn grow_pool(&self, name: &PoolName, request: &GrowRequest) -> Result<Applied<Pool>> {
        self.call(Operation::GrowPool, &[name.as_str()], &(), Some(request)).await
    }

    /// Compares a pool with its records.
    pub async fn check_pool(&self, name: &PoolName, options: &CheckOptions) -> Result<PoolCheck> {
        self.call(Operation::CheckPool, &[name.as_str()], options, EMPTY).await
    }

    /// Brings a pool here with all that is in it.
    pub async fn import_pool(&self, request: &ImportRequest) -> Result<PoolImport> {
        self.call(Operation::ImportPool, &[], &(), Some(request)).await
    }

    /// Makes a persistent volume out of a directory tree.
    pub async fn adopt(
        &self,
        workspace: &WorkspaceName,
        name: &VolumeName,
        request: &AdoptRequest,
    ) -> Result<Applied<Volume>> {
        self.call(Operation::AdoptDirectory, &[workspace.as_str(), name.as_str()], &(), Some(request)).await
    }

    /// What a block device holds and who uses it. `path` is absolute.
    pub async fn device(&self, path: impl Into<String>) -> Result<DeviceReport> {
        self.call(Operation::GetDevice, &[], &DeviceFilter { path: path.into() }, EMPTY).await
    }

    /// Mounts a volume onto a directory of the host.
    pub async fn mount(&self, request: &MountRequest) -> Result<Mounted> {
        self.call(Operation::MountVolume, &[], &(), Some(request)).await
    }

    /// Ends a mount of the host. `target` is absolute.
    pub async fn unmount(&self, target: impl Into<String>) -> Result<()> {
        let filter = MountFilter { target: target.into() };
        self.call(Operation::UnmountVolume, &[], &filter, EMPTY).await
    }

    /// The long work that is under way, oldest first.
    pub async fn operations(&self) -> Result<Vec<resource::Operation>> {
        let list: List<resource::Operation> = self.call(Operation::ListOperations, &[], &(), EMPTY).await?;
        Ok(list.items)
    }

    /// Asks long work to stop.
    pub async fn stop_operation(&self, id: OperationId) -> Result<resource::Operation> {
        self.call(Operation::StopOperation, &[&id.to_string()], &(), EMPTY).await
    }

    /// What happened.
    pub async fn events(&self, filter: &EventFilter) -> Result<EventList> {
        self.call(Operation::ListEvents, &[], filter, EMPTY).await
    }

    /// Follows what happens. Returns when the daemon has accepted the position, or says
    /// [`ErrorKind::Expired`] when it is no longer kept.
    pub async fn watch(&self, filter: &WatchFilter) -> Result<Watch> {
        Watch::open(self.clone(), filter.clone()).await
    }

    /// Who answers.
    pub async fn version(&self) -> Result<VersionReport> {
        self.call(Operation::GetVersion, &[], &(), EMPTY).await
    }

    /// Whether volumes can be used; not being ready is no error here.
    pub async fn readiness(&self) -> Result<ReadinessReport> {
        let response = self.send(Operation::GetReadiness, &[], &(), EMPTY, &[]).await?;
        let status = response.status();
        let body = self.read(response).await?;
        serde_json::from_slice(&body).map_err(|_| self.garbage(status, &body))
    }

    /// The numbers for Prometheus, as text.
    pub async fn metrics(&self) -> Result<String> {
        let response = self.send(Operation::GetMetrics, &[], &(), EMPTY, &[]).await?;
        let status = response.status();
        let body = self.read(response).await?;
        if !status.is_success() {
            return Err(self.refusal(status, &body));
        }
        String::from_utf8(body.into()).map_err(|fault| self.garbage(status, fault.as_bytes()))
    }

    async fn call<Q: Serialize, B: Serialize, A: DeserializeOwned>(
        &self,
        operation: Operation,
        values: &[&str],
        query: &Q,
        body: Option<&B>,
    ) -> Result<A> {
        let response = self.send(operation, values, query, body, &[]).await?;
        let status = response.status();
        let body = self.read(response).await?;
        if !status.is_success() {
            return Err(self.refusal(status, &body));
        }
        let body: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(body).map_err(|_| self.garbage(status, body))
    }

    fn target<Q: Serialize>(operation: Operation, values: &[&str], query: &Q) -> Result<String> {
        let query = query::encode(query)?;
        let path = operation.path(values);
        Ok(if query.is_empty() { path } else { format!("{path}?{query}") })
    }

    fn json<B: Serialize>(body: Option<&B>) -> Result<Vec<u8>> {
        let written = body.map(serde_json::to_vec).transpose();
        written.map(Option::unwrap_or_default).map_err(|fault| {
            Error::new(ErrorKind::InvalidArgument, format!("the request can't be written as JSON: {fault}"))
        })
    }
}
