//! Giving a volume to one consumer, and taking it back.

use std::path::{Path, PathBuf};

use orlop_engine::PublishRequest;
use orlop_model::{Error, ErrorKind, Result, VolumeId};

use super::ephemeral;
use crate::{
    access::Capability,
    controller::find,
    driver::{CALLER, Shared},
    error::Reply,
    parameters::{Origin, is_ephemeral},
    protocol::{
        NodePublishVolumeRequest, NodePublishVolumeResponse, NodeUnpublishVolumeRequest,
        NodeUnpublishVolumeResponse,
    },
    request::{missing, no_volume, path, said, volume_id},
    work::PATIENCE,
};

/// See the specification of `NodePublishVolume`.
pub(super) fn publish(
    shared: &Shared,
    request: &NodePublishVolumeRequest,
) -> Reply<NodePublishVolumeResponse> {
    let id = volume_id("volume_id", &request.volume_id)?;
    said("target_path", &request.target_path)?;
    let capability = Capability::read("volume_capability", request.volume_capability.as_ref())?;
    let target = path("target_path", &request.target_path)?;
    let wish = |volume: VolumeId, staging: Option<PathBuf>| PublishRequest {
        volume,
        staging,
        consumer: consumer(request, &target),
        target: target.clone(),
        form: capability.form(),
        access: capability.access(),
        read_only: request.readonly || capability.is_read_only(),
    };
    if is_ephemeral(&request.volume_context) {
        ephemeral::publish(shared, request, &capability, |volume| wish(volume, None))?;
        return Ok(NodePublishVolumeResponse {});
    }
    let id = id.ok_or_else(|| no_volume(&request.volume_id))?;
    let volume = find(shared, id)?;
    let staging = staging(&request.staging_target_path)?;
    capability.of(&volume)?;
    shared.engine.publish(&CALLER, &wish(id, Some(staging)), PATIENCE)?;
    Ok(NodePublishVolumeResponse {})
}

/// Where it was staged. That nothing is said has a code of its own.
fn staging(text: &str) -> Result<PathBuf> {
    const FIELD: &str = "staging_target_path";
    if text.is_empty() {
        let error = Error { kind: ErrorKind::AccessRefused, ..missing(FIELD) };
        return Err(error.hint("stage the volume first, and say where"));
    }
    path(FIELD, text)
}

/// Who gets it, in words for a user: the pod where that is said, else what its directory says.
fn consumer(request: &NodePublishVolumeRequest, target: &Path) -> String {
    let named = Origin::of_pod(&request.volume_context).title();
    named.or_else(|| pod(target)).unwrap_or_else(|| format!("whoever has {}", target.display()))
}

/// The pod in `pods/UID/…`, which has directories, or in `volumeDevices/publish/PV/UID`, where kubelets
/// want block devices.
fn pod(target: &Path) -> Option<String> {
    let parts: Vec<_> = target.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    let uid = match parts.as_slice() {
        [.., devices, publish, _, uid] if devices == "volumeDevices" && publish == "publish" => uid,
        parts => parts.iter().skip_while(|part| *part != "pods").nth(1)?,
    };
    Some(format!("pod {uid}"))
}

/// See the specification of `NodeUnpublishVolume`. Of what is not published it succeeds.
pub(super) fn unpublish(
    shared: &Shared,
    request: &NodeUnpublishVolumeRequest,
) -> Reply<NodeUnpublishVolumeResponse> {
    let id = volume_id("volume_id", &request.volume_id)?;
    let target = path("target_path", &request.target_path)?;
    match id {
        Some(id) => shared.engine.unpublish(&CALLER, id, &target, PATIENCE)?,
        None => ephemeral::unpublish(shared, &request.volume_id, &target)?,
    }
    Ok(NodeUnpublishVolumeResponse {})
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_named_by_what_is_known_of_it() {
        let mut request = NodePublishVolumeRequest::default();
        let target = Path::new("/var/lib/kubelet/pods/1234-5678/volumes/kubernetes.io~csi/pvc-1/mount");
        assert_eq!(consumer(&request, target), "pod 1234-5678");
        let device = Path::new("/var/lib/kubelet/plugins/kubernetes.io/csi/volumeDevices/publish/pvc-1/1234");
        assert_eq!(consumer(&request, device), "pod 1234");
        assert_eq!(consumer(&request, Path::new("/mnt/a")), "whoever has /mnt/a");
        for (key, value) in [("name", "web-0"), ("namespace", "shop")] {
            request.volume_context.insert(format!("csi.storage.k8s.io/pod.{key}"), value.to_owned());
        }
        assert_eq!(consumer(&request, target), "pod shop/web-0");
    }
}
