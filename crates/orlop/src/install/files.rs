//! What an installation consists of: paths and texts. Nothing is written here.

use std::path::Path;

use clap_complete::Shell;
use orlop_daemon::{Config, Unit};
use orlop_model::{Error, ErrorKind, Result};

use crate::{engines::DRIVER, generated};

/// Where the daemon's sockets are when nothing else is said.
const RUN_DIR: &str = Config::RUN_DIR;

/// What the kernel takes as the path of a socket, without its final zero.
const MAX_SOCKET: usize = 107;

/// A file of the installation.
pub(super) struct Wanted {
    /// Absolute, below the root of the installation.
    pub(super) path: String,
    pub(super) text: Vec<u8>,
}

/// All files, for a daemon whose sockets are in `run_dir` and whose service runs `program`.
pub(super) fn wanted(run_dir: &Path, program: &Path) -> Result<Vec<Wanted>> {
    let run_dir = named(run_dir, "the directory of the sockets")?;
    if run_dir.len() + "/docker.sock".len() > MAX_SOCKET {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("{run_dir} is too long: a socket's path has at most {MAX_SOCKET} bytes"),
        )
        .object("--run-dir")
        .hint("choose a shorter one"));
    }
    let program = named(program, "the program")?;
    let mut files = Vec::new();
    let mut add = |path: String, text: Vec<u8>| files.push(Wanted { path, text });
    // Docker looks here whenever it meets an unknown driver: no restart is needed.
    add(format!("/etc/docker/plugins/{DRIVER}.spec"), format!("unix://{run_dir}/docker.sock\n").into());
    add(
        format!("/etc/containers/containers.conf.d/{DRIVER}.conf"),
        format!(
            "# Written by `orlop install`.\n[engine.volume_plugins]\n{DRIVER} = \"{run_dir}/podman.sock\"\n"
        )
        .into(),
    );
    for unit in orlop_daemon::units() {
        add(format!("/etc/systemd/system/{}", unit.name), self::unit(&unit, &run_dir, &program).into());
    }
    add(
        "/etc/sysusers.d/orlop.conf".to_owned(),
        "# Written by `orlop install`: who may talk to the daemon.\ng orlop -\n".into(),
    );
    let completions = [
        (Shell::Bash, "/usr/local/share/bash-completion/completions/orlop"),
        (Shell::Zsh, "/usr/local/share/zsh/site-functions/_orlop"),
        (Shell::Fish, "/usr/local/share/fish/vendor_completions.d/orlop.fish"),
    ];
    for (shell, path) in completions {
        add(path.to_owned(), generated::completion(shell));
    }
    for page in generated::man_pages()? {
        add(format!("/usr/local/share/man/man1/{}", page.name), page.text);
    }
    Ok(files)
}

/// A path as units and the configurations of engines can name it, who all quote differently.
fn named(path: &Path, what: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    match path.to_str() {
        Some(text) if path.is_absolute() && text.chars().all(plain) => Ok(text.to_owned()),
        _ => Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("{what} can't be named in units: {}", path.display()),
        )
        .hint("it is an absolute path of ASCII letters, digits and / . _ - + @")),
    }
}

/// The unit for this program and these sockets.
fn unit(unit: &Unit, run_dir: &str, program: &str) -> String {
    let mut start = format!("ExecStart={program} serve");
    if run_dir != RUN_DIR {
        start.push_str(&format!(" --run-dir {run_dir}"));
    }
    unit.text
        .replace(&format!("ExecStart={} serve", Unit::PROGRAM), &start)
        .replace(&format!("ListenStream={RUN_DIR}/"), &format!("ListenStream={run_dir}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(files: &[Wanted], path: &str) -> String {
        let file = files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("no {path}"));
        String::from_utf8(file.text.clone()).unwrap()
    }

    #[test]
    fn engines_and_units_name_the_same_sockets() {
        for run_dir in [RUN_DIR, "/srv/orlop/run"] {
            let files = wanted(Path::new(run_dir), Path::new("/opt/orlop")).unwrap();
            assert_eq!(
                text(&files, "/etc/docker/plugins/orlop.spec").trim(),
                format!("unix://{run_dir}/docker.sock")
            );
            assert!(
                text(&files, "/etc/containers/containers.conf.d/orlop.conf")
                    .ends_with(&format!("[engine.volume_plugins]\norlop = \"{run_dir}/podman.sock\"\n"))
            );
            for (unit, socket) in [
                ("orlop.socket", "orlop.sock"),
                ("orlop-docker.socket", "docker.sock"),
                ("orlop-podman.socket", "podman.sock"),
            ] {
                let unit = text(&files, &format!("/etc/systemd/system/{unit}"));
                assert!(unit.contains(&format!("\nListenStream={run_dir}/{socket}\n")), "{unit}");
            }
        }
        let files = wanted(Path::new(RUN_DIR), Path::new("/opt/orlop")).unwrap();
        assert!(text(&files, "/etc/systemd/system/orlop.service").contains("\nExecStart=/opt/orlop serve\n"));
        let files = wanted(Path::new("/srv/run"), Path::new("/opt/orlop")).unwrap();
        let service = text(&files, "/etc/systemd/system/orlop.service");
        assert!(service.contains("\nExecStart=/opt/orlop serve --run-dir /srv/run\n"), "{service}");
    }

    #[test]
    fn paths_that_units_would_read_differently_are_refused() {
        let long = format!("/{}", "a".repeat(100));
        for run_dir in ["run/orlop", "/run/or lop", "/run/%n", "/run/\"a", "/run/ä", &long] {
            let error = wanted(Path::new(run_dir), Path::new("/opt/orlop")).err().unwrap();
            assert_eq!(error.kind, ErrorKind::InvalidArgument, "{run_dir}");
        }
        assert!(wanted(Path::new(RUN_DIR), Path::new("/opt/my tools/orlop")).is_err());
    }
}
