//! What is asked about the daemon itself.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use orlop_api::{Answer, Operation, ReadinessReport, VersionReport};

use super::reply::{Json, Reply, json};
use crate::service::{Phase, Service};

pub(super) async fn version(State(service): State<Service>) -> Json<VersionReport> {
    Json(VersionReport {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        manifest_version: orlop_model::MANIFEST_VERSION.to_owned(),
        node: service.engine().node().to_owned(),
    })
}

pub(super) async fn health() -> &'static str {
    "ok\n"
}

pub(super) async fn readiness(State(service): State<Service>) -> Reply<Response> {
    let mut problems = service.inspect(|engine| Ok(engine.readiness().problems)).await?;
    match service.phase() {
        Phase::Starting if problems.is_empty() => {
            problems.push("volumes are still being recovered".to_owned())
        }
        Phase::Starting | Phase::Running => {}
        Phase::Stopping => problems.push("the daemon is stopping".to_owned()),
    }
    let ready = problems.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(json(status, &ReadinessReport { ready, problems }))
}

pub(super) async fn metrics(State(service): State<Service>) -> Reply<Response> {
    let metrics = service.metrics().clone();
    let phase = service.phase();
    let text = service.inspect(move |engine| metrics.render(engine, phase)).await?;
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, media(Operation::GetMetrics))], text).into_response())
}

pub(super) async fn openapi() -> Response {
    json(StatusCode::OK, &orlop_api::openapi::document())
}

/// The media type that the route table promises.
fn media(operation: Operation) -> &'static str {
    match operation.route().answer {
        Answer::Text(media) => media,
        Answer::Json(_) | Answer::Nothing => "application/json",
        Answer::Stream => "text/event-stream",
    }
}
