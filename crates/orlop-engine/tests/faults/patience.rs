//! Work that takes long goes on once, and those who come meanwhile are told to come again.

use std::time::{Duration, Instant};

use orlop_engine::*;
use orlop_model::ErrorKind;
use orlop_testkit::{Part, require};

use crate::harness::*;

#[test]
fn a_slow_mount_goes_on_once() {
    require!(Part::Loop);
    let world = World::new("patience");
    world.make("data", "ReadWriteMany", "temp");
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let _fault = fault::inject("attach.loop=sleep:1500");
            let path = world.attach("data", "one").unwrap().path;
            (path, fault::passed(fault::Point::AttachLoop))
        });
        std::thread::sleep(Duration::from_millis(300));
        let request = AttachRequest {
            volume: key("data"),
            scope: Scope { id: "two".into(), shared: false, may_go_stale: true },
            consumer: "docker mount two".into(),
            read_only: false,
            known_as: None,
        };
        let begin = Instant::now();
        let error = fails(
            world.engine().attach(&DOCKER, &request, Duration::from_millis(100)),
            ErrorKind::Recovering,
        );
        assert!(error.message.contains("still recovering") && error.hint.unwrap().contains("retry"));
        assert!(begin.elapsed() < Duration::from_secs(1));
        // Looking does not wait.
        assert_eq!(world.volume("data").status.attachments.len(), 0);
        let path = world.engine().attach(&DOCKER, &request, PATIENCE).unwrap().path;
        assert_eq!(slow.join().unwrap(), (path, 1));
    });
    assert_eq!(world.volume("data").status.attachments.len(), 2);
    world.detach("data", "one").unwrap();
    world.detach("data", "two").unwrap();
}

#[test]
fn before_recovery_nothing_is_done() {
    require!(Part::Root);
    let mut world = World::new("early");
    world.crash();
    let engine = Engine::open(world.config.clone()).unwrap();
    fails(
        engine.attach(
            &DOCKER,
            &AttachRequest {
                volume: key("data"),
                scope: Scope { id: "one".into(), shared: false, may_go_stale: true },
                consumer: "docker mount one".into(),
                read_only: false,
                known_as: None,
            },
            PATIENCE,
        ),
        ErrorKind::Recovering,
    );
    assert!(!engine.readiness().is_ready());
    engine.recover().unwrap();
    assert!(engine.readiness().is_ready(), "{:?}", engine.readiness());
}
