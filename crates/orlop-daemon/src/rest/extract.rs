//! What a handler takes from a request, parsed: the caller, the path's parameters, the query, the
//! body. What can't be parsed is answered with an error of the usual shape.

use std::str::FromStr;

use axum::{
    body::Bytes,
    extract::{ConnectInfo, FromRequest, FromRequestParts, RawPathParams, Request},
    http::{StatusCode, request::Parts},
};
use orlop_engine::Caller;
use orlop_model::{Error, ErrorKind, Result, resource::Front};
use serde::de::DeserializeOwned;

use super::reply::Refusal;
use crate::connection::Peer;

/// The peer, as the engine knows it.
pub(super) struct By(pub Caller);

impl<S: Sync> FromRequestParts<S> for By {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>().ok_or_else(|| {
            Error::new(ErrorKind::PermissionDenied, "the kernel does not say who is at the other end")
                .hint("use the daemon's unix socket")
        })?;
        Ok(Self(Caller { uid: peer.0.uid, front: Front::Manifest }))
    }
}

/// The parameters of the path, in order.
pub(super) struct Params<T>(pub T);

/// A tuple of parameters.
pub(super) trait FromParams: Sized {
    fn from_params(values: &[&str]) -> Result<Self>;
}

impl<A: FromStr<Err = Error>> FromParams for (A,) {
    fn from_params(values: &[&str]) -> Result<Self> {
        Ok((parameter(values, 0)?,))
    }
}

impl<A: FromStr<Err = Error>, B: FromStr<Err = Error>> FromParams for (A, B) {
    fn from_params(values: &[&str]) -> Result<Self> {
        Ok((parameter(values, 0)?, parameter(values, 1)?))
    }
}

fn parameter<T: FromStr<Err = Error>>(values: &[&str], index: usize) -> Result<T> {
    values.get(index).copied().unwrap_or_default().parse()
}

impl<S: Send + Sync, T: FromParams> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let values = RawPathParams::from_request_parts(parts, state).await.map_err(|fault| {
            Error::new(ErrorKind::InvalidArgument, format!("the path can't be read: {fault}"))
                .hint("names and ids need no escapes in it")
        })?;
        let values: Vec<&str> = values.iter().map(|(_, value)| value).collect();
        Ok(Self(T::from_params(&values)?))
    }
}

/// The parameters of the query.
pub(super) struct Query<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Ok(Self(orlop_api::query::decode(parts.uri.query().unwrap_or_default())?))
    }
}

/// The JSON body, whatever its media type claims.
pub(super) struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = Bytes::from_request(request, state).await.map_err(|fault| {
            let error = if fault.status() == StatusCode::PAYLOAD_TOO_LARGE {
                let most = orlop_api::MAX_REQUEST_BYTES;
                Error::new(ErrorKind::InvalidArgument, format!("the request has more than {most} bytes"))
                    .hint("no request needs more; see that the right file is sent")
            } else {
                Error::new(ErrorKind::InvalidArgument, format!("the request can't be read: {fault}"))
                    .hint("send it again")
            };
            Refusal::with_status(fault.status(), error)
        })?;
        Ok(Self(orlop_api::body::decode(&bytes)?))
    }
}
