//! Lists of volumes, and how each of them fares.

use orlop_csi::protocol::*;
use orlop_testkit::{Part, require};
use tonic::Code;

use crate::harness::*;

impl World {
    async fn volumes(&mut self, max_entries: i32, token: &str) -> (Vec<String>, String) {
        let request = ListVolumesRequest { max_entries, starting_token: token.to_owned() };
        let answer = self.controller.list_volumes(request).await.unwrap().into_inner();
        let ids = answer.entries.into_iter().map(|entry| entry.volume.unwrap().volume_id);
        (ids.collect(), answer.next_token)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_where_they_were() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let mut made = Vec::new();
    // In another order than that of their names.
    for name in ["e", "d", "c", "b", "a"] {
        made.push(world.make(name).await.volume_id);
    }
    assert_eq!(world.volumes(0, "").await, (made.clone(), String::new()));
    let (first, token) = world.volumes(2, "").await;
    assert_eq!(first, made[..2]);
    world.delete(&made[1]).await.unwrap();
    made.push(world.make("new").await.volume_id);
    let (second, token) = world.volumes(2, &token).await;
    assert_eq!(second, made[2..4]);
    let (rest, end) = world.volumes(10, &token).await;
    assert_eq!((rest, end.as_str()), (made[4..].to_vec(), ""));
    let wrong = ListVolumesRequest { starting_token: "public.a".to_owned(), ..Default::default() };
    assert_eq!(code(world.controller.list_volumes(wrong).await), Code::Aborted);
    let wrong = ListVolumesRequest { max_entries: -1, ..Default::default() };
    assert_eq!(code(world.controller.list_volumes(wrong).await), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_whose_image_is_gone_is_abnormal() {
    require!(Part::Loop);
    let mut world = World::new().await;
    let id = world.make("data").await.volume_id;
    let get = ControllerGetVolumeRequest { volume_id: id.clone() };
    let mut condition = async || {
        let answer = world.controller.controller_get_volume(get.clone()).await.unwrap().into_inner();
        let listed = world.controller.list_volumes(ListVolumesRequest::default()).await.unwrap().into_inner();
        let found = answer.status.unwrap().volume_condition.unwrap();
        assert_eq!(listed.entries[0].status.clone().unwrap().volume_condition.unwrap(), found);
        found
    };
    let well = condition().await;
    assert!(!well.abnormal && !well.message.is_empty(), "{well:?}");
    let pool = world.engine().pool(&ROOT, &orlop_model::PoolName::default_pool()).unwrap().path;
    std::fs::remove_file(format!("{pool}/volumes/{id}/data.img")).unwrap();
    // It is found when somebody wants it, or looks.
    let capability = mount(volume_capability::access_mode::Mode::SingleNodeWriter);
    assert_eq!(code(world.stage(&id, &capability).await), Code::Internal);
    let answer = world.controller.controller_get_volume(get).await.unwrap().into_inner();
    let ill = answer.status.unwrap().volume_condition.unwrap();
    assert!(ill.abnormal && !ill.message.is_empty(), "{ill:?}");
}
