//! The protocol against a real engine: what each call answers, to the letter.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::Request,
};
use orlop_engine::{Engine, EngineConfig};
use orlop_model::{Period, Size, resource::Front};
use orlop_testkit::{Part, Scratch, command::eventually, require};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::router;

/// An engine on directories of its own.
struct World {
    engine: Engine,
    mount_dir: PathBuf,
    config: EngineConfig,
    /// Sweeps up mounts and loop devices when it goes; the last to go.
    scratch: Scratch,
}

impl World {
    /// One that is not recovered yet.
    fn opened() -> Self {
        let mut scratch = Scratch::new("plugin");
        let (state_dir, mount_dir) = (scratch.mkdir("state"), scratch.mkdir("mounts"));
        scratch.also_sweep(&state_dir);
        scratch.also_sweep(&mount_dir);
        let config = EngineConfig {
            state_dir,
            mount_dir: mount_dir.clone(),
            kubelet_root: None,
            node: "node".to_owned(),
            default_size: Size::from_bytes(64 << 20),
            low_water: Some(Size::from_bytes(1 << 20)),
            blanks: 0,
            stale_after: Duration::from_secs(30),
            recovery_parallelism: 2,
            events_kept: 1000,
            temp_grace: Period::After(600),
            released_retention: Period::Never,
            released_warn_percent: 20,
            observe_every: Duration::from_millis(200),
            notify: Vec::new(),
            hooks: orlop_engine::SnapshotHooks::default(),
        };
        Self { engine: Engine::open(config.clone()).unwrap(), mount_dir, config, scratch }
    }

    /// The same after the daemon went and came back, not recovered yet.
    fn reopened(self) -> Self {
        let Self { engine, mount_dir, config, scratch } = self;
        engine.shutdown();
        drop(engine);
        // The thread that answered last may still be letting go of its clone.
        let mut opened = Err(String::new());
        eventually(Duration::from_secs(10), || {
            opened = Engine::open(config.clone()).map_err(|error| error.to_string());
            opened.is_ok()
        });
        Self { engine: opened.unwrap(), mount_dir, config, scratch }
    }

    fn started() -> Self {
        let world = Self::opened();
        world.engine.recover().unwrap();
        world
    }

    fn router(&self, front: Front) -> Router {
        router(self.engine.clone(), front)
    }

    /// Status and answer, with what differs from run to run replaced.
    async fn call(&self, front: Front, call: &str, body: &Value) -> (u16, String) {
        let (status, text) = self.raw(front, "POST", call, body.to_string()).await;
        (status, self.redacted(&text))
    }

    async fn raw(&self, front: Front, method: &str, call: &str, body: String) -> (u16, String) {
        let request = Request::builder().method(method).uri(call).body(Body::from(body)).unwrap();
        let response = self.router(front).oneshot(request).await.unwrap();
        let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!(media_type, "application/vnd.docker.plugins.v1.1+json");
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn redacted(&self, text: &str) -> String {
        let text = text.replace(self.mount_dir.to_str().unwrap(), "[mounts]");
        text.split_inclusive(['"', '/', ' ', '(', ')']).map(redact_word).collect()
    }
}

/// Ids and times, by their shape: digits and letters count as `0`.
fn redact_word(word: &str) -> String {
    let bare = word.trim_end_matches(['"', '/', ' ', '(', ')', ',']);
    let rest = &word[bare.len()..];
    if let Some((slug, short)) = bare.rsplit_once('-')
        && slug == "proj-data"
        && short.len() == 8
    {
        return format!("{slug}-[short]{rest}");
    }
    let shape: String = bare.chars().map(|c| if c.is_ascii_alphanumeric() { '0' } else { c }).collect();
    let redacted = match shape.as_str() {
        "00000000-0000-0000-0000-000000000000" => "[id]",
        "0000-00-00" => "[date]",
        "00:00:00" => "[time]",
        _ if shape.starts_with("0000-00-00000:00:00") => "[moment]",
        _ => return word.to_owned(),
    };
    format!("{redacted}{rest}")
}

/// Takes away what is measured, and so differs from kernel to kernel.
fn without_measurements(text: &str) -> String {
    let mut value: Value = serde_json::from_str(text).unwrap();
    if let Some(status) = value.pointer_mut("/Volume/Status").and_then(Value::as_object_mut) {
        for measured in ["usedBytes", "allocatedBytes"] {
            if let Some(number) = status.get_mut(measured) {
                assert!(number.is_u64(), "{measured}: {number}");
                *number = json!(0);
            }
        }
    }
    value.to_string()
}

#[tokio::test]
async fn a_life_of_a_volume() {
    require!(Part::Loop);
    let world = World::started();
    let create = json!({ "Name": "Proj_data", "Opts": { "size": "64Mi", "accessMode": "ReadWriteOnce", "type": "temp" } });
    let named = json!({ "Name": "Proj_data" });
    let one = json!({ "Name": "Proj_data", "ID": "1".repeat(64) });
    let two = json!({ "Name": "Proj_data", "ID": "2".repeat(64) });
    let steps = [
        ("/Plugin.Activate", json!(null)),
        ("/VolumeDriver.Capabilities", json!({})),
        ("/VolumeDriver.List", json!({})),
        ("/VolumeDriver.Get", named.clone()),
        ("/VolumeDriver.Create", create.clone()),
        ("/VolumeDriver.Create", create),
        ("/VolumeDriver.Create", json!({ "Name": "Proj_data", "Opts": { "size": "1Gi" } })),
        ("/VolumeDriver.Path", named.clone()),
        ("/VolumeDriver.Mount", one.clone()),
        ("/VolumeDriver.Mount", one.clone()),
        ("/VolumeDriver.Mount", two.clone()),
        ("/VolumeDriver.Path", named.clone()),
        ("/VolumeDriver.Get", named.clone()),
        ("/VolumeDriver.Remove", named.clone()),
        ("/VolumeDriver.Unmount", two),
        ("/VolumeDriver.Unmount", one.clone()),
        ("/VolumeDriver.Unmount", one.clone()),
        ("/VolumeDriver.List", json!({})),
        ("/VolumeDriver.Remove", named.clone()),
        ("/VolumeDriver.Remove", named.clone()),
        ("/VolumeDriver.Get", named.clone()),
        ("/VolumeDriver.Mount", one.clone()),
        ("/VolumeDriver.Unmount", one),
    ];
    let mut transcript = String::new();
    for (call, body) in steps {
        let (status, answer) = world.call(Front::Docker, call, &body).await;
        let answer = without_measurements(&answer);
        transcript.push_str(&format!("{call} {body}\n  {status} {answer}\n"));
    }
    insta::assert_snapshot!(transcript.replace(&"1".repeat(64), "[1]").replace(&"2".repeat(64), "[2]"));
}

#[tokio::test]
async fn podman_mounts_once_for_all() {
    require!(Part::Loop);
    let world = World::started();
    for (name, mode) in [("solo", "ReadWriteOnce"), ("pod-only", "ReadWriteOncePod")] {
        let create = json!({ "Name": name, "Opts": { "accessMode": mode } });
        assert_eq!(world.call(Front::Podman, "/VolumeDriver.Create", &create).await.0, 200);
    }
    let mount = |name: &str| json!({ "Name": name, "ID": "c".repeat(64) });
    for _ in 0..2 {
        assert_eq!(world.call(Front::Podman, "/VolumeDriver.Mount", &mount("solo")).await.0, 200);
    }
    let (status, refused) = world.call(Front::Podman, "/VolumeDriver.Mount", &mount("pod-only")).await;
    assert_eq!(status, 500);
    assert!(refused.contains("ReadWriteOncePod") && refused.contains("podman"), "{refused}");
    // What Podman made is not Docker's to remove, and Docker is told by whom it is held.
    let (status, refused) = world.call(Front::Docker, "/VolumeDriver.Mount", &mount("solo")).await;
    assert_eq!(status, 500);
    assert!(refused.contains("podman, for all its containers"), "{refused}");
    let (status, refused) =
        world.call(Front::Docker, "/VolumeDriver.Remove", &json!({ "Name": "solo" })).await;
    assert_eq!(status, 500, "{refused}");
    assert_eq!(world.call(Front::Podman, "/VolumeDriver.Unmount", &mount("solo")).await.0, 200);
}

#[tokio::test]
async fn names_of_every_kind() {
    require!(Part::Loop);
    let world = World::started();
    let anonymous = "0123456789abcdef".repeat(4);
    for name in ["data", "Proj_data", "a.b.c", "UPPER", "trailing-", anonymous.as_str(), &"x".repeat(255)] {
        let named = json!({ "Name": name });
        let (status, answer) = world.call(Front::Docker, "/VolumeDriver.Create", &named).await;
        assert_eq!(status, 200, "{name}: {answer}");
        let (status, answer) = world.call(Front::Docker, "/VolumeDriver.Get", &named).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((status, &answer["Volume"]["Name"]), (200, &json!(name)));
        assert_eq!(answer["Volume"]["Mountpoint"], "");
    }
    let (_, list) = world.call(Front::Docker, "/VolumeDriver.List", &json!({})).await;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["Volumes"].as_array().unwrap().len(), 7, "{list}");
    for name in ["", "..", "../../etc", "a/b", "a\nb", "ä", &"x".repeat(256)] {
        for call in ["Create", "Get", "Path", "Remove"] {
            let (status, answer) = world
                .raw(
                    Front::Podman,
                    "POST",
                    &format!("/VolumeDriver.{call}"),
                    json!({ "Name": name }).to_string(),
                )
                .await;
            assert_eq!(status, 500, "{call} {name:?}: {answer}");
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert!(!answer["Err"].as_str().unwrap().contains('\n'));
        }
    }
}

#[tokio::test]
async fn what_is_no_request_is_a_clear_error() {
    let world = World::opened();
    let big = format!("{{\"Name\":\"{}\"}}", "x".repeat(1 << 20));
    for (method, call, body, says) in [
        ("GET", "/VolumeDriver.List", "", "is a POST"),
        ("POST", "/", "", "no call"),
        ("POST", "/VolumeDriver.Mounts", "{}", "did you mean /VolumeDriver.Mount?"),
        ("POST", "/VolumeDriver.Create", "garbage", "can't be read"),
        ("POST", "/VolumeDriver.Create", "{\"Name\":", "can't be read"),
        ("POST", "/VolumeDriver.Mount", "{\"Name\":\"a\"}", "missing field `ID`"),
        ("POST", "/VolumeDriver.Remove", big.as_str(), "a body may have 65536 bytes"),
    ] {
        let (status, answer) = world.raw(Front::Docker, method, call, body.to_owned()).await;
        assert_eq!(status, 500, "{method} {call}");
        assert!(answer.contains(says), "{method} {call}: {answer}");
    }
}

/// Sends a request over a real socket; all that comes back.
async fn over_a_socket(router: Router, call: &str, body: &str) -> String {
    let scratch = Scratch::new("socket");
    let path = scratch.join("plugin.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let request = format!(
        "POST {call} HTTP/1.1\r\nHost: plugin\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A connection that was reset has not answered either.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    })
    .await
    .unwrap();
    server.abort();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn get_is_never_an_error_that_makes_docker_forget_the_volume() {
    let world = World::opened();
    // Without its store the engine can't say whether there is such a volume.
    world.engine.shutdown();
    let get = |front, body| over_a_socket(world.router(front), "/VolumeDriver.Get", body);
    let answer = get(Front::Docker, r#"{"Name":"data"}"#).await;
    assert_eq!(answer, "", "not a byte, so that Docker hears no answer");
    // Docker's second attempt has lost its body.
    assert_eq!(get(Front::Docker, "").await, "");
    // Podman has a record of its own and forgets nothing: it is told.
    let answer = get(Front::Podman, r#"{"Name":"data"}"#).await;
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("Err"), "{answer}");
}

#[tokio::test]
async fn before_recovery_what_exists_is_known_and_the_rest_is_told_to_retry() {
    require!(Part::Loop);
    let world = World::started();
    let create = json!({ "Name": "data", "Opts": { "size": "16Mi" } });
    assert_eq!(world.call(Front::Docker, "/VolumeDriver.Create", &create).await.0, 200);
    let world = world.reopened();
    for front in [Front::Docker, Front::Podman] {
        for (call, body) in [
            ("Create", json!({ "Name": "other" })),
            ("Mount", json!({ "Name": "data", "ID": "1" })),
            ("Unmount", json!({ "Name": "data", "ID": "1" })),
            ("Remove", json!({ "Name": "data" })),
        ] {
            let (status, answer) = world.call(front, &format!("/VolumeDriver.{call}"), &body).await;
            assert_eq!(status, 500, "{call}: {answer}");
            assert!(answer.contains("retry"), "{call}: {answer}");
        }
        for (call, body) in [
            ("/Plugin.Activate", json!(null)),
            ("/VolumeDriver.Get", json!({ "Name": "data" })),
            ("/VolumeDriver.Path", json!({ "Name": "data" })),
            ("/VolumeDriver.List", json!({})),
        ] {
            assert_eq!(world.call(front, call, &body).await.0, 200, "{call}");
        }
    }
}
