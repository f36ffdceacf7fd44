//! Whom events are told to: a webhook that fails at first, and a command.

use std::{net::TcpListener, time::Duration};

use orlop_engine::Caller;
use orlop_model::{
    ErrorKind,
    notify::{Notify, NotifyTo},
    resource::{Event, Severity},
};
use orlop_testkit::{Part, command::eventually, require, webhook::Receiver};

use crate::harness::*;

const SOON: Duration = Duration::from_secs(20);

fn told(to: NotifyTo, severity: Severity) -> Notify {
    Notify { to, severity, timeout: Duration::from_secs(5) }
}

#[test]
fn a_webhook_is_told_of_everything_in_order_whatever_fails() {
    require!(Part::Loop);
    let receiver = Receiver::new(&[503, 500, 400]);
    let mut world = World::with("webhook", |config| {
        config.notify = vec![told(NotifyTo::Webhook(receiver.url()), Severity::Info)];
    });
    let heard = |reason: &str| {
        let heard = || receiver.reasons().iter().any(|(status, told)| *status == 204 && told == reason);
        assert!(eventually(SOON, heard), "{reason}: {:?}", receiver.reasons());
    };
    world.make("data", "ReadWriteMany", "temp");
    world.attach("data", "one").unwrap();
    heard("Attached");
    let first: Vec<_> = receiver.reasons().into_iter().take(4).collect();
    let (again, refused) = (&first[..3], &first[2]);
    assert!(again.iter().all(|(_, reason)| reason == &first[0].1), "retried until it was refused: {first:?}");
    assert_eq!(refused.0, 400);
    assert_ne!(first[3].1, refused.1, "what the receiver does not want is not sent again");
    let body = receiver.heard()[3].1.clone();
    assert_eq!(body["node"], "test");
    let event: Event = serde_json::from_value(body).unwrap();
    assert!(world.events().contains(&event), "{event:?}");

    let before = receiver.reasons().len();
    world.restart();
    world.detach("data", "one").unwrap();
    heard("Detached");
    let after: Vec<_> = receiver.reasons().split_off(before).into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(after.iter().filter(|reason| *reason == "Attached").count(), 0, "not again: {after:?}");
    let sequences: Vec<u64> = {
        receiver
            .heard()
            .iter()
            .filter(|(status, _)| *status == 204)
            .map(|(_, e)| e["sequence"].as_u64().unwrap())
            .collect()
    };
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    let statistics = world.engine().statistics();
    assert!(statistics.notifications.iter().any(|(to, word, _)| (*to, *word) == ("webhook", "sent")));
}

#[test]
fn a_receiver_that_is_away_holds_up_nobody_and_is_told_later() {
    require!(Part::Loop);
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", place.local_addr().unwrap());
    drop(place);
    let mut world = World::with("away", |config| {
        config.notify = vec![told(NotifyTo::Webhook(url), Severity::Info)];
    });
    world.make("data", "ReadWriteMany", "temp");
    let retried = || world.engine().statistics().notifications.iter().any(|(_, word, _)| *word == "retried");
    assert!(eventually(SOON, retried));
    let events = world.events().len();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(world.events().len(), events, "what fails makes no event");
    // It is told elsewhere from now on: of nothing that was before.
    let receiver = Receiver::new(&[]);
    world.crash();
    world.config.notify = vec![told(NotifyTo::Webhook(receiver.url()), Severity::Info)];
    world.start();
    world.attach("data", "one").unwrap();
    assert!(eventually(SOON, || receiver.reasons().iter().any(|(_, reason)| reason == "Attached")));
    assert!(!receiver.reasons().iter().any(|(_, reason)| reason == "Created"), "{:?}", receiver.reasons());
    world.detach("data", "one").unwrap();
}

#[test]
fn a_command_gets_the_event_on_its_standard_input() {
    require!(Part::Loop);
    let world = World::with("command", |config| {
        let file = config.state_dir.with_file_name("told");
        let arguments = vec!["-c".to_owned(), format!("cat >> {0}; echo >> {0}", file.display())];
        let to = NotifyTo::Command { executable: "/bin/sh".into(), arguments };
        config.notify = vec![told(to, Severity::Error)];
    });
    let made = world.make("data", "ReadWriteMany", "temp");
    let image = world.image(&made);
    std::fs::rename(&image, image.with_extension("away")).unwrap();
    world.volume("data");
    let text = || std::fs::read_to_string(world.join("told")).unwrap_or_default();
    assert!(eventually(SOON, || text().ends_with('\n')), "{}", text());
    let event: Event = serde_json::from_str(text().lines().next().unwrap()).unwrap();
    assert_eq!((event.reason.as_str(), event.severity), ("Error", Severity::Error));
    assert_eq!(event.volume.unwrap().as_str(), "data");
}

/// Who floods the log pushes out his own events, and those of nobody else: also not from who is told late.
#[test]
fn what_is_kept_is_told_however_much_another_user_did_meanwhile() {
    require!(Part::Loop);
    let receiver = Receiver::new(&[503, 503]);
    let world = World::with("flood", |config| {
        config.events_kept = 100;
        config.notify = vec![told(NotifyTo::Webhook(receiver.url()), Severity::Warning)];
    });
    world.make("data", "ReadWriteOnce", "temp");
    world.attach("data", "holder").unwrap();
    // The first is told of in vain, and then told again after some seconds.
    for scope in ["first", "second"] {
        fails(world.attach("data", scope), ErrorKind::AccessRefused);
    }
    let stranger = Caller { uid: 4242, ..ROOT };
    for _ in 0..1500 {
        fails(world.engine().delete(&stranger, &key("data"), false), ErrorKind::PermissionDenied);
    }
    let is_second = |message: &str| message.contains("mount second refused");
    assert!(world.events().iter().any(|event| is_second(&event.message)), "it is kept");
    let heard = || {
        let heard = receiver.heard();
        heard.iter().any(|(status, told)| *status == 204 && is_second(told["message"].as_str().unwrap()))
    };
    assert!(eventually(SOON, heard), "{:?}", receiver.reasons());
    world.detach("data", "holder").unwrap();
}
