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

use orlop_model::{Error, ErrorKind, Result, VolumeName, WorkspaceName, resource::Front};

use crate::output::Console;

/// How engines call the plugin, and with it the driver.
pub(crate) const DRIVER: &str = "orlop";
/// No call to an engine takes longer. Docker waits 15 s for a plugin that is down.
const PATIENCE: Duration = Duration::from_secs(5);
const NO_ANSWER: &str = "no answer";

/// Where the data of a volume of Docker's own driver is, for a copy of it.
///
/// # Errors
/// [`ErrorKind::Unsupported`] where Docker can't say.
pub(crate) async fn docker_data(name: &str) -> Result<String> {
    let object = format!("docker volume {name}");
    // Docker's own grammar, which needs no escape in a path.
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("{name:?} is no name of a Docker volume"),
        )
        .object(object)
        .hint("docker volume ls shows them"));
    }
    let found = tokio::time::timeout(PATIENCE, docker::data(name)).await.unwrap_or(Err(NO_ANSWER.to_owned()));
    found.map_err(|why| {
        Error::new(ErrorKind::Unsupported, format!("Docker does not say where {name} is: {why}"))
            .object(object)
            .hint("name its directory instead: --adopt DIR (docker volume inspect shows it)")
    })
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

    /// Which driver holds each of the names, of those that are held.
    async fn drivers(&self, names: &[String]) -> Result<Drivers, String> {
        bounded(async {
            match self {
                Self::Docker(docker) => docker.volumes().await,
                Self::Podman(podman) => podman.volumes(names).await,
            }
        })
        .await
        .map(drivers)
    }

    async fn create(&self, name: &str, driver: Option<&str>) -> Result<(), String> {
        bounded(async {
            match self {
                // What Docker lists may be the plugin's list, and not what Docker keeps.
                Self::Docker(docker) => docker.create(name).await,
                Self::Podman(_) if driver == Some(DRIVER) => Ok(()),
                Self::Podman(podman) => podman.create(name).await,
            }
        })
        .await
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
        .unwrap_or_else(|_| Err(format!("{NO_ANSWER} within {} seconds", PATIENCE.as_secs())))
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

/// What an engine calls a volume.
pub(crate) fn external_name(workspace: &WorkspaceName, name: &VolumeName) -> String {
    if *workspace == WorkspaceName::public() { name.to_string() } else { format!("{workspace}.{name}") }
}

/// A volume as its users name it.
type Key = (WorkspaceName, VolumeName);

/// The engines of this host whose plugin is the daemon in use, and what they know of some volumes.
pub(crate) struct Known {
    engines: Vec<(Engine, Result<Drivers, String>)>,
}

impl Known {
    /// Asks every engine what it knows of those volumes, on behalf of the daemon behind the socket.
    /// For a deletion this comes first: Podman can say nothing of a volume that is gone.
    pub(crate) async fn of(socket: &Path, volumes: &[Key]) -> Self {
        let mut engines = Vec::new();
        if let Some(run_dir) = socket.parent().filter(|_| !volumes.is_empty()) {
            let names: Vec<String> = volumes.iter().map(|(w, name)| external_name(w, name)).collect();
            let docker = docker::Docker::find(run_dir).await.map(Engine::Docker);
            let podman = podman::Podman::find(run_dir).map(Engine::Podman);
            for engine in docker.into_iter().chain(podman) {
                let drivers = engine.drivers(&names).await;
                engines.push((engine, drivers));
            }
        }
        Self { engines }
    }

    /// Makes the names known as Orlop's. Never fails; warnings say what a user can do.
    pub(crate) async fn register(&self, volumes: &[Key], console: &mut Console) {
        for (engine, drivers) in &self.engines {
            let program = engine.program();
            let drivers = match drivers {
                Ok(drivers) => drivers,
                Err(reason) => {
                    let remedy = format!("apply again, or {program} volume create -d {DRIVER} NAME");
                    engine.unheard(reason, &remedy, console);
                    continue;
                }
            };
            for key in volumes {
                let name = external_name(&key.0, &key.1);
                let driver = drivers.get(&name).map(String::as_str);
                if let Some(other) = driver.filter(|driver| *driver != DRIVER) {
                    warn_of_other(engine, key, other, console);
                    continue;
                }
                if let Err(reason) = engine.create(&name, driver).await {
                    let remedy = format!("{program} volume create -d {DRIVER} {name}");
                    if engine.refused("does not know", key, &reason, &remedy, console) {
                        break;
                    }
                }
            }
        }
    }

    /// Makes the names of deleted volumes unknown. What another driver holds is not ours to remove.
    pub(crate) async fn deregister(&self, volumes: &[Key], console: &mut Console) {
        for (engine, drivers) in &self.engines {
            let program = engine.program();
            let drivers = match drivers {
                Ok(drivers) => drivers,
                Err(reason) => {
                    engine.unheard(reason, &format!("{program} volume rm NAME"), console);
                    continue;
                }
            };
            for key in volumes {
                let name = external_name(&key.0, &key.1);
                if drivers.get(&name).map(String::as_str) != Some(DRIVER) {
                    continue;
                }
                if let Err(reason) = engine.remove(&name).await
                    && engine.refused(
                        "still knows",
                        key,
                        &reason,
                        &format!("{program} volume rm {name}"),
                        console,
                    )
                {
                    break;
                }
            }
        }
    }

    /// Warns of names that an engine will keep when their volumes go later. Docker doesn't: it asks
    /// the plugin, and forgets what that doesn't know any more.
    pub(crate) fn warn_of_kept(&self, volumes: &[Key], console: &mut Console) {
        let podman = self.engines.iter().filter(|(engine, _)| matches!(engine, Engine::Podman(_)));
        for drivers in podman.filter_map(|(_, drivers)| drivers.as_ref().ok()) {
            for (workspace, name) in volumes {
                let external = external_name(workspace, name);
                if drivers.get(&external).map(String::as_str) == Some(DRIVER) {
                    console.warning(
                        format!("Podman will go on knowing volume {workspace}/{name} as {external}, and can't list volumes then"),
                        "when it is gone: podman volume reload",
                    );
                }
            }
        }
    }

    /// The containers of all engines, also stopped ones, that know a volume of Orlop by its name.
    ///
    /// # Errors
    /// Where an engine that holds the name does not say.
    pub(crate) async fn containers(&self, key: &Key) -> orlop_model::Result<Vec<String>> {
        let name = external_name(&key.0, &key.1);
        let mut found = Vec::new();
        for (engine, drivers) in &self.engines {
            let Ok(drivers) = drivers else { continue };
            if drivers.get(&name).map(String::as_str) != Some(DRIVER) {
                continue;
            }
            let containers = bounded(async {
                match engine {
                    Engine::Docker(docker) => docker.containers(&name).await,
                    Engine::Podman(podman) => podman.containers(&name).await,
                }
            });
            let containers = containers.await.map_err(|reason| {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("{} does not say which containers use {name}: {reason}", engine.name()),
                )
                .hint("try again when it does")
            })?;
            found.extend(containers.into_iter().map(|one| format!("container {one} of {}", engine.name())));
        }
        Ok(found)
    }

    /// The engines that say what they know, and can be told to forget it.
    pub(crate) fn answering(&self) -> impl Iterator<Item = Front> {
        self.engines.iter().filter(|(_, drivers)| drivers.is_ok()).map(|(engine, _)| match engine {
            Engine::Docker(_) => Front::Docker,
            Engine::Podman(_) => Front::Podman,
        })
    }

    /// Warns of names that an engine holds under another driver. An engine that doesn't answer is
    /// no matter of a listing.
    pub(crate) fn warn_of_others(&self, volumes: &[Key], console: &mut Console) {
        for (engine, drivers) in &self.engines {
            let Ok(drivers) = drivers else { continue };
            for key in volumes {
                if let Some(driver) = drivers.get(&external_name(&key.0, &key.1))
                    && driver != DRIVER
                {
                    warn_of_other(engine, key, driver, console);
                }
            }
        }
    }
}

impl Engine {
    fn unheard(&self, reason: &str, remedy: &str, console: &mut Console) {
        let name = self.name();
        console.warning(
            format!("{name} was not told of the change: {reason}"),
            format!("when the cause is gone: {remedy}"),
        );
    }

    /// Warns that one volume could not be told. True where the others would wait as long.
    fn refused(&self, what: &str, key: &Key, reason: &str, remedy: &str, console: &mut Console) -> bool {
        let name = external_name(&key.0, &key.1);
        console.warning(
            format!("{} {what} the volume {}/{} as {name}: {reason}", self.name(), key.0, key.1),
            format!("when the cause is gone: {remedy}"),
        );
        reason.starts_with(NO_ANSWER)
    }
}

fn warn_of_other(engine: &Engine, (workspace, name): &Key, driver: &str, console: &mut Console) {
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
