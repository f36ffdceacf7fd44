//! Answers: JSON, nothing, or an error with the status of the table in `orlop-api`.

use axum::{
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use orlop_model::{Error, ErrorKind};
use serde::Serialize;

/// What a handler gives.
pub(super) type Reply<T> = std::result::Result<T, Refusal>;

/// A JSON answer.
pub(super) struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        json(StatusCode::OK, &self.0)
    }
}

/// A JSON answer with a status.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(fault) => {
            let error = Error::new(ErrorKind::Host, format!("the answer can't be written as JSON: {fault}"));
            tracing::error!(%error, "an answer was lost");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// An error on its way to the client.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: Error,
}

/// The kind of the error that an answer holds, for logs and metrics.
#[derive(Debug, Clone, Copy)]
pub(super) struct RefusedAs(pub ErrorKind);

impl Refusal {
    /// For what HTTP has a status of its own.
    pub(super) fn with_status(status: StatusCode, error: Error) -> Self {
        Self { status, error }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { status: orlop_api::status(error.kind), error }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = json(self.status, &self.error);
        if let Some(seconds) = orlop_api::status::retry_after(self.error.kind) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(RefusedAs(self.error.kind));
        tracing::debug!(error = %self.error, kind = ?self.error.kind, "refused");
        response
    }
}

/// The answer to a path that is none.
pub(super) async fn no_such_path(uri: Uri) -> Refusal {
    Error::new(ErrorKind::NotFound, format!("there is no path {}", uri.path()))
        .object(format!("path {}", uri.path()))
        .hint("all paths are in /openapi.json")
        .into()
}

/// The answer to a method that a path doesn't have.
pub(super) async fn no_such_method(method: Method, uri: Uri) -> Refusal {
    let error = Error::new(ErrorKind::InvalidArgument, format!("the path {} has no {method}", uri.path()))
        .object(format!("path {}", uri.path()))
        .hint("the methods of every path are in /openapi.json");
    Refusal::with_status(StatusCode::METHOD_NOT_ALLOWED, error)
}
