//! Answers of the protocol, as JSON. What they say of a volume is what the engine says of it.

use std::{collections::BTreeMap, path::Path};

use axum::{
    body::Body,
    http::{StatusCode, header::CONTENT_TYPE},
    response::Response,
};
use orlop_engine::Aliased;
use orlop_model::resource::{Capacity, Volume};
use serde::Serialize;
use serde_json::Value;

const MEDIA_TYPE: &str = "application/vnd.docker.plugins.v1.1+json";

/// What a request is answered with, when it succeeded.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    /// To Activate.
    Activate {
        #[serde(rename = "Implements")]
        implements: [&'static str; 1],
    },
    /// To Capabilities.
    Capabilities {
        #[serde(rename = "Capabilities")]
        capabilities: Scope,
    },
    /// To Get.
    Volume {
        #[serde(rename = "Volume")]
        volume: Box<Description>,
        #[serde(rename = "Err")]
        err: &'static str,
    },
    /// To List.
    Volumes {
        #[serde(rename = "Volumes")]
        volumes: Vec<Entry>,
        #[serde(rename = "Err")]
        err: &'static str,
    },
    /// To Path and Mount. Empty where the volume is not mounted.
    Mountpoint {
        #[serde(rename = "Mountpoint")]
        mountpoint: String,
        #[serde(rename = "Err")]
        err: &'static str,
    },
    /// To Create, Remove and Unmount.
    Done {
        #[serde(rename = "Err")]
        err: &'static str,
    },
}

/// Where a volume made here can be used.
#[derive(Debug, Serialize)]
pub(crate) struct Scope {
    #[serde(rename = "Scope")]
    scope: &'static str,
}

/// A volume in a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Entry {
    name: String,
    mountpoint: &'static str,
    created_at: String,
}

/// A volume by itself.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Description {
    name: String,
    mountpoint: String,
    created_at: String,
    status: BTreeMap<&'static str, Value>,
}

impl Answer {
    pub(crate) fn activate() -> Self {
        Self::Activate { implements: ["VolumeDriver"] }
    }

    pub(crate) fn capabilities() -> Self {
        Self::Capabilities { capabilities: Scope { scope: "local" } }
    }

    pub(crate) fn volume(name: String, path: Option<&Path>, volume: &Volume) -> Self {
        let volume = Box::new(Description {
            name,
            mountpoint: shown(path),
            created_at: volume.status.created_at.to_string(),
            status: status(volume),
        });
        Self::Volume { volume, err: "" }
    }

    pub(crate) fn volumes(volumes: Vec<Aliased>) -> Self {
        let volumes = volumes
            .into_iter()
            .map(|Aliased { external, created_at, .. }| Entry {
                name: external,
                // Where it is mounted costs a look at the kernel, and Get tells it.
                mountpoint: "",
                created_at: created_at.to_string(),
            })
            .collect();
        Self::Volumes { volumes, err: "" }
    }

    pub(crate) fn mountpoint(path: Option<&Path>) -> Self {
        Self::Mountpoint { mountpoint: shown(path), err: "" }
    }

    pub(crate) fn done() -> Self {
        Self::Done { err: "" }
    }

    pub(crate) fn into_response(self) -> Response {
        match serde_json::to_vec(&self) {
            Ok(body) => response(StatusCode::OK, body),
            Err(fault) => failure(&format!("the answer can't be written: {fault}")),
        }
    }
}

/// An error as both engines read it: status 500 and the text in `Err`.
pub(crate) fn failure(text: &str) -> Response {
    response(StatusCode::INTERNAL_SERVER_ERROR, serde_json::json!({ "Err": text }).to_string().into_bytes())
}

fn response(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, axum::http::HeaderValue::from_static(MEDIA_TYPE));
    response
}

fn shown(path: Option<&Path>) -> String {
    path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What `docker volume inspect` shows under Status, in the manifest's words.
fn status(volume: &Volume) -> BTreeMap<&'static str, Value> {
    let Volume { manifest, workspace, status } = volume;
    let mut map = BTreeMap::new();
    let mut say = |key, value: String| {
        map.insert(key, Value::String(value));
    };
    say("id", status.id.to_string());
    say("volume", manifest.name.to_string());
    say("workspace", workspace.to_string());
    say("state", status.state.as_str().to_owned());
    say("size", manifest.volume.size.to_string());
    say("accessMode", manifest.volume.access_mode.to_string());
    say("type", manifest.volume.volume_type.to_string());
    say("pool", status.pool.to_string());
    if let Some(kind) = status.filesystem {
        say("filesystem", kind.as_str().to_owned());
    }
    say("createdBy", status.created_by.as_str().to_owned());
    say(
        "capacity",
        match &status.capacity {
            Capacity::Hard => "hard".to_owned(),
            Capacity::Advisory { why } => format!("advisory: {why}"),
        },
    );
    if let Some(reason) = &status.reason {
        say("reason", reason.clone());
    }
    map.insert("sizeBytes", Value::from(manifest.volume.size.bytes()));
    map.insert("attachments", Value::from(status.attachments.len()));
    if let Some(used) = status.used_bytes {
        map.insert("usedBytes", Value::from(used));
    }
    if let Some(allocated) = status.allocated_bytes {
        map.insert("allocatedBytes", Value::from(allocated));
    }
    if !status.notes.is_empty() {
        map.insert("notes", Value::from(status.notes.clone()));
    }
    map
}
