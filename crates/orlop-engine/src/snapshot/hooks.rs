//! The commands of root's configuration that are run before and after each snapshot, to tell a
//! database to flush, say. They run as the daemon's user, with what they concern in their environment.

use std::ffi::OsStr;

use orlop_model::{Error, ErrorKind, Result};
use orlop_sys::process;

use crate::{core::Core, store::VolumeRow};

/// What the commands are told.
pub(crate) struct Concerns<'a> {
    pub(crate) volume: &'a VolumeRow,
    /// The snapshot's name.
    pub(crate) snapshot: &'a str,
}

/// Runs the one before.
///
/// # Errors
/// [`ErrorKind::Host`] where it failed and the configuration does not say to go on.
pub(crate) fn before(core: &Core, concerns: &Concerns<'_>) -> Result<()> {
    let hooks = &core.config.hooks;
    match run(core, &hooks.before, "before", concerns, "") {
        Err(error) if hooks.go_on => {
            tracing::warn!(%error, "a snapshot is made although the hook before it failed");
            Ok(())
        }
        other => other,
    }
}

/// Runs the one after; that it fails changes nothing any more.
pub(crate) fn after(core: &Core, concerns: &Concerns<'_>, succeeded: bool) {
    let result = if succeeded { "success" } else { "failure" };
    if let Err(error) = run(core, &core.config.hooks.after, "after", concerns, result) {
        tracing::warn!(%error, "the hook after a snapshot failed");
    }
}

fn run(core: &Core, command: &[String], which: &str, concerns: &Concerns<'_>, result: &str) -> Result<()> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let volume = concerns.volume;
    let id = volume.id.to_string();
    let environment = [
        ("ORLOP_HOOK", which),
        ("ORLOP_VOLUME", volume.manifest.name.as_str()),
        ("ORLOP_VOLUME_ID", &id),
        ("ORLOP_WORKSPACE", volume.workspace.as_str()),
        ("ORLOP_SNAPSHOT", concerns.snapshot),
        ("ORLOP_RESULT", result),
    ];
    let failed = |why: String| {
        Error::new(
            ErrorKind::Host,
            format!("the hook {which} the snapshot {} failed: {why}", concerns.snapshot),
        )
        .object(format!("volume {}", volume.title()))
        .hint(format!("see beforeSnapshot and afterSnapshot in the daemon's configuration: {program}"))
    };
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    let limit = core.config.hooks.timeout;
    let done = process::run_command(program.as_ref(), &arguments, &environment, b"", limit)
        .map_err(|error| failed(error.to_string()))?;
    for (stream, text) in [("stdout", &done.stdout), ("stderr", &done.stderr)] {
        if !text.trim().is_empty() {
            tracing::info!(hook = which, volume = volume.title(), stream, "{}", text.trim_end());
        }
    }
    done.success().map(drop).map_err(|error| failed(error.to_string()))
}
