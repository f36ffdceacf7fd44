//! The listening sockets: inherited from systemd by name, or bound safely. Who connects is in `connection`.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use listenfd::ListenFd;
use orlop_model::{Error, ErrorKind, Result};

/// The kernel takes a path of so many bytes.
const LONGEST_PATH: usize = 107;

/// The flags that say where sockets are.
const RUN_DIR: &str = "--run-dir";
const CSI_ENDPOINT: &str = "--csi-endpoint";

/// The sockets, and the lock on the directory that holds all but that of CSI.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub rest: UnixListener,
    pub docker: UnixListener,
    pub podman: UnixListener,
    pub csi: Option<UnixListener>,
    bound: Vec<Bound>,
    _lock: File,
}

/// A socket file of ours.
#[derive(Debug)]
struct Bound {
    path: PathBuf,
    inode: u64,
}

impl Drop for Sockets {
    /// Takes away what was bound here: a client is told that nobody is there, at once.
    fn drop(&mut self) {
        for bound in &self.bound {
            if fs::symlink_metadata(&bound.path).is_ok_and(|metadata| metadata.ino() == bound.inode) {
                let _ = fs::remove_file(&bound.path);
            }
        }
    }
}

/// Who may open a socket.
#[derive(Debug, Clone, Copy)]
enum Audience {
    /// Root.
    Root,
    /// Root and this group.
    Group(u32),
}

/// The directory of the sockets, which is ours as long as this lives.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    path: PathBuf,
    lock: File,
}

impl RunDirectory {
    /// Makes the directory where it is missing, and takes its lock. Comes before all that lies
    /// below it: its mode lets others pass to the sockets, theirs says who may open them.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        let missing = !path.exists();
        DirBuilder::new().recursive(true).create(path).map_err(|fault| failed("making", path, &fault))?;
        if missing {
            // Whatever the umask is.
            fs::set_permissions(path, Permissions::from_mode(0o755))
                .map_err(|fault| failed("setting the mode of", path, &fault))?;
        }
        // Two daemons with different state directories could share a run directory by mistake:
        // each would find the other's sockets. The lock goes with the process.
        let file = path.join("orlop.lock");
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(&file);
        let lock = lock.map_err(|fault| failed("opening", &file, &fault))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(taken(path)),
            Err(TryLockError::Error(fault)) => Err(failed("locking", &file, &fault)),
        }
    }

    /// Opens the sockets. `group` is the one that may talk to the REST socket, where it exists; `csi` is
    /// the path of that of CSI, whose directory is made where it is missing.
    pub(crate) fn listen(self, group: &str, csi: Option<&Path>) -> Result<Sockets> {
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        let rest_audience = group_id(&groups, group).map_or(Audience::Root, Audience::Group);
        let mut inherited = inherited()?;
        let mut bound = Vec::new();
        let mut made = |path: PathBuf, audience, flag| -> Result<UnixListener> {
            let listener = bind(&path, audience, flag)?;
            let metadata = fs::symlink_metadata(&path).map_err(|fault| failed("reading", &path, &fault))?;
            bound.push(Bound { path, inode: metadata.ino() });
            Ok(listener)
        };
        let mut socket = |name: &str, file: &str, audience| -> Result<UnixListener> {
            if let Some(at) = inherited.iter().position(|(known, _)| known == name) {
                return Ok(inherited.swap_remove(at).1);
            }
            made(self.path.join(file), audience, RUN_DIR)
        };
        let rest = socket("rest", "orlop.sock", rest_audience)?;
        let docker = socket("docker", "docker.sock", Audience::Root)?;
        let podman = socket("podman", "podman.sock", Audience::Root)?;
        let csi = csi.map(|path| {
            let parent = path.parent().unwrap_or(Path::new("/"));
            DirBuilder::new().recursive(true).mode(0o750).create(parent).map_err(|fault| {
                let message = format!("making {} failed: {fault}", parent.display());
                Error::new(ErrorKind::Host, message)
                    .object(CSI_ENDPOINT)
                    .hint("see that it is on a writable filesystem, and that this runs as root")
            })?;
            made(path.to_owned(), Audience::Root, CSI_ENDPOINT)
        });
        let csi = csi.transpose()?;
        Ok(Sockets { rest, docker, podman, csi, bound, _lock: self.lock })
    }
}

fn failed(what: &str, path: &Path, fault: &io::Error) -> Error {
    Error::new(ErrorKind::Host, format!("{what} {} failed: {fault}", path.display()))
        .object("run directory")
        .hint("see that --run-dir is on a writable filesystem, and that this runs as root")
}

/// The sockets that systemd opened for us, with the names of their units' `FileDescriptorName`.
fn inherited() -> Result<Vec<(String, UnixListener)>> {
    // The names are read before the descriptors are taken, which clears the environment's word for them.
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut descriptors = ListenFd::from_env();
    let mut sockets = Vec::new();
    for (index, name) in names.split(':').enumerate().take(descriptors.len()) {
        match descriptors.take_unix_listener(index) {
            Ok(Some(listener)) => sockets.push((name.to_owned(), listener)),
            Ok(None) => {}
            Err(fault) => {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    format!("the inherited descriptor {name:?} is no listening unix socket: {fault}"),
                )
                .hint("each socket unit has `ListenStream=` with a path"));
            }
        }
    }
    Ok(sockets)
}

/// Binds one. `flag` is what a user would change about its path.
fn bind(path: &Path, audience: Audience, flag: &str) -> Result<UnixListener> {
    let at = |fault: io::Error| {
        Error::new(ErrorKind::Host, format!("the socket {} can't be made: {fault}", path.display()))
            .object(format!("socket {}", path.display()))
            .hint(format!("see that {flag} is on a writable filesystem, and that this runs as root"))
    };
    // Bound under another name, given its owner and mode, and renamed: nobody can connect while
    // it still has the mode of the umask.
    let unready = path.with_extension("new");
    let length = unready.as_os_str().len();
    if length > LONGEST_PATH {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("the socket path {} has {length} bytes, the kernel takes {LONGEST_PATH}", path.display()),
        )
        .object(flag)
        .hint(format!("choose a shorter {flag}")));
    }
    prove_deserted(path, flag)?;
    remove_socket(&unready).map_err(at)?;
    let listener = UnixListener::bind(&unready).map_err(at)?;
    let mode = match audience {
        Audience::Root => 0o600,
        Audience::Group(gid) => {
            chown(&unready, None, Some(gid)).map_err(at)?;
            0o660
        }
    };
    fs::set_permissions(&unready, Permissions::from_mode(mode)).map_err(at)?;
    fs::rename(&unready, path).map_err(at)?;
    Ok(listener)
}

/// Refuses to replace a socket that somebody answers on, or a file that is no socket.
fn prove_deserted(path: &Path, flag: &str) -> Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !is_socket(&metadata) {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("{} is there and is no socket; it is left alone", path.display()),
        )
        .object(format!("socket {}", path.display()))
        .hint(format!("move it away, or choose another {flag}")));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(taken(path)),
        // Nobody listens any more: what a killed daemon leaves.
        Err(_) => Ok(()),
    }
}

fn remove_socket(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if is_socket(&metadata) => fs::remove_file(path),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn is_socket(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_socket(&metadata.file_type())
}

fn taken(path: &Path) -> Error {
    Error::new(ErrorKind::Locked, format!("another Orlop daemon uses {}", path.display()))
        .object("run directory")
        .hint("stop it, or give this one its own --run-dir and --state-dir")
}

/// The number of a group in the format of `/etc/group`.
fn group_id(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        fields.nth(1)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(run_dir: &Path, group: &str) -> Result<Sockets> {
        RunDirectory::take(run_dir)?.listen(group, None)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn sockets_have_their_modes_and_go_when_closed() {
        let directory = tempfile::tempdir().unwrap();
        let run_dir = directory.path().join("run");
        let sockets = open(&run_dir, "no-such-group").unwrap();
        assert_eq!(mode(&run_dir), 0o755);
        for name in ["orlop.sock", "docker.sock", "podman.sock"] {
            assert_eq!(mode(&run_dir.join(name)), 0o600, "{name}");
            UnixStream::connect(run_dir.join(name)).unwrap();
        }
        drop(sockets);
        assert!(!run_dir.join("orlop.sock").exists());

        // A group that is there on every system stands for `orlop`.
        let _sockets = open(&run_dir, "daemon").unwrap();
        assert_eq!(mode(&run_dir.join("orlop.sock")), 0o660);
        assert_eq!(fs::metadata(run_dir.join("orlop.sock")).unwrap().gid(), 1);
        assert_eq!(mode(&run_dir.join("docker.sock")), 0o600);
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("orlop.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(open(directory.path(), "none").unwrap());

        let live = UnixListener::bind(&path).unwrap();
        let refused = open(directory.path(), "none").unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Locked, "{refused}");
        drop(live);

        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        let refused = open(directory.path(), "none").unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Conflict, "{refused}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn the_socket_of_csi_is_where_it_was_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plugins/csi.orlop.dev/csi.sock");
        let listen =
            |path: &Path| RunDirectory::take(&directory.path().join("run"))?.listen("none", Some(path));
        for _ in 0..2 {
            let sockets = listen(&path).unwrap();
            assert_eq!(mode(&path), 0o600);
            UnixStream::connect(&path).unwrap();
            drop(sockets);
            assert!(!path.exists());
            // What a killed daemon leaves is replaced.
            drop(UnixListener::bind(&path).unwrap());
        }
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        let refused = listen(&path).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Conflict, "{refused}");
        assert!(refused.hint.unwrap().contains("--csi-endpoint"));
    }

    #[test]
    fn one_daemon_has_a_run_directory() {
        let directory = tempfile::tempdir().unwrap();
        let _first = open(directory.path(), "none").unwrap();
        assert_eq!(open(directory.path(), "none").unwrap_err().kind, ErrorKind::Locked);
    }

    #[test]
    fn a_path_too_long_is_told_before_the_kernel_cuts_it() {
        let directory = tempfile::tempdir().unwrap();
        let error = open(&directory.path().join("d".repeat(120)), "none").unwrap_err();
        assert!(error.message.contains("the kernel takes 107"), "{error}");
    }

    #[test]
    fn groups_are_found_by_name() {
        let groups = "root:x:0:\nbroken\norlop:x:998:ann\n";
        assert_eq!(group_id(groups, "orlop"), Some(998));
        assert_eq!(group_id(groups, "ann"), None);
    }
}
