//! One HTTP request over an engine's socket: the few calls of Docker's API that are needed, which
//! Podman's service understands too.

use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;

use super::DRIVER;

/// A list of more bytes is not read.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// An engine's API socket.
pub(super) struct Api {
    pub(super) socket: PathBuf,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "Volumes", default)]
    volumes: Option<Vec<Volume>>,
}

#[derive(Deserialize)]
struct Volume {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Driver")]
    driver: String,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Api {
    /// Every volume's name and driver.
    pub(super) async fn volumes(&self) -> Result<Vec<(String, String)>, String> {
        let body = self.call(Method::GET, "/volumes", None).await?;
        let listed: Listed =
            serde_json::from_slice(&body).map_err(|fault| format!("its list can't be read: {fault}"))?;
        let volumes = listed.volumes.unwrap_or_default();
        Ok(volumes.into_iter().map(|volume| (volume.name, volume.driver)).collect())
    }

    /// Makes the engine know a volume of the driver `orlop`; one it knows already is no error.
    pub(super) async fn create(&self, name: &str) -> Result<(), String> {
        let body = serde_json::json!({ "Name": name, "Driver": DRIVER }).to_string();
        self.call(Method::POST, "/volumes/create", Some(body)).await.map(|_| ())
    }

    /// Makes the engine forget a volume. `force` makes an unknown one no error; it removes neither
    /// a volume in use nor a container.
    pub(super) async fn remove(&self, name: &str) -> Result<(), String> {
        self.call(Method::DELETE, &format!("/volumes/{name}?force=true"), None).await.map(|_| ())
    }

    async fn call(&self, method: Method, path: &str, body: Option<String>) -> Result<Bytes, String> {
        let broken = |fault: hyper::Error| format!("its socket {} failed: {fault}", self.socket.display());
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|fault| format!("its socket {} can't be used: {fault}", self.socket.display()))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|fault| format!("the request can't be written: {fault}"))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|fault| format!("its answer can't be read: {fault}"))?
            .to_bytes();
        if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> String {
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => refusal.message,
        Err(_) => format!("it answered {status}"),
    }
}
