//! Growing a volume where it is used. The controller's call has done it all; this one sees to it.

use orlop_engine::{Amendment, SizeRange};

use super::statistics::{find, place};
use crate::{
    access::Capability,
    controller::find as find_volume,
    describe::bytes,
    driver::{CALLER, Shared},
    error::Reply,
    protocol::{NodeExpandVolumeRequest, NodeExpandVolumeResponse},
    request::{said, sizes},
    work::PATIENCE,
};

/// See the specification of `NodeExpandVolume`.
pub(super) fn expand(shared: &Shared, request: &NodeExpandVolumeRequest) -> Reply<NodeExpandVolumeResponse> {
    said("volume_id", &request.volume_id)?;
    said("volume_path", &request.volume_path)?;
    let size: SizeRange = sizes(request.capacity_range.as_ref())?;
    let id = find(shared, &request.volume_id)?;
    Capability::of_grown(request.volume_capability.as_ref(), &find_volume(shared, id)?)?;
    // Refused where the volume is neither staged nor published.
    shared.engine.volume_statistics(&CALLER, id, &place(&request.volume_path)?)?;
    let amendment = Amendment { size: Some(size), ..Amendment::default() };
    let grown = shared.engine.amend(&CALLER, id, &amendment, PATIENCE)?.resource;
    Ok(NodeExpandVolumeResponse { capacity_bytes: bytes(grown.manifest.volume.size.bytes()) })
}
