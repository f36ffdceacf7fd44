//! Bodies of requests: JSON, read exactly as the OpenAPI document describes it.

use orlop_model::{Error, ErrorKind, Result, json};
use serde::de::DeserializeOwned;
use serde_json::Deserializer;

/// Reads a body, whatever its media type claims.
///
/// # Errors
/// `InvalidArgument`, with the place of the fault.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let mut text = Deserializer::from_slice(bytes);
    json::object(&mut text).and_then(|body| text.end().map(|()| body)).map_err(|fault| {
        Error::new(ErrorKind::InvalidArgument, format!("the request's JSON is not valid: {fault}"))
            .object("request body")
            .hint("the shape of every request is in /openapi.json")
    })
}
