//! Making volumes: what claims, classes and places say.

use orlop_csi::protocol::{volume_capability::access_mode::Mode, *};
use orlop_engine::UndeleteRequest;
use orlop_engine::VolumeRef;
use orlop_model::{FilesystemKind, Period, VolumeType, resource::VolumeState};
use orlop_testkit::{Part, require};
use tonic::Code;

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_known_by_its_claim() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let claim = |namespace: &str, name: &str, pv: &str| CreateVolumeRequest {
        parameters: map(&[
            ("type", "temp"),
            ("gid", "2000"),
            ("mode", "2770"),
            ("csi.storage.k8s.io/pvc/namespace", namespace),
            ("csi.storage.k8s.io/pvc/name", name),
            ("csi.storage.k8s.io/pv/name", pv),
        ]),
        ..volume(pv)
    };
    let one = world.create(claim("shop", "data.web-0", "pvc-1")).await.unwrap();
    let found = world.resource(&one.volume_id).unwrap();
    assert_eq!((found.workspace.as_str(), found.manifest.name.as_str()), ("shop", "data-web-0"));
    assert_eq!(found.manifest.tags, ["pvc:shop/data.web-0", "pv:pvc-1"]);
    assert_eq!(found.status.created_by, orlop_model::resource::Front::Csi);
    let spec = &found.manifest.volume;
    assert_eq!((spec.gid, spec.mode.unwrap().bits()), (Some(2000), 0o2770));
    // Scratch goes with its claim, and not while its pod is away.
    assert_eq!((spec.volume_type, spec.temp_grace_period), (VolumeType::Temp, Some(Period::Never)));
    // A claim that was made anew is another one.
    let two = world.create(claim("shop", "data.web-0", "pvc-2")).await.unwrap();
    assert_ne!(one.volume_id, two.volume_id);
    assert!(world.resource(&two.volume_id).unwrap().manifest.name.as_str().starts_with("data-web-0-"));
    // Without a claim it is called as it was asked for.
    let bare = world.make("PVC_3").await;
    let found = world.resource(&bare.volume_id).unwrap();
    assert_eq!((found.workspace.as_str(), found.manifest.name.as_str()), ("public", "pvc-3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_are_honoured_or_refused() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let sized = |name: &str, required_bytes, limit_bytes| CreateVolumeRequest {
        capacity_range: Some(CapacityRange { required_bytes, limit_bytes }),
        ..volume(name)
    };
    for (name, required, limit, capacity) in [
        ("least", 1, 0, 16 * MIB),
        ("exact", 20 * MIB, 20 * MIB, 20 * MIB),
        ("whole", 20 * MIB + 1, 0, 20 * MIB + 4096),
        ("bound", 0, 32 * MIB, 32 * MIB),
        ("usual", 0, 0, 64 * MIB),
    ] {
        assert_eq!(
            world.create(sized(name, required, limit)).await.unwrap().capacity_bytes,
            capacity,
            "{name}"
        );
    }
    for (required, limit) in [(0, MIB), (30 * MIB, 20 * MIB)] {
        assert_eq!(code(world.create(sized("out", required, limit)).await), Code::OutOfRange);
    }
    assert_eq!(code(world.create(sized("out", -1, 0)).await), Code::InvalidArgument);
    let (code_, message) = refused(world.create(sized("out", 1 << 50, 0)).await);
    assert_eq!(code_, Code::ResourceExhausted);
    assert!(message.contains("ask for at most"), "{message}");
    for other in [21 * MIB, 16 << 40] {
        assert_eq!(code(world.create(sized("exact", other, 0)).await), Code::AlreadyExists);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_leaves_this_node_out_is_another_drivers() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let place = |name: &str| Topology { segments: map(&[(TOPOLOGY, name)]) };
    let asked = |name: &str, places: &[&str]| CreateVolumeRequest {
        accessibility_requirements: Some(TopologyRequirement {
            requisite: places.iter().map(|name| place(name)).collect(),
            preferred: Vec::new(),
        }),
        ..volume(name)
    };
    world.create(asked("here", &["node-2", NODE])).await.unwrap();
    let (code_, message) = refused(world.create(asked("there", &["node-2"])).await);
    assert_eq!(code_, Code::ResourceExhausted);
    assert!(message.contains("node-1") && message.contains("node-2"), "{message}");

    let mut capacity = async |pool: &str, at: Option<&str>, mode: Mode, fs_type: &str| {
        let mut capability = mount(mode);
        if !fs_type.is_empty() {
            capability = filesystem(fs_type);
        }
        let request = GetCapacityRequest {
            parameters: if pool.is_empty() { map(&[]) } else { map(&[("pool", pool)]) },
            volume_capabilities: vec![capability],
            accessible_topology: at.map(place),
        };
        world.controller.get_capacity(request).await.unwrap().into_inner()
    };
    let here = capacity("", Some(NODE), Mode::SingleNodeWriter, "").await;
    assert!(here.available_capacity > 1 << 30 && here.available_capacity < 3 << 30, "{here:?}");
    assert_eq!(here.maximum_volume_size, Some(here.available_capacity));
    assert_eq!(here.minimum_volume_size, Some(16 * MIB));
    assert_eq!(capacity("", None, Mode::SingleNodeWriter, "xfs").await.minimum_volume_size, Some(300 * MIB));
    for (pool, at, mode) in [
        ("", Some("node-2"), Mode::SingleNodeWriter),
        ("fast", Some(NODE), Mode::SingleNodeWriter),
        ("", None, Mode::MultiNodeMultiWriter),
    ] {
        assert_eq!(capacity(pool, at, mode, "").await.available_capacity, 0, "{pool} {at:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_persistent_is_retained() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let request = CreateVolumeRequest { parameters: map(&[]), ..volume("data") };
    let id = world.create(request.clone()).await.unwrap().volume_id;
    let target = world.have(&id, "pod").await;
    std::fs::write(target.join("file"), "cargo").unwrap();
    world.destroy(&id, "pod").await;
    assert_eq!(world.resource(&id).unwrap().status.state, VolumeState::Released);
    // To an orchestrator it is gone.
    world.delete(&id).await.unwrap();
    assert_eq!(code(world.stage(&id, &mount(Mode::SingleNodeWriter)).await), Code::NotFound);
    let get = ControllerGetVolumeRequest { volume_id: id.clone() };
    assert_eq!(code(world.controller.controller_get_volume(get).await), Code::NotFound);
    assert_ne!(world.create(request).await.unwrap().volume_id, id);
    let undelete =
        UndeleteRequest { volume: VolumeRef::Id(id.parse().unwrap()), name: Some("back".parse().unwrap()) };
    world.engine().undelete(&ROOT, &undelete).unwrap();
    let target = world.have(&id, "pod").await;
    assert_eq!(std::fs::read_to_string(target.join("file")).unwrap(), "cargo");
    world.destroy(&id, "pod").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_may_change_do() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let request = CreateVolumeRequest {
        parameters: map(&[("type", "persistent"), ("gid", "1")]),
        mutable_parameters: map(&[("gid", "2"), ("mode", "0770")]),
        ..volume("data")
    };
    let made = world.create(request.clone()).await.unwrap();
    assert_eq!(world.create(request).await.unwrap(), made);
    assert_eq!(world.resource(&made.volume_id).unwrap().manifest.volume.gid, Some(2));
    let modify = |parameters: &[(&str, &str)]| ControllerModifyVolumeRequest {
        volume_id: made.volume_id.clone(),
        mutable_parameters: map(parameters),
        ..Default::default()
    };
    for _ in 0..2 {
        let request =
            modify(&[("type", "temp"), ("gid", "3"), ("mountOptions", "noatime"), ("protection", "true")]);
        world.controller.controller_modify_volume(request).await.unwrap();
    }
    let spec = world.resource(&made.volume_id).unwrap().manifest.volume;
    assert_eq!((spec.volume_type, spec.gid, spec.uid), (VolumeType::Temp, Some(3), None));
    assert_eq!(spec.mode.unwrap().bits(), 0o770, "what is not said stays");
    assert_eq!(spec.temp_grace_period, Some(Period::Never));
    assert_eq!(code(world.delete(&made.volume_id).await), Code::FailedPrecondition);
    // All or nothing.
    for parameters in [&[("gid", "4"), ("pool", "fast")][..], &[("gid", "4"), ("mode", "x")], &[]] {
        let refused = world.controller.controller_modify_volume(modify(parameters)).await;
        assert_eq!(code(refused), Code::InvalidArgument);
    }
    let spec = world.resource(&made.volume_id).unwrap().manifest.volume;
    assert_eq!(spec.gid, Some(3));
    world.controller.controller_modify_volume(modify(&[("protection", "false")])).await.unwrap();
    world.delete(&made.volume_id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_says_what_a_volume_is_made_with() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let request = CreateVolumeRequest {
        parameters: map(&[
            ("type", "temp"),
            ("filesystem", "xfs"),
            ("mountOptions", "noatime"),
            ("preallocate", "true"),
            ("workspace", "batch"),
            ("tempGracePeriod", "1h"),
        ]),
        capacity_range: None,
        ..volume("data")
    };
    let made = world.create(request.clone()).await.unwrap();
    let found = world.resource(&made.volume_id).unwrap();
    assert_eq!((found.workspace.as_str(), found.status.filesystem), ("batch", Some(FilesystemKind::Xfs)));
    assert_eq!(made.capacity_bytes, 300 * MIB, "an XFS is not smaller");
    assert!(found.manifest.volume.preallocate);
    assert_eq!(found.manifest.volume.temp_grace_period, Some(Period::After(3600)));
    for (key, value) in [("mountOptions", "noexec"), ("preallocate", "false"), ("filesystem", "ext4")] {
        let mut other = request.clone();
        other.parameters.insert(key.to_owned(), value.to_owned());
        assert_eq!(code(world.create(other).await), Code::AlreadyExists, "{key}");
    }
    world.delete(&made.volume_id).await.unwrap();
}
