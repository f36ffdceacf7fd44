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
#[serde(rename_all = "PascalCase")]
struct Inspected {
    driver: String,
    mountpoint: String,
    options: Option<std::collections::HashMap<String, String>>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(rename = "Names", default)]
    names: Vec<String>,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Api {
    /// The names and drivers of the volumes, where `names` is empty of all. Others may come too.
    pub(super) async fn volumes(&self, names: &[String]) -> Result<Vec<(String, String)>, String> {
        let path = if names.is_empty() { "/volumes".to_owned() } else { filtered(names) };
        let body = self.call(Method::GET, &path, None).await?;
        let listed: Listed =
            serde_json::from_slice(&body).map_err(|fault| format!("its list can't be read: {fault}"))?;
        let volumes = listed.volumes.unwrap_or_default();
        Ok(volumes.into_iter().map(|volume| (volume.name, volume.driver)).collect())
    }

    /// Where the data of a volume of the engine's own driver is, on this host.
    pub(super) async fn data(&self, name: &str) -> Result<String, String> {
        let body = self.call(Method::GET, &format!("/volumes/{name}"), None).await?;
        let found: Inspected =
            serde_json::from_slice(&body).map_err(|fault| format!("its answer can't be read: {fault}"))?;
        if found.driver != "local" || found.options.is_some_and(|options| !options.is_empty()) {
            return Err(format!("{name} is of the driver {}, or mounted from elsewhere", found.driver));
        }
        Ok(found.mountpoint)
    }

    /// Makes the engine know a volume of the driver `orlop`; one it knows already is no error.
    pub(super) async fn create(&self, name: &str) -> Result<(), String> {
        let body = serde_json::json!({ "Name": name, "Driver": DRIVER }).to_string();
        self.call(Method::POST, "/volumes/create", Some(body)).await.map(|_| ())
    }

    /// The names of all containers that use a volume, stopped ones too.
    pub(super) async fn containers(&self, volume: &str) -> Result<Vec<String>, String> {
        let filters = escaped(&serde_json::json!({ "volume": [volume] }).to_string());
        let body =
            self.call(Method::GET, &format!("/containers/json?all=true&filters={filters}"), None).await?;
        let found: Vec<Container> =
            serde_json::from_slice(&body).map_err(|fault| format!("its list can't be read: {fault}"))?;
        let name =
            |one: Container| one.names.into_iter().next().unwrap_or_else(|| "without a name".to_owned());
        Ok(found.into_iter().map(|one| name(one).trim_start_matches('/').to_owned()).collect())
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

/// The path of a list of those names only; engines match them as patterns.
fn filtered(names: &[String]) -> String {
    let patterns: Vec<String> = names.iter().map(|name| format!("^{name}$")).collect();
    let filters = serde_json::json!({ "name": patterns }).to_string();
    format!("/volumes?filters={}", escaped(&filters))
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

fn refusal(status: StatusCode, body: &[u8]) -> String {
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => refusal.message,
        Err(_) => format!("it answered {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_in_the_path() {
        assert_eq!(
            filtered(&["a-b".to_owned(), "team.c".to_owned()]),
            "/volumes?filters=%7B%22name%22%3A%5B%22%5Ea-b%24%22%2C%22%5Eteam.c%24%22%5D%7D"
        );
    }
}
