//! Volumes that are written into a pod: made when the pod gets them, destroyed when it is gone. Nothing
//! but the id that the kubelet made up tells which is which.

use std::path::Path;

use orlop_engine::{ProvisionRequest, PublishRequest, SizeRange, VolumeRef};
use orlop_model::{
    Error, ErrorKind, Result, VolumeId, VolumeType,
    resource::{Deletion, Front, Outcome, Volume},
};

use crate::{
    access::{Capability, Wanted},
    controller::manifest,
    driver::{CALLER, Shared},
    parameters::{INLINE, Origin, Parameters, legal},
    protocol::NodePublishVolumeRequest,
    request::{name, shown},
    work::PATIENCE,
};

/// Makes the volume where it is not there yet, and publishes it.
pub(super) fn publish(
    shared: &Shared,
    request: &NodePublishVolumeRequest,
    capability: &Capability,
    wish: impl FnOnce(VolumeId) -> PublishRequest,
) -> Result<()> {
    let made = shared.engine.provision(&CALLER, &wish_of(request, capability)?, PATIENCE)?;
    let id = made.resource.status.id;
    let wish = wish(id);
    let is_new = made.outcome == Outcome::Created || is_missing(&wish.target);
    let published = shared.engine.publish(&CALLER, &wish, PATIENCE).map_err(|error| {
        let gone = error.kind == ErrorKind::NotFound;
        if gone { overtaken(&request.volume_id, "destroyed") } else { error }
    });
    // Nobody may ever ask for it again, nor for one that a driver made which ended then.
    if published.is_err()
        && is_new
        && !is_published(shared, id)
        && let Err(error) = destroy(shared, id)
    {
        tracing::warn!(volume = %id, %error, "a volume that could not be published stays");
    }
    published
}

/// Whether nothing was ever published there: what is made to mount on stays as long as the pod, also when
/// the node is rebooted. A pod has data in what was published to it once, and takes it away itself.
fn is_missing(target: &Path) -> bool {
    target.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// Two calls of which one undoes what the other does met: whoever is left asks again.
fn overtaken(external: &str, how: &str) -> Error {
    let message = format!("volume {} was {how} meanwhile by another call", shown(external));
    Error::new(ErrorKind::Conflict, message).object("volume_id").hint("the same call is safe to repeat")
}

/// What the engine is asked for.
pub(crate) fn wish_of(
    request: &NodePublishVolumeRequest,
    capability: &Capability,
) -> Result<ProvisionRequest> {
    let external = name("volume_id", &request.volume_id)?;
    let mut parameters = Parameters::read("volume_context", INLINE, &request.volume_context)?;
    parameters.volume_type = Some(VolumeType::Temp);
    let wanted = Wanted::of(std::slice::from_ref(capability), false)?;
    let pod = Origin::of_pod(&request.volume_context);
    let size = SizeRange { least: parameters.size, most: parameters.size };
    Ok(ProvisionRequest {
        external: external.to_owned(),
        workspace: pod.workspace()?,
        manifest: manifest(legal(pod.name.unwrap_or(external)), pod.tags(), wanted, parameters)?,
        size,
        source: None,
        ephemeral: true,
    })
}

/// Takes it from its pod and destroys it. Of one that is not there it succeeds.
pub(super) fn unpublish(shared: &Shared, external: &str, target: &Path) -> Result<()> {
    let Some(volume) = find(shared, external)? else { return Ok(()) };
    let id = volume.status.id;
    shared.engine.unpublish(&CALLER, id, target, PATIENCE)?;
    destroy(shared, id).map_err(|error| {
        if is_published(shared, id) { overtaken(external, "published again") } else { error }
    })
}

/// Whether another call has published it meanwhile.
fn is_published(shared: &Shared, id: VolumeId) -> bool {
    let found = shared.engine.volume(&CALLER, &VolumeRef::Id(id));
    found.is_ok_and(|volume| volume.status.attachments.iter().any(|had| had.front == Front::Csi))
}

/// The volume that was made for that id.
pub(super) fn find(shared: &Shared, external: &str) -> Result<Option<Volume>> {
    let found = shared.engine.provisioned(&CALLER, external)?;
    // One that a claim has is found by its own id alone.
    Ok(found.filter(|volume| volume.status.ephemeral))
}

fn destroy(shared: &Shared, id: VolumeId) -> Result<()> {
    match shared.engine.delete(&CALLER, &VolumeRef::Id(id), false) {
        Ok(Deletion::Destroyed | Deletion::Released | Deletion::Deleting) => Ok(()),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
