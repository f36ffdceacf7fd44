//! Directories that sweep up behind themselves, and small filesystems of a chosen kind.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::command::run;

/// A directory of one test. When it is dropped, or the test dies in whatever way, its janitor
/// kills the processes, unmounts the mounts, detaches the loop devices and removes the files that
/// belong to the directory.
///
/// The janitor sees the mount namespace of the test only. A namespace that copied the mounts (an
/// engine's) keeps loop devices busy until it is gone: declare engines after, so that they are
/// dropped before, what they use.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    janitor: Child,
}

impl Scratch {
    /// A new empty directory below the system's temporary directory, with `name` in its name.
    #[track_caller]
    pub fn new(name: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix(&format!("orlop-{name}-"))
            .tempdir()
            .unwrap_or_else(|e| panic!("cannot make a scratch directory: {e}"))
            .keep();
        // Mounts and loop devices are reported by their real path.
        let path = dir.canonicalize().unwrap_or(dir);
        // A group of its own, so that it survives a signal to the test's.
        let janitor = Command::new("sh")
            .args(["-c", include_str!("janitor.sh"), "janitor"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start sh: {e}"));
        Self { path, janitor }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path below the directory; nothing is made there.
    pub fn join(&self, below: impl AsRef<Path>) -> PathBuf {
        self.path.join(below)
    }

    /// Makes a directory below the directory.
    #[track_caller]
    pub fn mkdir(&self, below: impl AsRef<Path>) -> PathBuf {
        let dir = self.path.join(below);
        std::fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("cannot make {}: {e}", dir.display()));
        dir
    }

    /// Mounts and loop devices at and below `dir` are swept as well; `dir` itself is not removed.
    pub fn also_sweep(&mut self, dir: &Path) {
        self.tell("root", &dir.display().to_string());
    }

    /// The process is killed as well, if its command line names the directory.
    pub fn also_kill(&mut self, pid: i32) {
        self.tell("pid", &pid.to_string());
    }

    /// The control group (a path below the root of its hierarchies) is removed as well.
    pub fn also_remove_cgroup(&mut self, name: &str) {
        self.tell("cgroup", name);
    }

    fn tell(&mut self, what: &str, rest: &str) {
        if let Some(stdin) = &mut self.janitor.stdin {
            writeln!(stdin, "{what} {rest}").unwrap_or_else(|e| panic!("the janitor is gone: {e}"));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let mut left = String::new();
        if let Some(stdout) = &mut self.janitor.stdout {
            let _ = stdout.read_to_string(&mut left);
        }
        let _ = self.janitor.wait();
        if !left.is_empty() {
            eprint!("after the test in {}:\n{left}", self.path.display());
        }
    }
}

/// A small filesystem of its own, mounted in a [`Scratch`].
#[derive(Debug)]
pub struct ScratchFs {
    /// Unmounts and removes it when it is dropped.
    _scratch: Scratch,
    root: PathBuf,
}

impl ScratchFs {
    /// ext4 on an image of `size` bytes.
    #[track_caller]
    pub fn ext4(size: u64) -> Self {
        Self::image("ext4", size, &["mkfs.ext4", "-q", "-F"])
    }

    /// XFS with reflink on an image of `size` bytes; mkfs.xfs wants at least 300 MiB.
    #[track_caller]
    pub fn xfs(size: u64) -> Self {
        Self::image("xfs", size, &["mkfs.xfs", "-q", "-m", "reflink=1"])
    }

    /// btrfs on an image of `size` bytes; mkfs.btrfs wants at least 109 MiB.
    #[track_caller]
    pub fn btrfs(size: u64) -> Self {
        Self::image("btrfs", size, &["mkfs.btrfs", "-q"])
    }

    /// A tmpfs of `size` bytes.
    #[track_caller]
    pub fn tmpfs(size: u64) -> Self {
        let scratch = Scratch::new("tmpfs");
        let root = scratch.mkdir("mnt");
        let option = format!("size={size},mode=755");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(&root)).ok();
        Self { _scratch: scratch, root }
    }

    /// The root directory of the filesystem.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// A path below the root directory; nothing is made there.
    pub fn join(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.join(below)
    }

    #[track_caller]
    fn image(kind: &str, size: u64, mkfs: &[&str]) -> Self {
        let scratch = Scratch::new(kind);
        let (image, root) = (scratch.join("image"), scratch.mkdir("mnt"));
        std::fs::File::create(&image)
            .and_then(|file| file.set_len(size))
            .unwrap_or_else(|e| panic!("cannot make {}: {e}", image.display()));
        let (program, options) = mkfs.split_first().unwrap_or((&"mkfs", &[]));
        run(Command::new(program).args(options).arg(&image)).ok();
        run(Command::new("mount").args(["-t", kind, "-o", "loop"]).args([&image, &root])).ok();
        Self { _scratch: scratch, root }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mounts::{loops_below, mounts, mounts_below_anywhere};
    use crate::process::{alive, kill9};
    use crate::{Part, require};

    const MIB: u64 = 1 << 20;

    fn holds_a_file(fs: &ScratchFs, kind: &str) {
        std::fs::write(fs.join("file"), "cargo").unwrap_or_else(|e| panic!("cannot write into {kind}: {e}"));
        let seen = mounts().into_iter().find(|m| m.target == fs.path());
        assert_eq!(seen.map(|m| m.filesystem).as_deref(), Some(kind));
    }

    #[test]
    fn filesystems_are_of_their_kind_and_leave_nothing() {
        require!(Part::Loop, Part::Xfs, Part::Btrfs);
        let made = [
            ("ext4", ScratchFs::ext4(32 * MIB)),
            ("xfs", ScratchFs::xfs(320 * MIB)),
            ("btrfs", ScratchFs::btrfs(128 * MIB)),
            ("tmpfs", ScratchFs::tmpfs(MIB)),
        ];
        for (kind, fs) in made {
            holds_a_file(&fs, kind);
            let base = fs._scratch.path().to_owned();
            drop(fs);
            assert_eq!(mounts_below_anywhere(&base), []);
            assert_eq!(loops_below(&base), []);
            assert!(!base.exists(), "{kind}: {} is still there", base.display());
        }
    }

    #[test]
    fn loops_within_loops_are_swept() {
        require!(Part::Loop);
        let outer = ScratchFs::ext4(64 * MIB);
        let (image, inner) = (outer.join("inner.img"), outer.join("inner"));
        run(Command::new("truncate").args(["-s", "16M"]).arg(&image)).ok();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image)).ok();
        run(Command::new("mkdir").arg(&inner)).ok();
        run(Command::new("mount").args(["-o", "loop"]).args([&image, &inner])).ok();
        let base = outer._scratch.path().to_owned();
        assert_eq!(loops_below(&base).len(), 2);
        drop(outer);
        assert_eq!((loops_below(&base), mounts_below_anywhere(&base)), (vec![], vec![]));
    }

    #[test]
    fn the_janitor_kills_only_what_names_the_directory() {
        let mut scratch = Scratch::new("kill");
        // Waits for a line that never comes, without a child of its own.
        let start = |word: &Path| {
            Command::new("sh")
                .args(["-c", "read line"])
                .arg(word)
                .stdin(Stdio::piped())
                .spawn()
                .unwrap_or_else(|e| panic!("cannot start sh: {e}"))
        };
        let mut ours = start(scratch.path());
        let mut other = start(Path::new("/"));
        let id = |child: &Child| i32::try_from(child.id()).unwrap_or_default();
        scratch.also_kill(id(&ours));
        scratch.also_kill(id(&other));
        drop(scratch);
        assert!(!alive(id(&ours)));
        assert!(alive(id(&other)));
        kill9(id(&other));
        let _ = (ours.wait(), other.wait());
    }
}
