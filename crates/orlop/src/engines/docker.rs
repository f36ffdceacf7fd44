//! Docker, by its API socket.

use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

use super::{DRIVER, PATIENCE, http::Api, same_file, unix_path};

const SOCKET: &str = "/var/run/docker.sock";
/// Where Docker looks for the address of a plugin.
const SPECS: [&str; 2] = ["etc/docker/plugins", "usr/lib/docker/plugins"];

pub(super) struct Docker {
    api: Api,
}

impl Docker {
    /// Docker on this host, if it is there and its plugin `orlop` is the daemon of that run
    /// directory.
    pub(super) async fn find(run_dir: &Path) -> Option<Self> {
        let socket = socket()?;
        let stream = tokio::time::timeout(PATIENCE, UnixStream::connect(&socket)).await.ok()?.ok()?;
        // The spec is read as the engine sees it: it may live in a mount namespace of its own.
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid()).filter(|pid| *pid > 0);
        let its_root = pid.map(|pid| PathBuf::from(format!("/proc/{pid}/root")));
        let root = its_root.filter(|root| root.read_dir().is_ok()).unwrap_or_else(|| PathBuf::from("/"));
        let ours = same_file(&plugin(&root)?, &run_dir.join("docker.sock"));
        ours.then_some(Self { api: Api { socket } })
    }

    pub(super) async fn volumes(&self) -> Result<Vec<(String, String)>, String> {
        self.api.volumes(&[]).await
    }

    pub(super) async fn create(&self, name: &str) -> Result<(), String> {
        self.api.create(name).await
    }

    pub(super) async fn containers(&self, volume: &str) -> Result<Vec<String>, String> {
        self.api.containers(volume).await
    }

    pub(super) async fn remove(&self, name: &str) -> Result<(), String> {
        self.api.remove(name).await
    }
}

/// Where the data of a volume of Docker's own driver is.
pub(super) async fn data(name: &str) -> Result<String, String> {
    Api { socket: socket().ok_or("DOCKER_HOST is no unix socket")? }.data(name).await
}

/// Docker's socket on this host; none where the environment names another address.
fn socket() -> Option<PathBuf> {
    match std::env::var("DOCKER_HOST") {
        Ok(host) if !host.is_empty() => unix_path(&host),
        _ => Some(SOCKET.into()),
    }
}

/// The socket of the plugin `orlop`, by the first spec file there is, seen from outside `root`.
fn plugin(root: &Path) -> Option<PathBuf> {
    let spec = SPECS
        .iter()
        .find_map(|dir| std::fs::read_to_string(root.join(dir).join(format!("{DRIVER}.spec"))).ok())?;
    let socket = unix_path(&spec)?;
    Some(root.join(socket.strip_prefix("/").unwrap_or(&socket)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_spec_counts_and_is_seen_from_outside() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(plugin(root.path()), None);
        for (dir, text) in
            [(SPECS[1], "unix:///run/b/docker.sock"), (SPECS[0], "unix:///run/a/docker.sock\n")]
        {
            let dir = root.path().join(dir);
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("orlop.spec"), text).unwrap();
        }
        assert_eq!(plugin(root.path()), Some(root.path().join("run/a/docker.sock")));
    }
}
