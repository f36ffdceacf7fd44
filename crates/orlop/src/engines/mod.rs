//! Telling container engines which names are Orlop's.
//!
//! An engine that doesn't know a name makes a local volume of it without a word, when the plugin is
//! down or, with Podman, always. So the program that applied a volume registers its name, and the one
//! that deleted it takes it away. The daemon never does: an engine waits for its plugin at boot, and
//! a plugin that waits for the engine would hang both.
//!
//! Only engines of this host whose plugin `orlop` is the daemon in use are told. What goes wrong is a
//! warning: the volume is there all the same.

mod docker;
mod http;
mod podman;

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use orlop_model::{VolumeName, WorkspaceName};

use crate::output::Console;

/// How engines call the plugin, and with it the driver.
pub(crate) const DRIVER: &str = "orlop";
/// No call to an engine takes longer. Docker waits 15 s for a plugin that is down.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the engines are to do with names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Know them as volumes of the driver `orlop`.
    Register,
    /// Forget them.
    Deregister,
}

/// An engine of this host.
enum Engine {
    Docker(docker::Docker),
    Podman(podman::Podman),
}

/// Which driver holds a name.
type Drivers = HashMap<String, String>;

impl Engine {
    fn name(&self) -> &'static str {
        match self {
            Self::Docker(_) => "Docker",
            Self::Podman(_) => "Podman",
        }
    }

    /// The program that a user would type.
    fn program(&self) -> &'static str {
        match self {
            Self::Docker(_) => "docker",
            Self::Podman(_) => "podman",
        }
    }

    async fn volumes(&self) -> Result<Drivers, String> {
        bounded(async {
            match self {
                Self::Docker(docker) => docker.volumes().await,
                Self::Podman(podman) => podman.volumes().await,
            }
        })
        .await
        .map(drivers)
    }

    async fn create(&self, name: &str) -> Result<(), String> {
        bounded(async {
            match self {
                Self::Docker(docker) => docker.create(name).await,
                Self::Podman(podman) => podman.create(name).await,
            }
        })
        .await
    }

    /// What a list needs first, where volumes were deleted. Its failure shows in the list.
    async fn forget_gone(&self) {
        match self {
            Self::Docker(_) => {}
            Self::Podman(podman) => {
                let _ = bounded(async { podman.forget_gone().await.unwrap_or(Ok(())) }).await;
            }
        }
    }

    async fn remove(&self, name: &str) -> Result<(), String> {
        bounded(async {
            match self {
                Self::Docker(docker) => docker.remove(name).await,
                Self::Podman(podman) => podman.remove(name).await,
            }
        })
        .await
    }
}

async fn bounded<T>(call: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::time::timeout(PATIENCE, call)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} seconds", PATIENCE.as_secs())))
}

/// Name to driver. A name that two drivers hold counts as the other's: that one is in the way.
fn drivers(volumes: Vec<(String, String)>) -> Drivers {
    let mut drivers = Drivers::new();
    for (name, driver) in volumes {
        let known = drivers.entry(name).or_insert_with(|| driver.clone());
        if known == DRIVER {
            *known = driver;
        }
    }
    drivers
}

/// The engines of this host whose plugin is the daemon behind that socket.
async fn found(socket: &Path) -> Vec<Engine> {
    let Some(run_dir) = socket.parent() else { return Vec::new() };
    let docker = docker::Docker::find(run_dir).await.map(Engine::Docker);
    let podman = podman::Podman::find(run_dir).map(Engine::Podman);
    docker.into_iter().chain(podman).collect()
}

/// What an engine calls a volume.
pub(crate) fn external_name(workspace: &WorkspaceName, name: &VolumeName) -> String {
    if *workspace == WorkspaceName::public() { name.to_string() } else { format!("{workspace}.{name}") }
}

/// Tells every engine of the change. Never fails; warnings say what a user can do.
pub(crate) async fn tell(
    socket: &Path,
    volumes: &[(WorkspaceName, VolumeName)],
    change: Change,
    console: &mut Console,
) {
    for engine in found(socket).await {
        let (engine_name, program) = (engine.name(), engine.program());
        if change == Change::Deregister {
            engine.forget_gone().await;
        }
        let drivers = match engine.volumes().await {
            Ok(drivers) => drivers,
            Err(reason) => {
                console.warning(
                    format!("{engine_name} was not told of the change: {reason}"),
                    match change {
                        Change::Register => format!(
                            "when {engine_name} answers, apply again, or {program} volume create -d {DRIVER} NAME"
                        ),
                        Change::Deregister => format!("when {engine_name} answers: {program} volume rm NAME"),
                    },
                );
                continue;
            }
        };
        for (workspace, name) in volumes {
            let external = external_name(workspace, name);
            let others = drivers.get(&external).filter(|driver| *driver != DRIVER);
            let (done, remedy) = match (change, others) {
                (Change::Register, Some(driver)) => {
                    warn_of_other(&engine, workspace, name, driver, console);
                    continue;
                }
                // What another driver holds is not ours to remove.
                (Change::Deregister, Some(_)) => continue,
                (Change::Register, None) => (
                    engine.create(&external).await,
                    format!("{program} volume create -d {DRIVER} {external}"),
                ),
                (Change::Deregister, None) => {
                    (engine.remove(&external).await, format!("{program} volume rm {external}"))
                }
            };
            if let Err(reason) = done {
                let what = match change {
                    Change::Register => "does not know",
                    Change::Deregister => "still knows",
                };
                console.warning(
                    format!("{engine_name} {what} the volume {workspace}/{name} as {external}: {reason}"),
                    format!("when the cause is gone: {remedy}"),
                );
                // The others would wait as long.
                if reason.starts_with("no answer") {
                    break;
                }
            }
        }
    }
}

/// Warns of names that an engine holds under another driver.
pub(crate) async fn warn_of_others(
    socket: &Path,
    volumes: &[(WorkspaceName, VolumeName)],
    console: &mut Console,
) {
    for engine in found(socket).await {
        // An engine that doesn't answer is no matter of a listing.
        let Ok(drivers) = engine.volumes().await else { continue };
        for (workspace, name) in volumes {
            if let Some(driver) = drivers.get(&external_name(workspace, name))
                && driver != DRIVER
            {
                warn_of_other(&engine, workspace, name, driver, console);
            }
        }
    }
}

fn warn_of_other(
    engine: &Engine,
    workspace: &WorkspaceName,
    name: &VolumeName,
    driver: &str,
    console: &mut Console,
) {
    let (engine_name, program) = (engine.name(), engine.program());
    let external = external_name(workspace, name);
    console.warning(
        format!(
            "{engine_name} has another volume {external}, of the driver {driver}: its containers get that one, not {workspace}/{name}"
        ),
        format!(
            "save what is in it, then: {program} volume rm {external}; {program} volume create -d {DRIVER} {external}"
        ),
    );
}

/// The path of a URL `unix://…`.
fn unix_path(url: &str) -> Option<PathBuf> {
    url.trim().strip_prefix("unix://").filter(|path| path.starts_with('/')).map(PathBuf::from)
}

/// Whether two paths are the same file, whatever the way to it.
fn same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    identity(one).is_some_and(|found| Some(found) == identity(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_engines_know_them() {
        let name = "data".parse().unwrap();
        assert_eq!(external_name(&WorkspaceName::public(), &name), "data");
        assert_eq!(external_name(&"team".parse().unwrap(), &name), "team.data");
    }

    #[test]
    fn only_local_sockets_are_of_this_host() {
        assert_eq!(unix_path("unix:///run/docker.sock"), Some("/run/docker.sock".into()));
        assert_eq!(unix_path("tcp://10.0.0.1:2375"), None);
        assert_eq!(unix_path("unix://relative"), None);
    }

    #[test]
    fn a_name_that_two_drivers_hold_is_the_others() {
        let listed = [("a", "orlop"), ("a", "local"), ("b", "local"), ("b", "orlop"), ("c", "orlop")];
        let drivers = drivers(listed.map(|(name, driver)| (name.to_owned(), driver.to_owned())).into());
        let driver = |name: &str| drivers.get(name).map(String::as_str);
        assert_eq!((driver("a"), driver("b"), driver("c")), (Some("local"), Some("local"), Some("orlop")));
    }
}
