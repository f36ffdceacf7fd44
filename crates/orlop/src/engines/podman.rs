//! Podman: by its API socket where a service runs, else by its program, since Podman has no daemon.
//!
//! This is the one place outside `orlop-sys` where a process is started: the command line runs it
//! with the user's own rights, and no part of the daemon depends on it.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use super::{DRIVER, http::Api, same_file, unix_path};

/// Root's service, where `podman.socket` is enabled.
const SOCKET: &str = "/run/podman/podman.sock";
/// More names would make a command line or a path too long.
const NAMES_AT_ONCE: usize = 100;

pub(super) struct Podman {
    access: Access,
}

enum Access {
    Socket(Api),
    Program(Vec<OsString>),
}

impl Podman {
    /// Podman on this host, if it is there and its plugin `orlop` is the daemon of that run
    /// directory. `CONTAINER_HOST` names its socket, `ORLOP_PODMAN` the words of its command.
    pub(super) fn find(run_dir: &Path) -> Option<Self> {
        let access = access()?;
        let files = configuration_files(Path::new("/"), |name| std::env::var_os(name).map(PathBuf::from));
        let plugin = files
            .iter()
            .filter_map(|file| fs::read_to_string(file).ok())
            .filter_map(|text| plugin(&text))
            .next_back()?;
        same_file(&plugin, &run_dir.join("podman.sock")).then_some(Self { access })
    }

    /// The names and drivers of those volumes that Podman knows. Podman can't list the volumes of a
    /// plugin that doesn't know one of them any more, so no others are asked for.
    pub(super) async fn volumes(&self, names: &[String]) -> Result<Vec<(String, String)>, String> {
        let mut volumes = Vec::new();
        for names in names.chunks(NAMES_AT_ONCE) {
            volumes.extend(match &self.access {
                Access::Socket(api) => api.volumes(names).await?,
                Access::Program(words) => {
                    let mut arguments =
                        ["volume", "ls", "--format", "{{.Driver}} {{.Name}}"].map(str::to_owned).to_vec();
                    arguments.extend(names.iter().map(|name| format!("--filter=name=^{name}$")));
                    let listed = run(words, &arguments).await?;
                    let row = |line: &str| line.split_once(' ').map(|(d, n)| (n.to_owned(), d.to_owned()));
                    listed.lines().filter_map(row).collect()
                }
            });
        }
        Ok(volumes)
    }

    /// Makes a name known that isn't yet.
    pub(super) async fn create(&self, name: &str) -> Result<(), String> {
        match &self.access {
            Access::Socket(api) => api.create(name).await,
            Access::Program(words) => {
                run(words, &["volume", "create", "--driver", DRIVER, name]).await.map(|_| ())
            }
        }
    }

    /// The names of all containers that use a volume, stopped ones too.
    pub(super) async fn containers(&self, volume: &str) -> Result<Vec<String>, String> {
        match &self.access {
            Access::Socket(api) => api.containers(volume).await,
            Access::Program(words) => {
                let filter = format!("volume={volume}");
                let said =
                    run(words, &["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"]).await?;
                Ok(said.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
            }
        }
    }

    /// Makes Podman forget a name that it knows as Orlop's.
    pub(super) async fn remove(&self, name: &str) -> Result<(), String> {
        let removed = match &self.access {
            Access::Socket(api) => api.remove(name).await,
            // Never with --force, which would remove the containers that use it.
            Access::Program(words) => run(words, &["volume", "rm", name]).await.map(|_| ()),
        };
        // It complains of a volume that its plugin doesn't know any more, and forgets it all the same.
        match (removed, self.volumes(&[name.to_owned()]).await.as_deref()) {
            (Err(_), Ok([])) => Ok(()),
            (removed, _) => removed,
        }
    }
}

/// How Podman can be reached; none where it isn't there, or where it is another user's.
fn access() -> Option<Access> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(host) = variable("CONTAINER_HOST") {
        let socket = unix_path(host.to_str()?)?;
        return Some(Access::Socket(Api { socket }));
    }
    if let Some(words) = variable("ORLOP_PODMAN") {
        let words = words.to_str()?.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        return (!words.is_empty()).then_some(Access::Program(words));
    }
    // The plugin's socket is root's: a user's own Podman can't use it.
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    if Path::new(SOCKET).exists() {
        return Some(Access::Socket(Api { socket: SOCKET.into() }));
    }
    let path = variable("PATH")?;
    let program = std::env::split_paths(&path).map(|dir| dir.join("podman")).find(|file| file.is_file())?;
    Some(Access::Program(vec![program.into()]))
}

/// Runs Podman to its end; its last line on standard error is the reason of a failure.
async fn run(words: &[OsString], arguments: &[impl AsRef<OsStr>]) -> Result<String, String> {
    let mut words = words.iter().collect::<VecDeque<_>>();
    let program = words.pop_front().ok_or("no program is named")?;
    let output = tokio::process::Command::new(program)
        .args(words)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|fault| format!("{} can't be run: {fault}", program.to_string_lossy()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it gave no reason");
    Err(last.trim_start_matches("Error: ").to_owned())
}

/// The files of Podman's configuration, the later ones before the earlier ones in weight.
fn configuration_files(root: &Path, variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Some(file) = variable("CONTAINERS_CONF") {
        files.push(file);
    } else {
        files.push(root.join("usr/share/containers/containers.conf"));
        files.push(root.join("etc/containers/containers.conf"));
        let entries = fs::read_dir(root.join("etc/containers/containers.conf.d"));
        let mut parts: Vec<PathBuf> = entries
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|end| end == "conf"))
            .collect();
        parts.sort();
        files.extend(parts);
    }
    files.extend(variable("CONTAINERS_CONF_OVERRIDE"));
    files
}

/// The socket of the plugin `orlop` in a `containers.conf`. Only `key = "value"` lines of one table
/// matter here, so a TOML parser would be more than is needed.
fn plugin(text: &str) -> Option<PathBuf> {
    let mut inside = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            let table: String = line.chars().filter(|c| !c.is_whitespace()).collect();
            inside = table.starts_with("[engine.volume_plugins]");
        } else if inside
            && let Some((key, value)) = line.split_once('=')
            && key.trim().trim_matches('"') == DRIVER
        {
            let value = value.trim();
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
            found = quote.and_then(|quote| value.get(1..)?.split(quote).next()).map(PathBuf::from);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_is_found_in_its_table_only() {
        let found = |text: &str| plugin(text).map(|path| path.display().to_string());
        assert_eq!(
            found("[engine.volume_plugins]\norlop = \"/run/o/podman.sock\"\n").as_deref(),
            Some("/run/o/podman.sock")
        );
        assert_eq!(
            found("[ engine . volume_plugins ] # ours\n  \"orlop\"='/x' # y\n").as_deref(),
            Some("/x")
        );
        assert_eq!(found("[engine]\norlop = \"/x\"\n[engine.volume_plugins]\nother = \"/y\""), None);
        assert_eq!(found("[engine.volume_plugins]\n# orlop = \"/x\"\n"), None);
        assert_eq!(found("[engine.volume_plugins]\na = \"/a\"\n[network]\norlop = \"/x\""), None);
    }

    #[test]
    fn the_files_are_those_of_podman() {
        let root = tempfile::tempdir().unwrap();
        let parts = root.path().join("etc/containers/containers.conf.d");
        fs::create_dir_all(&parts).unwrap();
        for file in ["b.conf", "a.conf", "c.txt"] {
            fs::write(parts.join(file), "").unwrap();
        }
        let names = |files: Vec<PathBuf>| {
            files
                .iter()
                .map(|file| file.file_name().unwrap().to_string_lossy().into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(configuration_files(root.path(), |_| None)),
            ["containers.conf", "containers.conf", "a.conf", "b.conf"]
        );
        let only = |name: &str| (name == "CONTAINERS_CONF").then(|| PathBuf::from("/x/own.conf"));
        assert_eq!(names(configuration_files(root.path(), only)), ["own.conf"]);
    }
}
