//! One event to one who is told: a POST, or a command with the event on its standard input.

use std::{ffi::OsStr, path::Path, time::Duration};

use orlop_model::{
    notify::{Notify, NotifyTo},
    resource::Event,
};
use orlop_sys::process::run_command;
use serde::Serialize;
use ureq::http::StatusCode;

use crate::core::Core;

/// Why it was not told.
#[derive(Debug)]
pub(super) enum Failure {
    /// It may be another time.
    Passing(String),
    /// The receiver does not want it.
    ForGood(String),
}

/// What is sent: the event as the API shows it, and the host it is of.
#[derive(Serialize)]
struct Notification<'a> {
    node: &'a str,
    #[serde(flatten)]
    event: &'a Event,
}

pub(super) fn send(core: &Core, notify: &Notify, event: &Event) -> Result<(), Failure> {
    let notification = Notification { node: &core.config.node, event };
    let body = serde_json::to_vec(&notification).map_err(|error| Failure::ForGood(error.to_string()))?;
    match &notify.to {
        NotifyTo::Webhook(url) => post(url, &body, notify.timeout),
        NotifyTo::Command { executable, arguments } => run(executable, arguments, &body, notify.timeout),
    }
}

fn post(url: &str, body: &[u8], timeout: Duration) -> Result<(), Failure> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        // No proxy of the environment, no other host than the one that root named.
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!("orlop/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let answer = agent.post(url).header("content-type", "application/json").send(body);
    let status = answer.map_err(|error| Failure::Passing(error.to_string()))?.status();
    if status.is_success() {
        return Ok(());
    }
    let why = format!("it answered {status}");
    let busy = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if status.is_client_error() && !busy { Err(Failure::ForGood(why)) } else { Err(Failure::Passing(why)) }
}

/// Any exit status but 0 means: try again.
fn run(executable: &Path, arguments: &[String], body: &[u8], timeout: Duration) -> Result<(), Failure> {
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    let done = run_command(executable, &arguments, &[], body, timeout);
    done.and_then(|done| done.success()).map(drop).map_err(|error| Failure::Passing(error.to_string()))
}
