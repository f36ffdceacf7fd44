//! Around every operation: a request id, a log line, and the numbers of `/metrics`.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use axum::{
    extract::{ConnectInfo, Request},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use orlop_api::{Method, Operation};
use tracing::Instrument;

use super::reply::RefusedAs;
use crate::{connection::Peer, service::Service};

/// Counts from the start of the process; the log lines of one start have it once each.
static REQUESTS: AtomicU64 = AtomicU64::new(1);

/// Runs the handler and notes what came of it. Query and body are not logged: they may hold what
/// their sender keeps to itself.
pub(super) async fn observe(
    service: Service,
    operation: Operation,
    request: Request,
    next: Next,
) -> Response {
    let id = REQUESTS.fetch_add(1, Ordering::Relaxed);
    let uid = request.extensions().get::<ConnectInfo<Peer>>().map(|peer| peer.0.uid);
    let path = request.uri().path().to_owned();
    let span = tracing::info_span!("request", id, uid, operation = operation.id());
    let start = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let took = start.elapsed();
    let status = response.status().as_u16();
    let refused = response.extensions().get::<RefusedAs>().map(|refused| refused.0);
    service.metrics().observe(operation, refused, took);
    span.in_scope(|| {
        let millis = took.as_secs_f64() * 1e3;
        match (operation.route().method, refused) {
            (_, Some(kind)) => tracing::info!(path, status, millis, ?kind, "refused"),
            (Method::Get, None) => tracing::debug!(path, status, millis, "answered"),
            (Method::Put | Method::Post | Method::Delete, None) => {
                tracing::info!(path, status, millis, "answered");
            }
        }
    });
    response.headers_mut().insert(HeaderName::from_static("x-request-id"), HeaderValue::from(id));
    response
}
