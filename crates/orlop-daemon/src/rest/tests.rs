//! The router over a real engine in a scratch directory.
#![allow(clippy::unwrap_used)]

use std::{process::Command, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{Request, StatusCode, header},
};
use orlop_api::{Answer, MAX_REQUEST_BYTES, Method, Operation, ReadinessReport, VersionReport};
use orlop_engine::{Engine, EngineConfig};
use orlop_model::{Error, ErrorKind};
use orlop_testkit::{Part, Scratch, json_schema, require};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    config::{Config, Overrides},
    connection::Peer,
    service::{Phase, Service},
};

/// An engine over a directory of its own, not yet recovered.
pub(crate) fn engine() -> (Scratch, Engine) {
    engine_that_keeps(50_000)
}

/// The same, which keeps so many events.
pub(crate) fn engine_that_keeps(events_kept: u64) -> (Scratch, Engine) {
    let scratch = Scratch::new("rest");
    let config = Config::load(Overrides {
        // The configuration of the host must not reach a test.
        config: Some("/dev/null".into()),
        state_dir: Some(scratch.join("state")),
        run_dir: Some(scratch.join("run")),
        ..Overrides::default()
    })
    .unwrap();
    let engine = Engine::open(EngineConfig { blanks: 0, events_kept, ..config.engine }).unwrap();
    (scratch, engine)
}

/// A service that has recovered.
fn running() -> (Scratch, Service) {
    let (scratch, engine) = engine();
    engine.recover().unwrap();
    let service = Service::new(engine);
    service.enter(Phase::Running);
    (scratch, service)
}

/// Status, media type and body of one request by a user.
async fn ask_as(
    uid: u32,
    service: &Service,
    method: &str,
    path: &str,
    body: impl Into<Body>,
) -> (StatusCode, String, Vec<u8>) {
    let mut request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
    request.extensions_mut().insert(ConnectInfo(Peer { uid }));
    let answer = super::router(service.clone()).oneshot(request);
    let response = tokio::time::timeout(Duration::from_secs(60), answer).await.unwrap().unwrap();
    let media = response.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned());
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, media.unwrap_or_default(), bytes.to_vec())
}

async fn ask(service: &Service, method: &str, path: &str, body: impl Into<Body>) -> (StatusCode, Vec<u8>) {
    let (status, _, body) = ask_as(0, service, method, path, body).await;
    (status, body)
}

/// The error of a request that is refused.
async fn refused(service: &Service, method: &str, path: &str, body: impl Into<Body>) -> (u16, Error) {
    let (status, media, body) = ask_as(0, service, method, path, body).await;
    assert_eq!(media, "application/json", "{method} {path}");
    let error = serde_json::from_slice(&body);
    (status.as_u16(), error.unwrap_or_else(|_| panic!("{method} {path}: {}", String::from_utf8_lossy(&body))))
}

fn a_path(operation: Operation) -> String {
    let values: Vec<&str> = operation
        .route()
        .parameters
        .iter()
        .map(|(name, _)| if *name == "id" { "019a0000-0000-7000-8000-000000000000" } else { "nothing" })
        .collect();
    operation.path(&values)
}

#[tokio::test]
async fn every_route_of_the_table_is_served() {
    require!(Part::Root);
    let (_scratch, service) = running();
    for operation in Operation::ALL {
        // The stream has no end to wait for.
        if matches!(operation.route().answer, Answer::Stream) {
            continue;
        }
        let method = operation.route().method;
        let (status, body) = ask(&service, method.as_str(), &a_path(*operation), "").await;
        if status == StatusCode::NOT_FOUND || status == StatusCode::METHOD_NOT_ALLOWED {
            let error: Error = serde_json::from_slice(&body).unwrap();
            assert!(!error.message.contains("no path"), "{operation:?}: {error}");
            assert!(!error.message.contains(" has no "), "{operation:?}: {error}");
        }
    }
}

#[tokio::test]
async fn what_is_no_route_is_refused_in_the_usual_shape() {
    require!(Part::Root);
    let (_scratch, service) = running();
    let (status, error) = refused(&service, "GET", "/v1/nothing", "").await;
    assert_eq!((status, error.kind), (404, ErrorKind::NotFound));
    assert!(error.message.contains("there is no path /v1/nothing"), "{error}");

    let (status, error) = refused(&service, "PATCH", "/v1/pools", "").await;
    assert_eq!((status, error.kind), (405, ErrorKind::InvalidArgument));
    assert!(error.message.contains("has no PATCH"), "{error}");
}

#[tokio::test]
async fn bad_requests_are_refused_before_the_engine_is_asked() {
    require!(Part::Root);
    let (_scratch, service) = running();
    let volume = "/v1/workspaces/public/volumes/a";
    let manifest = |name: &str| {
        format!(
            r#"{{"name":"{name}","version":"v1beta","type":"volume","volume":{{"size":"16Mi","accessMode":"ReadWriteMany","type":"temp"}}}}"#
        )
    };
    let unknown_key = manifest("a").replace("\"size\"", "\"colour\":\"red\",\"size\"");
    for (method, path, body, status, said) in [
        ("PUT", volume, "{".to_owned(), 400, "JSON is not valid"),
        ("PUT", volume, String::new(), 400, "JSON is not valid"),
        ("PUT", volume, unknown_key, 400, "unknown field `colour`"),
        ("PUT", volume, manifest("A"), 400, "volume name"),
        ("PUT", volume, manifest("b"), 400, "the manifest's name is b"),
        ("PUT", volume, manifest("a").replace("16Mi", "1gi"), 400, "did you mean Gi"),
        ("PUT", volume, "x".repeat(MAX_REQUEST_BYTES + 1), 413, "more than 1048576 bytes"),
        ("GET", "/v1/workspaces/public/volumes/A", String::new(), 400, "'A' as character 1"),
        ("GET", "/v1/workspaces/a.b/volumes/a", String::new(), 400, "'.' as character 2"),
        ("GET", "/v1/workspaces/%2e%2e/volumes/a", String::new(), 400, "workspace name"),
        ("GET", "/v1/workspaces/%ff", String::new(), 400, "path can't be read"),
        ("GET", "/v1/volumes/12", String::new(), 400, "no volume id"),
        ("GET", "/v1/volumes?colour=red", String::new(), 400, "unknown field `colour`"),
        ("DELETE", "/v1/workspaces/public/volumes/a?force=perhaps", String::new(), 400, "query"),
        ("DELETE", "/v1/mounts", String::new(), 400, "target"),
        ("GET", "/v1/watch?after=-1", String::new(), 400, "query"),
    ] {
        let (got, error) = refused(&service, method, path, body).await;
        assert_eq!(got, status, "{method} {path}: {error}");
        assert_eq!(error.kind, ErrorKind::InvalidArgument, "{method} {path}");
        assert!(error.message.contains(said), "{method} {path}: {error}");
        assert!(error.hint.is_some(), "{method} {path}");
    }
}

#[tokio::test]
async fn a_caller_without_a_uid_is_refused() {
    require!(Part::Root);
    let (_scratch, service) = running();
    let request = Request::get("/v1/volumes").body(Body::empty()).unwrap();
    let response = super::router(service).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn while_it_recovers_it_answers_and_says_so() {
    require!(Part::Root);
    let (_scratch, engine) = engine();
    let service = Service::new(engine);
    let (status, error) = refused(&service, "GET", "/v1/volumes", "").await;
    assert_eq!((status, error.kind), (503, ErrorKind::Recovering));
    let (status, body) = ask(&service, "GET", "/readyz", "").await;
    let report: ReadinessReport = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!report.ready && report.problems[0].contains("recover"), "{report:?}");
    assert_eq!(ask(&service, "GET", "/healthz", "").await, (StatusCode::OK, b"ok\n".to_vec()));
    let (status, body) = ask(&service, "GET", "/v1/version", "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(serde_json::from_slice::<VersionReport>(&body).unwrap().version, env!("CARGO_PKG_VERSION"));
    let (status, body) = ask(&service, "GET", "/metrics", "").await;
    assert_eq!(status, StatusCode::OK);
    assert!(String::from_utf8(body).unwrap().contains("orlop_ready 0"));
}

#[tokio::test]
async fn the_document_describes_what_is_served() {
    require!(Part::Root);
    let (_scratch, service) = running();
    let (status, body) = ask(&service, "GET", "/openapi.json", "").await;
    assert_eq!(status, StatusCode::OK);
    let document: Value = serde_json::from_slice(&body).unwrap();
    for operation in Operation::ALL {
        let route = operation.route();
        let described = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        assert_eq!(described["operationId"], operation.id());
    }
    let described: usize =
        document["paths"].as_object().unwrap().values().map(|p| p.as_object().unwrap().len()).sum();
    assert_eq!(described, Operation::ALL.len());
    assert!(Operation::ALL.iter().any(|operation| operation.route().method == Method::Post));
}

#[tokio::test]
async fn answers_are_as_described() {
    require!(Part::Loop);
    let (scratch, service) = running();
    let document = orlop_api::openapi::document();
    let nobody = "019a0000-0000-7000-8000-000000000000";
    let pool = json!({ "path": scratch.join("fast"), "capacity": 64 << 20, "overcommit": 2.0 }).to_string();
    let manifest = json!({
        "name": "a", "version": "v1beta", "type": "volume", "tags": ["t"], "owner": "iamgroot",
        "volume": { "size": 16 << 20, "accessMode": "ReadWriteOnce", "type": "temp", "pool": "fast", "mode": "0770" },
    });
    let kept = |kind: &str| {
        let volume = json!({ "size": "16Mi", "accessMode": "ReadWriteMany", "type": kind });
        json!({ "name": "kept", "version": "v1beta", "type": "volume", "volume": volume }).to_string()
    };
    let target = scratch.join("target");
    std::fs::create_dir(&target).unwrap();
    let mount = json!({ "workspace": "w", "name": "a", "target": &target }).to_string();
    let unmount = format!("?target={}", target.display());
    let adopt = json!({ "source": &target, "pool": "again" }).to_string();
    let snapshot =
        json!({ "name": "s", "version": "v1beta", "type": "snapshot", "snapshot": { "volume": "tree" } });
    let snapshot = snapshot.to_string();
    let import = json!({ "name": "again", "path": scratch.join("fast") }).to_string();
    let other = json!({ "path": scratch.join("other") }).to_string();
    let sharing =
        json!({ "image": scratch.join("sharing.img"), "size": "320Mi", "sparse": true }).to_string();
    let shared = json!({
        "name": "shared", "version": "v1beta", "type": "volume",
        "volume": { "size": "16Mi", "accessMode": "ReadWriteMany", "type": "temp", "pool": "sharing" },
    });
    let shared = shared.to_string();
    std::fs::File::create(scratch.join("disk")).unwrap().set_len(16 << 20).unwrap();
    let disk =
        orlop_testkit::run(Command::new("losetup").args(["-f", "--show"]).arg(scratch.join("disk"))).ok();
    let device = format!("?path={}", disk.trim());
    let mut seen = std::collections::HashSet::new();
    for (operation, parameters, query, body) in [
        (Operation::PutWorkspace, &["w"][..], "", r#"{"grants":[1000]}"#.to_owned()),
        (Operation::CreatePool, &["fast"], "", pool),
        (Operation::ApplyVolume, &["w", "a"], "", manifest.to_string()),
        (Operation::PlanVolume, &["w", "a"], "", manifest.to_string().replace("16777216", "33554432")),
        (Operation::CheckVolume, &["w", "a"], "?repair=true", String::new()),
        (Operation::GetVolumeUsage, &["w", "a"], "", String::new()),
        (Operation::MigrateVolume, &["w", "a"], "", r#"{"pool":"default"}"#.to_owned()),
        (Operation::MountVolume, &[], "", mount),
        (Operation::GetVolume, &["w", "a"], "", String::new()),
        (Operation::GetVolumeUsage, &["w", "a"], "", String::new()),
        (Operation::ListVolumes, &[], "?limit=1", String::new()),
        (Operation::GetVolumeById, &[nobody], "", String::new()),
        (Operation::GetWorkspace, &["w"], "", String::new()),
        (Operation::ListWorkspaces, &[], "", String::new()),
        (Operation::GetPool, &["fast"], "", String::new()),
        (Operation::ListPools, &[], "", String::new()),
        (Operation::UnmountVolume, &[], &unmount, String::new()),
        (Operation::DeleteVolume, &["w", "a"], "", String::new()),
        (Operation::DeleteVolumeById, &[nobody], "", String::new()),
        (Operation::GrowPool, &["fast"], "", r#"{"capacity":"128Mi"}"#.to_owned()),
        (Operation::CheckPool, &["fast"], "?repair=true", String::new()),
        (Operation::ExportPool, &["fast"], "", String::new()),
        (Operation::ImportPool, &[], "", import),
        (Operation::CreatePool, &["other"], "", other),
        (Operation::DeletePool, &["other"], "", String::new()),
        (Operation::AdoptDirectory, &["public", "tree"], "", adopt),
        (Operation::ApplySnapshot, &["public", "s"], "", snapshot),
        (Operation::ListSnapshots, &[], "?limit=1", String::new()),
        (Operation::GetSnapshot, &["public", "s"], "", String::new()),
        (Operation::RestoreSnapshot, &["public", "s"], "", String::new()),
        (Operation::DeleteSnapshot, &["public", "s"], "", String::new()),
        (Operation::CreatePool, &["sharing"], "", sharing),
        (Operation::ApplyVolume, &["public", "shared"], "", shared),
        (
            Operation::ApplySnapshotGroup,
            &["public", "g"],
            "",
            r#"{"volumes":["shared"],"retain":"7d"}"#.to_owned(),
        ),
        (Operation::GetSnapshotGroup, &["public", "g"], "", String::new()),
        (Operation::DeleteSnapshotGroup, &["public", "g"], "", String::new()),
        (Operation::GetDevice, &[], &device, String::new()),
        (Operation::ApplyVolume, &["w", "kept"], "", kept("persistent")),
        (Operation::DeleteVolume, &["w", "kept"], "", String::new()),
        (Operation::UndeleteVolume, &["w", "kept"], "", "{}".to_owned()),
        (Operation::ApplyVolume, &["w", "kept"], "", kept("temp")),
        (Operation::UndeleteVolumeById, &[nobody], "", "{}".to_owned()),
        (Operation::RenameVolume, &["w", "kept"], "", r#"{"name":"other"}"#.to_owned()),
        (Operation::DeleteVolume, &["w", "other"], "", String::new()),
        (Operation::PurgeVolume, &[nobody], "", String::new()),
        (Operation::DeleteWorkspace, &["w"], "", String::new()),
        (Operation::ListOperations, &[], "", String::new()),
        (Operation::StopOperation, &[nobody], "", String::new()),
        (Operation::ListEvents, &[], "", String::new()),
        (Operation::GetVersion, &[], "", String::new()),
        (Operation::GetReadiness, &[], "", String::new()),
    ] {
        let route = operation.route();
        let path = operation.path(parameters) + query;
        let (status, bytes) = ask(&service, route.method.as_str(), &path, body).await;
        assert_eq!(status.is_success(), !parameters.contains(&nobody), "{operation:?} {bytes:?}");
        let described = &document["paths"][route.path][route.method.as_str().to_lowercase()]["responses"];
        let described = match status.is_success() {
            true => &described[status.as_str()],
            false => document.pointer("/components/responses/Error").unwrap(),
        };
        assert!(described.is_object(), "{operation:?} {status} is not described");
        if let Some(schema) = described.pointer("/content/application~1json/schema") {
            let answer: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(json_schema::faults(&document, schema, &answer), [""; 0], "{operation:?} {answer}");
        }
        seen.insert(operation);
    }
    for operation in Operation::ALL {
        let json = matches!(operation.route().answer, Answer::Json(_) | Answer::Nothing);
        assert!(!json || seen.contains(operation), "{operation:?} is not tested");
    }
}
