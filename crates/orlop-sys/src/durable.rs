//! Changes to files and directories that are on stable storage when the call returns.
//!
//! A rename or an unlink is only durable once its *directory* is flushed; each function here does
//! both.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags, flock, fsync, mkdir, open, openat, renameat,
    renameat_with, unlinkat,
};
use rustix::io::Errno;

use crate::error::{Result, SysError};

/// Replaces a file's content as a whole: after a crash it is either the old or the new one. A file
/// has one writer at a time; the caller sees to that.
///
/// A crash may leave [`draft_of`] the file beside it. The next write takes its place.
pub fn write_file(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let (directory, name) = split(path)?;
    let draft = draft_name(name);
    let directory_fd = open_directory(&directory)?;
    match unlinkat(&directory_fd, &draft, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(SysError::on("remove an old draft of", path, errno)),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&directory_fd, &draft, flags, Mode::from_raw_mode(mode))
        .map_err(|errno| SysError::on("create a file beside", path, errno))?;
    let written = fill(file, path, content).and_then(|()| {
        renameat(&directory_fd, &draft, &directory_fd, name)
            .map_err(|errno| SysError::on("replace", path, errno))
    });
    if let Err(error) = written {
        let _ = unlinkat(&directory_fd, &draft, AtFlags::empty());
        return Err(error);
    }
    flush(&directory_fd, &directory)
}

/// Where [`write_file`] puts the new content until it is whole: `.<name>.new` beside the file.
pub fn draft_of(path: &Path) -> PathBuf {
    path.with_file_name(draft_name(path.file_name().unwrap_or_default()))
}

fn draft_name(name: &OsStr) -> OsString {
    let mut draft = OsString::from(".");
    draft.push(name);
    draft.push(".new");
    draft
}

fn fill(file: OwnedFd, path: &Path, content: &[u8]) -> Result<()> {
    let mut file = File::from(file);
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(|error| SysError::io("write", path, &error))
}

/// Makes one directory with this mode (less the umask).
///
/// # Errors
/// EEXIST where something by that name exists.
pub fn create_dir(path: &Path, mode: u32) -> Result<()> {
    mkdir(path, Mode::from_raw_mode(mode))
        .map_err(|errno| SysError::on("make the directory", path, errno))?;
    sync_parent(path)
}

/// Makes a directory and its missing parents, each with this mode; ones that exist are left alone.
pub fn create_dir_all(path: &Path, mode: u32) -> Result<()> {
    match create_dir(path, mode) {
        Err(error) if error.is_not_found() => {
            if let Some(parent) = path.parent() {
                create_dir_all(parent, mode)?;
            }
            create_dir(path, mode).or_else(|error| existing_directory(path, error))
        }
        other => other.or_else(|error| existing_directory(path, error)),
    }
}

fn existing_directory(path: &Path, error: SysError) -> Result<()> {
    if error.already_exists() && path.is_dir() {
        return Ok(());
    }
    Err(error)
}

/// Renames without replacing.
///
/// # Errors
/// EEXIST where the new name is taken; EXDEV across filesystems.
pub fn rename_noreplace(from: &Path, to: &Path) -> Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        // The target is what is named: that it exists is the fault to tell.
        Err(Errno::EXIST) => return Err(SysError::on("rename to", to, Errno::EXIST)),
        Err(errno) => return Err(SysError::on("rename", from, errno)),
    }
    sync_parent(to)?;
    if from.parent() != to.parent() {
        sync_parent(from)?;
    }
    Ok(())
}

/// Renames within a directory, and replaces what has the name: there is no moment without it.
pub fn replace_file(from: &Path, to: &Path) -> Result<()> {
    rustix::fs::rename(from, to).map_err(|errno| SysError::on("rename", from, errno))?;
    sync_parent(to)
}

/// Gives a file a second name, which must be free.
pub fn link_file(from: &Path, to: &Path) -> Result<()> {
    rustix::fs::link(from, to).map_err(|errno| SysError::on("give a second name to", from, errno))?;
    sync_parent(to)
}

/// Removes a file. That it is gone already is no error.
pub fn remove_file(path: &Path) -> Result<()> {
    remove(path, AtFlags::empty(), "remove")
}

/// The blocks of a file, which outlive its last name for as long as this does.
#[derive(Debug)]
pub struct Blocks(Option<OwnedFd>);

/// Keeps the blocks of a file that is about to be removed: where it can't be opened, they go with it.
pub fn keep_blocks(path: &Path) -> Blocks {
    Blocks(open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok())
}

impl Blocks {
    /// Gives them back, in a thread of its own: it takes time for each GiB where the filesystem tells its
    /// disk. A crash gives them back too. The filesystem can't be unmounted before it is done.
    pub fn give_back(self) {
        // Where there is no thread to be had, they are given back here.
        let _ = std::thread::Builder::new().name("blocks".to_owned()).spawn(move || drop(self.0));
    }
}

/// Removes an empty directory. That it is gone already is no error.
///
/// # Errors
/// ENOTEMPTY where something is in it, EBUSY where something is mounted on it.
pub fn remove_dir(path: &Path) -> Result<()> {
    remove(path, AtFlags::REMOVEDIR, "remove the directory")
}

fn remove(path: &Path, flags: AtFlags, operation: &'static str) -> Result<()> {
    match unlinkat(CWD, path, flags) {
        Ok(()) => sync_parent(path),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(SysError::on(operation, path, errno)),
    }
}

/// Flushes a directory: the names in it are then durable.
pub fn sync_directory(path: &Path) -> Result<()> {
    flush(&open_directory(path)?, path)
}

/// Flushes everything of the filesystem that `path` is on.
pub fn sync_filesystem(path: &Path) -> Result<()> {
    let directory = open_directory(path)?;
    rustix::fs::syncfs(&directory).map_err(|errno| SysError::on("flush the filesystem of", path, errno))
}

fn sync_parent(path: &Path) -> Result<()> {
    let (directory, _) = split(path)?;
    sync_directory(&directory)
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).map_err(|errno| SysError::on("open the directory", path, errno))
}

fn flush(directory: &OwnedFd, path: &Path) -> Result<()> {
    fsync(directory).map_err(|errno| SysError::on("flush the directory", path, errno))
}

fn split(path: &Path) -> Result<(PathBuf, &OsStr)> {
    let name = path.file_name().ok_or_else(|| SysError::Invalid {
        what: "a path",
        detail: format!("{} has no last name", path.display()),
    })?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    Ok((directory, name))
}

/// A lock that one process has, until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

impl FileLock {
    /// The locked file, which also holds the process id of its holder.
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// Takes an exclusive lock on a file (created with mode 0600 if missing), without waiting.
///
/// The file is never removed: a lock on an unlinked file would exclude nobody. A child process does
/// not inherit it.
///
/// # Errors
/// [`SysError::Busy`] with the process that has it.
pub fn lock_exclusive(path: &Path) -> Result<FileLock> {
    lock_as(path, "")
}

/// The same, and says to those who are refused who has it: one line, such as a host's name. For a file
/// that other hosts may see too, where a process id alone means nothing.
///
/// On a filesystem that is read-only a file that is there already is locked.
pub fn lock_exclusive_as(path: &Path, who: &str) -> Result<FileLock> {
    lock_as(path, who)
}

fn lock_as(path: &Path, who: &str) -> Result<FileLock> {
    // NONBLOCK: whoever made the directory may have put a FIFO there.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    // A lock of NFS needs a file that is open for writing.
    let opened = match open(path, flags | OFlags::RDWR | OFlags::CREATE, Mode::RUSR | Mode::WUSR) {
        Err(Errno::ROFS) if !who.is_empty() => open(path, flags | OFlags::RDONLY, Mode::empty()),
        opened => opened,
    };
    let fd = opened.map_err(|errno| SysError::on("open the lock", path, errno))?;
    let mut file = File::from(fd);
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            return Err(SysError::Busy { path: path.to_owned(), detail: describe_holder(&mut file) });
        }
        Err(errno) => return Err(SysError::on("lock", path, errno)),
    }
    // For people and for the refusal above only; the lock itself is the kernel's, also where nothing
    // can be written.
    let said = if who.is_empty() { String::new() } else { format!("{who}\n") };
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}\n{said}", std::process::id()));
    Ok(FileLock { file })
}

fn describe_holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(512).read_to_string(&mut text);
    let mut lines = text.lines().map(str::trim);
    let pid = lines.next().and_then(|line| line.parse::<u32>().ok());
    let who: String = lines.next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    match (read, pid, who.as_str()) {
        (Ok(_), Some(pid), "") => match crate::host::process_name(pid) {
            Some(name) => format!("process {pid} ({name}) has locked it"),
            None => format!("process {pid} has locked it"),
        },
        (Ok(_), Some(pid), who) => format!("process {pid} of {who} has locked it"),
        (Ok(_) | Err(_), Some(_) | None, _) => "another process has locked it".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_nothing_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("volume.json");
        write_file(&path, b"first, longer", 0o600).unwrap();
        write_file(&path, b"second", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(names(dir.path()), ["volume.json"]);
    }

    #[test]
    fn blocks_outlive_the_last_name_until_they_are_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        std::fs::write(&path, vec![7; 1 << 20]).unwrap();
        let blocks = keep_blocks(&path);
        let link = PathBuf::from(format!("/proc/self/fd/{}", blocks.0.as_ref().unwrap().as_raw_fd()));
        remove_file(&path).unwrap();
        assert!(names(dir.path()).is_empty());
        assert_eq!(std::fs::metadata(&link).unwrap().len(), 1 << 20);
        blocks.give_back();
        let gone = || !std::fs::read_link(&link).is_ok_and(|file| file.starts_with(dir.path()));
        crate::testing::wait_until("they are given back", gone);
        keep_blocks(&path).give_back();
    }

    #[test]
    fn what_a_crash_left_of_a_write_stops_no_later_one_and_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("volume.json");
        let draft = draft_of(&path);
        let elsewhere = dir.path().join("elsewhere");
        std::fs::write(&elsewhere, b"old").unwrap();
        for leave in [
            (|draft, _| std::fs::write(draft, b"half of a longer one").unwrap()) as fn(&Path, &Path),
            |draft, elsewhere| std::os::unix::fs::symlink(elsewhere, draft).unwrap(),
        ] {
            leave(&draft, &elsewhere);
            write_file(&path, b"whole", 0o600).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"whole");
            assert_eq!(names(dir.path()), ["elsewhere", "volume.json"]);
        }
        assert_eq!(std::fs::read(&elsewhere).unwrap(), b"old");
    }

    #[test]
    fn a_writer_that_is_killed_again_and_again_leaves_one_draft_at_most() {
        if let Ok(path) = std::env::var("ORLOP_TEST_MARK") {
            loop {
                write_file(Path::new(&path), &[b'x'; 4096], 0o600).unwrap();
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("volume.json");
        let test = "durable::tests::a_writer_that_is_killed_again_and_again_leaves_one_draft_at_most";
        for _ in 0..20 {
            let mut writer =
                crate::testing::child_test(&[], test).env("ORLOP_TEST_MARK", &path).spawn().unwrap();
            crate::testing::wait_until("it writes", || path.exists());
            writer.kill().unwrap();
            writer.wait().unwrap();
            let left: Vec<_> = names(dir.path()).into_iter().filter(|name| name != "volume.json").collect();
            assert!(left.is_empty() || left == [".volume.json.new"], "{left:?}");
            std::fs::remove_file(&path).unwrap();
        }
        write_file(&path, b"whole", 0o600).unwrap();
        assert_eq!(names(dir.path()), ["volume.json"]);
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_file_and_no_rest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        std::fs::create_dir(&path).unwrap();
        assert!(write_file(&path, b"x", 0o600).is_err());
        assert_eq!(names(dir.path()), ["taken"]);
    }

    #[test]
    fn renaming_never_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, b"a").unwrap();
        std::fs::write(&b, b"b").unwrap();
        assert!(rename_noreplace(&a, &b).unwrap_err().already_exists());
        assert_eq!(std::fs::read(&b).unwrap(), b"b");
        remove_file(&b).unwrap();
        remove_file(&b).unwrap();
        rename_noreplace(&a, &b).unwrap();
        assert_eq!(names(dir.path()), ["b"]);
    }

    #[test]
    fn directories_are_made_and_only_removed_empty() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        create_dir_all(&deep, 0o700).unwrap();
        create_dir_all(&deep, 0o700).unwrap();
        assert!(create_dir(&deep, 0o700).unwrap_err().already_exists());
        let middle = dir.path().join("a");
        assert_eq!(remove_dir(&middle).unwrap_err().errno(), Some(Errno::NOTEMPTY));
        std::fs::write(dir.path().join("file"), b"").unwrap();
        assert!(create_dir_all(&dir.path().join("file"), 0o700).is_err());
        remove_dir(&deep).unwrap();
        remove_dir(&deep).unwrap();
    }

    #[test]
    fn a_lock_excludes_others_and_names_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = lock_exclusive(&path).unwrap();
        let error = lock_exclusive(&path).unwrap_err();
        assert!(error.is_busy());
        let text = error.to_string();
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        drop(held);
        assert!(lock_exclusive(&path).is_ok());
    }

    #[test]
    fn a_lock_says_who_has_it_where_a_process_id_is_not_enough() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = lock_exclusive_as(&path, "node b, in\u{7} /state").unwrap();
        let text = lock_exclusive_as(&path, "node c").unwrap_err().to_string();
        let wanted = format!("process {} of node b, in /state has locked it", std::process::id());
        assert!(text.contains(&wanted), "{text}");
        drop(held);
        // What somebody else wrote there is no process.
        std::fs::write(&path, "x\0y").unwrap();
        let file = File::open(&path).unwrap();
        flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        let text = lock_exclusive_as(&path, "node c").unwrap_err().to_string();
        assert!(text.contains("another process has locked it"), "{text}");
    }

    #[test]
    fn what_can_not_be_written_is_locked_all_the_same() {
        if !crate::testing::may_mount() {
            return;
        }
        let scratch = crate::testing::Scratch::new();
        let mounted = scratch.directory("mounted");
        std::fs::write(mounted.join("lock"), "").unwrap();
        let run = |args: &[&str]| {
            let done = std::process::Command::new("mount").args(args).arg(&mounted).status().unwrap();
            assert!(done.success(), "{args:?}");
        };
        run(&["--bind", mounted.to_str().unwrap()]);
        run(&["-o", "remount,bind,ro"]);
        let locked = lock_exclusive_as(&mounted.join("lock"), "a");
        let again = lock_exclusive_as(&mounted.join("lock"), "b");
        let missing = lock_exclusive_as(&mounted.join("other"), "a");
        assert!(again.unwrap_err().is_busy());
        drop(locked.unwrap());
        assert!(missing.unwrap_err().is_not_found());
    }
}
