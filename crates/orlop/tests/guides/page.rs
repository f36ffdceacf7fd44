//! A page of `docs`: its blocks, and doing what it says.

use std::{fs, path::Path, process::Command};

use orlop_testkit::OrlopDaemon;

/// A page.
pub(crate) struct Page {
    name: &'static str,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn read(name: &'static str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
        Self { name, text: fs::read_to_string(path).unwrap() }
    }

    /// The blocks of a language, in order.
    pub(crate) fn blocks(&self, language: &str) -> Vec<String> {
        let (begin, mut found, mut inside) = (format!("```{language}"), Vec::new(), None);
        for line in self.text.lines() {
            match line {
                "```" => found.extend(inside.take()),
                line if line == begin => inside = Some(String::new()),
                line => {
                    if let Some(block) = &mut inside {
                        *block = format!("{block}{line}\n");
                    }
                }
            }
        }
        found
    }

    /// Runs all its shell commands, in a directory of their own.
    #[track_caller]
    pub(crate) fn follow(&self, daemon: &OrlopDaemon) {
        let (page, commands) = (self.name, self.blocks("sh").concat());
        assert!(commands.lines().count() > 3, "{page} shows no commands");
        let binary = orlop_testkit::daemon::binary();
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", binary.parent().unwrap().display());
        let done = Command::new("sh")
            .args(["-exc", &commands])
            .env_clear()
            .env("PATH", path)
            .env("ORLOP_SOCKET", daemon.socket())
            .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
            .env("CONTAINER_HOST", "unix:///nonexistent/podman.sock")
            .current_dir(daemon.scratch().path())
            .output()
            .unwrap();
        let said = [done.stdout, done.stderr].concat();
        assert!(done.status.success(), "{page}: {}", String::from_utf8_lossy(&said));
    }
}
