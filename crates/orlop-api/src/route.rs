//! Every route as data: the daemon serves this table, the OpenAPI document is printed from it, and
//! the client finds its paths in it.

use orlop_model::{
    OperationId, PoolName, SnapshotManifest, SnapshotName, UsageSample, VolumeId, VolumeManifest, VolumeName,
    WorkspaceName,
    pool_report::{PoolCheck, PoolImport},
    resource::{self, Pool, Restored, Snapshot, SnapshotGroup, Volume, VolumeCheck, VolumePlan, Workspace},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::types::{
    AdoptRequest, Applied, ApplyOptions, CheckOptions, DeleteOptions, Deleted, DeviceFilter, DeviceReport,
    EventFilter, EventList, GrowRequest, ImportRequest, List, MigrateRequest, MountFilter, MountRequest,
    Mounted, Page, PoolExported, PoolRequest, ReadinessReport, RenameRequest, SnapshotFilter,
    SnapshotGroupRequest, SnapshotOptions, UndeleteRequest, VersionReport, VolumeCheckOptions, VolumeFilter,
    WatchFilter, WorkspaceRequest,
};

/// What is done with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Makes or changes; the same again changes nothing.
    Put,
    /// Begins something.
    Post,
    /// Ends something.
    Delete,
}

impl Method {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// Adds a type to the generator's definitions and gives the reference to it.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The type itself, not a reference to it: the parameters of a query stand in the operation.
fn inline<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// What a successful answer holds.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// JSON of that type.
    Json(SchemaOf),
    /// Nothing; the status is 204.
    Nothing,
    /// Text of that media type.
    Text(&'static str),
    /// Events as they come, as `text/event-stream`.
    Stream,
}

/// One operation on one path.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// What is done with the path.
    pub method: Method,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// What more there is to know.
    pub description: &'static str,
    /// The parameters of the path, in order.
    pub parameters: &'static [(&'static str, SchemaOf)],
    /// The parameters of the query: an object with a property each.
    pub query: Option<SchemaOf>,
    /// The JSON body of the request.
    pub request: Option<SchemaOf>,
    /// The answer.
    pub answer: Answer,
}

const WORKSPACE: (&str, SchemaOf) = ("workspace", of::<WorkspaceName>);
const VOLUME: (&str, SchemaOf) = ("name", of::<VolumeName>);
const POOL: (&str, SchemaOf) = ("name", of::<PoolName>);
const ID: (&str, SchemaOf) = ("id", of::<VolumeId>);
const SNAPSHOT: (&str, SchemaOf) = ("name", of::<SnapshotName>);
const OPERATION: (&str, SchemaOf) = ("id", of::<OperationId>);

macro_rules! operations {
    ($($operation:ident, $id:literal: $method:ident $path:literal $parameters:expr, $summary:literal, $description:literal,
        $query:expr, $request:expr, $answer:expr;)*) => {
        /// Everything that can be asked of a daemon.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation {
            $(#[doc = $summary] $operation,)*
        }

        impl Operation {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$operation,)*];

            /// Its name in the OpenAPI document and in metrics.
            pub fn id(self) -> &'static str {
                match self {
                    $(Self::$operation => $id,)*
                }
            }

            /// How it is asked for.
            pub fn route(self) -> Route {
                match self {
                    $(Self::$operation => Route {
                        method: Method::$method,
                        path: $path,
                        summary: $summary,
                        description: $description,
                        parameters: &$parameters,
                        query: $query,
                        request: $request,
                        answer: $answer,
                    },)*
                }
            }
        }
    };
}

operations! {
    ListVolumes, "listVolumes": Get "/v1/volumes" [],
        "Lists volumes.",
        "Live ones, or with `released` those whose data is retained; ordered by workspace, name and id, in pages.",
        Some(inline::<VolumeFilter>), None, Answer::Json(of::<Page<Volume>>);
    GetVolumeById, "getVolumeById": Get "/v1/volumes/{id}" [ID],
        "Shows a volume by its id.",
        "Released volumes are found too.",
        None, None, Answer::Json(of::<Volume>);
    DeleteVolumeById, "deleteVolumeById": Delete "/v1/volumes/{id}" [ID],
        "Deletes a volume by its id.",
        "As the deletion by name, safe against a new volume that took the name.",
        Some(inline::<DeleteOptions>), None, Answer::Json(of::<Deleted>);
    ApplyVolume, "applyVolume": Put "/v1/workspaces/{workspace}/volumes/{name}" [WORKSPACE, VOLUME],
        "Makes a volume, or changes it in place.",
        "Answers when the volume is active, or says why not. The name in the manifest is the one of the path. A change that can't be made in place is refused.",
        Some(inline::<ApplyOptions>), Some(of::<VolumeManifest>), Answer::Json(of::<Applied<Volume>>);
    PlanVolume, "planVolume": Post "/v1/workspaces/{workspace}/volumes/{name}/plan" [WORKSPACE, VOLUME],
        "Says what an apply would do now.",
        "Nothing is changed. A refusal is part of the answer.",
        Some(inline::<ApplyOptions>), Some(of::<VolumeManifest>), Answer::Json(of::<VolumePlan>);
    MigrateVolume, "migrateVolume": Post "/v1/workspaces/{workspace}/volumes/{name}/migrate" [WORKSPACE, VOLUME],
        "Moves a volume to another pool, or its files into a filesystem of another size.",
        "Refused while it is in use. Long work: see the operations. The source is kept until the copy was read back and is the same; where the volume is there already, nothing happens.",
        None, Some(of::<MigrateRequest>), Answer::Json(of::<Applied<Volume>>);
    GetVolume, "getVolume": Get "/v1/workspaces/{workspace}/volumes/{name}" [WORKSPACE, VOLUME],
        "Shows a live volume.",
        "What is asked for, and what is.",
        None, None, Answer::Json(of::<Volume>);
    CheckVolume, "checkVolume": Post "/v1/workspaces/{workspace}/volumes/{name}/check" [WORKSPACE, VOLUME],
        "Checks the filesystem of a volume, and repairs it where that is asked for.",
        "Refused while it is in use. Long work: see the operations. A volume in error whose filesystem is whole is active again.",
        Some(inline::<VolumeCheckOptions>), None, Answer::Json(of::<VolumeCheck>);
    GetVolumeUsage, "getVolumeUsage": Get "/v1/workspaces/{workspace}/volumes/{name}/usage" [WORKSPACE, VOLUME],
        "Shows the use of a volume over the last day.",
        "Samples of every five minutes in which it was used, oldest first; one that equals the one before is left out. The first may be older: it holds when the day begins.",
        None, None, Answer::Json(of::<List<UsageSample>>);
    DeleteVolume, "deleteVolume": Delete "/v1/workspaces/{workspace}/volumes/{name}" [WORKSPACE, VOLUME],
        "Deletes a volume.",
        "Its data is destroyed or retained by its type. In use it is refused; with `force` it is marked, and goes when its last holder has gone.",
        Some(inline::<DeleteOptions>), None, Answer::Json(of::<Deleted>);
    UndeleteVolume, "undeleteVolume": Post "/v1/workspaces/{workspace}/volumes/{name}/undelete" [WORKSPACE, VOLUME],
        "Brings back a deleted volume.",
        "With the data it had; its name has to be free, or another is given. Where several deleted ones had the name, it is refused and they are listed.",
        None, Some(of::<UndeleteRequest>), Answer::Json(of::<Applied<Volume>>);
    UndeleteVolumeById, "undeleteVolumeById": Post "/v1/volumes/{id}/undelete" [ID],
        "Brings back a deleted volume by its id.",
        "As by name.",
        None, Some(of::<UndeleteRequest>), Answer::Json(of::<Applied<Volume>>);
    PurgeVolume, "purgeVolume": Post "/v1/volumes/{id}/purge" [ID],
        "Destroys the data of a deleted volume, for good.",
        "Only of a released one.",
        None, None, Answer::Json(of::<Deleted>);
    RenameVolume, "renameVolume": Post "/v1/workspaces/{workspace}/volumes/{name}/rename" [WORKSPACE, VOLUME],
        "Gives a volume another name.",
        "Refused while somebody uses it, and while an engine that is not told knows its name.",
        None, Some(of::<RenameRequest>), Answer::Json(of::<Applied<Volume>>);
    ListSnapshots, "listSnapshots": Get "/v1/snapshots" [],
        "Lists snapshots.",
        "Ordered by workspace and name, in pages.",
        Some(inline::<SnapshotFilter>), None, Answer::Json(of::<Page<Snapshot>>);
    ApplySnapshot, "applySnapshot": Put "/v1/workspaces/{workspace}/snapshots/{name}" [WORKSPACE, SNAPSHOT],
        "Makes a snapshot, or changes how long it is kept.",
        "Answers when it is whole, or says why not. The name in the manifest is the one of the path. A snapshot of a volume in use is of one moment of its filesystem; where the pool can't share blocks that would pause writers for long, and is refused unless `pauseWriters` says otherwise.",
        Some(inline::<SnapshotOptions>), Some(of::<SnapshotManifest>), Answer::Json(of::<Applied<Snapshot>>);
    GetSnapshot, "getSnapshot": Get "/v1/workspaces/{workspace}/snapshots/{name}" [WORKSPACE, SNAPSHOT],
        "Shows a snapshot.",
        "What is asked for, and what is.",
        None, None, Answer::Json(of::<Snapshot>);
    DeleteSnapshot, "deleteSnapshot": Delete "/v1/workspaces/{workspace}/snapshots/{name}" [WORKSPACE, SNAPSHOT],
        "Deletes a snapshot.",
        "Its volume, and what was made from it, stay.",
        None, None, Answer::Nothing;
    RestoreSnapshot, "restoreSnapshot": Post "/v1/workspaces/{workspace}/snapshots/{name}/restore" [WORKSPACE, SNAPSHOT],
        "Puts a volume back to a snapshot.",
        "Refused while somebody uses the volume. What is in it until then is kept as a snapshot, which the answer names.",
        None, None, Answer::Json(of::<Restored>);
    ApplySnapshotGroup, "applySnapshotGroup": Put "/v1/workspaces/{workspace}/snapshot-groups/{name}" [WORKSPACE, SNAPSHOT],
        "Makes snapshots of several volumes at one moment, or changes how long they are kept.",
        "Answers when all of them are whole, or says why none is made. Each is called like the group and its volume. All volumes in use are frozen together, which their pools have to share blocks for; of those that are block devices at most one may be in use.",
        None, Some(of::<SnapshotGroupRequest>), Answer::Json(of::<Applied<SnapshotGroup>>);
    GetSnapshotGroup, "getSnapshotGroup": Get "/v1/workspaces/{workspace}/snapshot-groups/{name}" [WORKSPACE, SNAPSHOT],
        "Shows a group of snapshots.",
        "With all its snapshots.",
        None, None, Answer::Json(of::<SnapshotGroup>);
    DeleteSnapshotGroup, "deleteSnapshotGroup": Delete "/v1/workspaces/{workspace}/snapshot-groups/{name}" [WORKSPACE, SNAPSHOT],
        "Deletes a group with all its snapshots.",
        "Their volumes, and what was made from them, stay. A snapshot of a group is not deleted alone.",
        None, None, Answer::Nothing;
    ListWorkspaces, "listWorkspaces": Get "/v1/workspaces" [],
        "Lists workspaces.",
        "All of them, by name.",
        None, None, Answer::Json(of::<List<Workspace>>);
    PutWorkspace, "putWorkspace": Put "/v1/workspaces/{workspace}" [WORKSPACE],
        "Makes a workspace, or sets who is granted it.",
        "The caller owns what it makes.",
        None, Some(of::<WorkspaceRequest>), Answer::Json(of::<Applied<Workspace>>);
    GetWorkspace, "getWorkspace": Get "/v1/workspaces/{workspace}" [WORKSPACE],
        "Shows a workspace.",
        "Its owner, its grants, and how many volumes it holds.",
        None, None, Answer::Json(of::<Workspace>);
    DeleteWorkspace, "deleteWorkspace": Delete "/v1/workspaces/{workspace}" [WORKSPACE],
        "Deletes an empty workspace.",
        "Released volumes count as content.",
        None, None, Answer::Nothing;
    ListPools, "listPools": Get "/v1/pools" [],
        "Lists pools.",
        "With the room they have.",
        None, None, Answer::Json(of::<List<Pool>>);
    GetPool, "getPool": Get "/v1/pools/{name}" [POOL],
        "Shows a pool.",
        "With the room it has.",
        None, None, Answer::Json(of::<Pool>);
    CreatePool, "createPool": Put "/v1/pools/{name}" [POOL],
        "Makes a pool.",
        "Only uid 0 may.",
        None, Some(of::<PoolRequest>), Answer::Json(of::<Applied<Pool>>);
    DeletePool, "deletePool": Delete "/v1/pools/{name}" [POOL],
        "Removes an empty pool.",
        "What it was on is given back: the image is removed, the device blank again. Only uid 0 may.",
        None, None, Answer::Nothing;
    ExportPool, "exportPool": Post "/v1/pools/{name}/export" [POOL],
        "Takes a pool off this node, with its data.",
        "The node forgets the pool and its volumes; their data stays, and the pool can be imported here or elsewhere. Refused while a volume of it is attached. Only uid 0 may.",
        None, None, Answer::Json(of::<PoolExported>);
    CheckPool, "checkPool": Post "/v1/pools/{name}/check" [POOL],
        "Compares a pool with its records.",
        "The store, the disk, the loop devices and the mounts; every difference with what to do. With `repair` what is safe is mended. Only uid 0 may.",
        Some(inline::<CheckOptions>), None, Answer::Json(of::<PoolCheck>);
    GrowPool, "growPool": Post "/v1/pools/{name}/grow" [POOL],
        "Lets a pool grow.",
        "Its image or device, its filesystem and what it may promise, while volumes in it are used. Only uid 0 may.",
        None, Some(of::<GrowRequest>), Answer::Json(of::<Applied<Pool>>);
    ImportPool, "importPool": Post "/v1/imports" [],
        "Brings a pool here with all that is in it.",
        "One that was carried here, or whose store was lost. Every filesystem in it is checked first, and nothing that it says of itself is believed. The same again goes on where an earlier attempt ended. Only uid 0 may.",
        None, Some(of::<ImportRequest>), Answer::Json(of::<PoolImport>);
    AdoptDirectory, "adoptDirectory": Post "/v1/workspaces/{workspace}/volumes/{name}/adopt" [WORKSPACE, VOLUME],
        "Makes a persistent volume out of a directory tree.",
        "Owners, permissions, extended attributes, holes and hard links are kept; the copy is compared with the tree, which is only read and stays. Only uid 0 may.",
        None, Some(of::<AdoptRequest>), Answer::Json(of::<Applied<Volume>>);
    GetDevice, "getDevice": Get "/v1/devices" [],
        "Shows what a block device holds, and who uses it.",
        "Before it is given to a pool. Only uid 0 may.",
        Some(inline::<DeviceFilter>), None, Answer::Json(of::<DeviceReport>);
    MountVolume, "mountVolume": Post "/v1/mounts" [],
        "Mounts a volume onto a directory of the host.",
        "The directory is empty and belongs to the caller.",
        None, Some(of::<MountRequest>), Answer::Json(of::<Mounted>);
    UnmountVolume, "unmountVolume": Delete "/v1/mounts" [],
        "Ends a mount of the host.",
        "Only one that was made by the operation above.",
        Some(inline::<MountFilter>), None, Answer::Nothing;
    ListOperations, "listOperations": Get "/v1/operations" [],
        "Lists the long work that is under way.",
        "With how far it is; oldest first. What ends at once is not among it.",
        None, None, Answer::Json(of::<List<resource::Operation>>);
    StopOperation, "stopOperation": Delete "/v1/operations/{id}" [OPERATION],
        "Asks long work to stop.",
        "Answers at once; the request that began the work is answered when what it had begun is taken back. Only who began it may, and uid 0.",
        None, None, Answer::Json(of::<resource::Operation>);
    ListEvents, "listEvents": Get "/v1/events" [],
        "Lists events.",
        "The newest, or those after a position.",
        Some(inline::<EventFilter>), None, Answer::Json(of::<EventList>);
    Watch, "watch": Get "/v1/watch" [],
        "Follows events.",
        "A stream of server-sent events: the id is the sequence, the data an Event. It goes on behind `Last-Event-ID` with nothing missing and nothing twice. A position that is no longer kept is answered with 410; one that expires while the client lags behind, with an event of type `expired` whose data is an Error, and the end. An id without data says how far the stream has looked.",
        Some(inline::<WatchFilter>), None, Answer::Stream;
    GetVersion, "getVersion": Get "/v1/version" [],
        "Says who answers.",
        "It is answered before the daemon is ready.",
        None, None, Answer::Json(of::<VersionReport>);
    GetHealth, "getHealth": Get "/healthz" [],
        "Says that the process answers.",
        "Nothing more.",
        None, None, Answer::Text("text/plain; charset=utf-8");
    GetReadiness, "getReadiness": Get "/readyz" [],
        "Says whether volumes can be used.",
        "With 503 and the reasons until recovery is over and mounts are seen by the host.",
        None, None, Answer::Json(of::<ReadinessReport>);
    GetMetrics, "getMetrics": Get "/metrics" [],
        "Numbers for Prometheus.",
        "In its text format.",
        None, None, Answer::Text("application/openmetrics-text; version=1.0.0; charset=utf-8");
    GetOpenApi, "getOpenApi": Get "/openapi.json" [],
        "This document.",
        "OpenAPI 3.1.",
        None, None, Answer::Text("application/json");
}

impl Operation {
    /// Its path with `values` in place of the parameters, in order. The values are names and ids,
    /// whose grammars need no escape.
    pub fn path(self, values: &[&str]) -> String {
        let mut values = values.iter();
        let parts: Vec<&str> = self
            .route()
            .path
            .split('/')
            .map(|part| if part.starts_with('{') { values.next().copied().unwrap_or(part) } else { part })
            .collect();
        parts.join("/")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_parameters_are_those_of_the_path() {
        for operation in Operation::ALL {
            let route = operation.route();
            let braces: Vec<_> =
                route.path.split('/').filter_map(|p| p.strip_prefix('{')?.strip_suffix('}')).collect();
            let named: Vec<_> = route.parameters.iter().map(|(name, _)| *name).collect();
            assert_eq!(braces, named, "{operation:?}");
        }
    }

    #[test]
    fn no_two_operations_are_the_same() {
        let mut ids = HashSet::new();
        let mut routes = HashSet::new();
        for operation in Operation::ALL {
            assert!(ids.insert(operation.id()));
            let route = operation.route();
            assert!(routes.insert((route.method.as_str(), route.path)));
        }
    }

    #[test]
    fn a_path_is_filled_in() {
        assert_eq!(Operation::GetVolume.path(&["public", "a"]), "/v1/workspaces/public/volumes/a");
        assert_eq!(Operation::ListPools.path(&[]), "/v1/pools");
    }
}
