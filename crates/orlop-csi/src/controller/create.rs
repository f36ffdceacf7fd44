//! Making a volume.

use orlop_engine::{ProvisionRequest, SourceId};
use orlop_model::{
    Error, ErrorKind, MountOption, Period, PoolName, Result, VolumeManifest, VolumeSpec, VolumeType,
    resource::Volume,
};
use tonic::Code;

use crate::{
    access::{Capability, Wanted, one_of},
    describe,
    driver::{CALLER, Shared},
    error::{Refusal, Reply},
    parameters::{CLASS, MUTABLE, Origin, Parameters, legal},
    protocol::{CreateVolumeRequest, CreateVolumeResponse, VolumeContentSource, volume_content_source::Type},
    request::{given, known_snapshot, known_volume, name, sizes},
    work::PATIENCE,
};

/// See the specification of `CreateVolume`.
pub(super) fn create(shared: &Shared, request: &CreateVolumeRequest) -> Reply<CreateVolumeResponse> {
    let wish = wish(request)?;
    shared.node.serves(request.accessibility_requirements.as_ref())?;
    let made = shared.engine.provision(&CALLER, &wish, PATIENCE);
    let made: Volume = made.map_err(|error| elsewhere(error, wish.manifest.volume.pool.as_ref()))?.resource;
    Ok(CreateVolumeResponse { volume: Some(describe::volume(&shared.node, &made, wish.source)) })
}

/// NOT_FOUND means the source. A pool that this node does not have is one without room here: another node
/// may have it.
fn elsewhere(error: Error, pool: Option<&PoolName>) -> Refusal {
    let of_pool = pool.is_some_and(|pool| error.object.as_deref() == Some(&format!("pool {pool}")));
    if of_pool && error.kind == ErrorKind::NotFound {
        return Refusal::coded(Code::ResourceExhausted, error);
    }
    error.into()
}

/// What the engine is asked for.
pub(crate) fn wish(request: &CreateVolumeRequest) -> Result<ProvisionRequest> {
    let external = name("name", &request.name)?;
    let capabilities = Capability::all("volume_capabilities", &request.volume_capabilities)?;
    let mut parameters = Parameters::read("parameters", CLASS, &request.parameters)?;
    let wanted = Wanted::of(&capabilities, parameters.node_scope)?;
    parameters.keep_for(wanted.volume_mode);
    parameters.take("mutable_parameters", MUTABLE, &request.mutable_parameters)?;
    let claim = Origin::of_claim(&request.parameters);
    let workspace = parameters.workspace.clone().map_or_else(|| claim.workspace(), Ok)?;
    Ok(ProvisionRequest {
        external: external.to_owned(),
        workspace,
        manifest: manifest(legal(claim.name.unwrap_or(external)), claim.tags(), wanted, parameters)?,
        size: sizes(request.capacity_range.as_ref())?,
        source: request.volume_content_source.as_ref().map(source).transpose()?,
        ephemeral: false,
    })
}

/// A manifest that says what was asked for. Its size is decided by the engine.
pub(crate) fn manifest(
    name: String,
    tags: Vec<String>,
    wanted: Wanted,
    parameters: Parameters,
) -> Result<VolumeManifest> {
    let volume_type = parameters.volume_type.unwrap_or(VolumeType::Persistent);
    // Scratch here is what goes with its claim, not what nobody uses for a while: a pod that is away for
    // an hour finds its data.
    let unsaid = (!volume_type.retains()).then_some(Period::Never);
    Ok(VolumeManifest {
        name: name.parse()?,
        version: Default::default(),
        resource_type: Default::default(),
        tags,
        description: None,
        owner: None,
        layer: Default::default(),
        volume: VolumeSpec {
            size: orlop_model::Size::LEAST,
            access_mode: wanted.access_mode,
            volume_type,
            volume_mode: wanted.volume_mode,
            pool: parameters.pool,
            filesystem: one_of(wanted.filesystem, parameters.filesystem.unwrap_or_default())?,
            uid: parameters.uid,
            gid: parameters.gid,
            mode: parameters.mode,
            mount_options: united(wanted.options, parameters.mount_options),
            preallocate: parameters.preallocate.unwrap_or_default(),
            protection: parameters.protection.unwrap_or_default(),
            temp_grace_period: parameters.temp_grace_period.or(unsaid),
            source: None,
            snapshots: None,
        },
    })
}

fn united(mut options: Vec<MountOption>, more: Option<Vec<MountOption>>) -> Vec<MountOption> {
    options.extend(more.unwrap_or_default());
    options.sort_unstable();
    options.dedup();
    options
}

fn source(source: &VolumeContentSource) -> Result<SourceId> {
    let field = "volume_content_source";
    match given(field, source.r#type.as_ref())? {
        Type::Snapshot(source) => {
            known_snapshot(&format!("{field}.snapshot.snapshot_id"), &source.snapshot_id)
                .map(SourceId::Snapshot)
        }
        Type::Volume(source) => {
            known_volume(&format!("{field}.volume.volume_id"), &source.volume_id).map(SourceId::Volume)
        }
    }
}
