//! `orlop install` and `--uninstall`: carries out a plan on the filesystem and says what to do next.
//! What is written lives in `files`, what may be overwritten or removed in `plan`.

mod files;
mod plan;
mod receipt;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use orlop_model::{Error, ErrorKind, Result};

use crate::{exit::Exit, grammar::administration::InstallArgs, output::Console};
use plan::{Action, Found};
use receipt::Receipt;

/// `orlop install`.
pub(crate) fn run(args: &InstallArgs, console: &mut Console) -> Result<Exit> {
    let receipt = Receipt::load(&args.root)?;
    let look = |path: &str| found(&place(&args.root, path));
    if args.uninstall {
        let Some(receipt) = receipt else {
            console.note("nothing to take away: install has written nothing here");
            return Ok(Exit::Success);
        };
        let steps = plan::uninstall(&receipt, args.force, look)?;
        return uninstall(args, &receipt, &steps, console);
    }
    let wanted = files::wanted(&args.run_dir, &program(&args.root)?)?;
    let steps = plan::install(wanted, receipt.as_ref(), args.force, look)?;
    install(args, receipt.unwrap_or_default(), steps, console)
}

fn install(
    args: &InstallArgs,
    mut receipt: Receipt,
    steps: Vec<plan::Step>,
    console: &mut Console,
) -> Result<Exit> {
    let mut kept = 0;
    for step in &steps {
        let target = place(&args.root, &step.path);
        let word = match (&step.action, args.dry_run) {
            (Action::Write(_), true) => "would write",
            (Action::Write(_), false) => "wrote",
            (Action::Keep, _) => {
                kept += 1;
                continue;
            }
            (Action::Remove, true) => "would remove",
            (Action::Remove, false) => "removed",
            (Action::Leave, _) => "left, changed by hand:",
        };
        if !args.dry_run {
            match &step.action {
                Action::Write(text) => {
                    receipt.directories.extend(make_directories(&args.root, &step.path)?);
                    write(&target, text)?;
                }
                Action::Remove => remove(&target)?,
                Action::Keep | Action::Leave => {}
            }
        }
        console.print(format!("{word} {}", target.display()));
    }
    if kept > 0 {
        console.print(format!("unchanged: {kept} of {} files", steps.len()));
    }
    if args.dry_run {
        return Ok(Exit::Success);
    }
    receipt.files = plan::installed(&steps);
    let path = place(&args.root, Receipt::PATH);
    receipt.directories.extend(make_directories(&args.root, Receipt::PATH)?);
    receipt.directories.sort();
    receipt.directories.dedup();
    write(&path, receipt.text()?.as_bytes())?;
    console.print(
        "\nNext:\n  systemctl enable --now orlop.service\n  orlop status\n\n\
         After an upgrade:\n  systemctl daemon-reload && systemctl restart orlop.service\n\n\
         Docker and Podman find the plugin without a restart:\n  orlop apply -f volume.yaml\n  docker run --rm -v NAME:/data alpine df -h /data",
    );
    Ok(Exit::Success)
}

fn uninstall(
    args: &InstallArgs,
    receipt: &Receipt,
    steps: &[plan::Step],
    console: &mut Console,
) -> Result<Exit> {
    let mut left = Vec::new();
    for step in steps {
        let target = place(&args.root, &step.path);
        match step.action {
            Action::Remove if args.dry_run => console.print(format!("would remove {}", target.display())),
            Action::Remove => {
                remove(&target)?;
                console.print(format!("removed {}", target.display()));
            }
            Action::Leave => {
                left.push(step.path.clone());
                console.print(format!("left, changed by hand: {}", target.display()));
            }
            Action::Keep | Action::Write(_) => {}
        }
    }
    if args.dry_run {
        return Ok(Exit::Success);
    }
    if left.is_empty() {
        remove(&place(&args.root, Receipt::PATH))?;
    } else {
        let kept: Vec<_> = receipt.files.iter().filter(|file| left.contains(&file.path)).cloned().collect();
        let receipt = Receipt { files: kept, directories: receipt.directories.clone() };
        write(&place(&args.root, Receipt::PATH), receipt.text()?.as_bytes())?;
    }
    for link in enabled(&args.root) {
        remove(&link)?;
        console.print(format!("removed {}", link.display()));
    }
    // Deepest first; one that holds anything of others stays.
    for directory in receipt.directories.iter().rev() {
        let _ = fs::remove_dir(place(&args.root, directory));
    }
    console.print(
        "\nVolumes and their data stay, and so do the mounts that containers use.\n\nNext:\n  systemctl daemon-reload\n  systemctl stop orlop.socket orlop-docker.socket orlop-podman.socket orlop.service",
    );
    Ok(Exit::Success)
}

/// The links by which the units are enabled. `systemctl disable` finds nothing to do without the units.
fn enabled(root: &Path) -> Vec<PathBuf> {
    let wants = ["multi-user.target.wants", "sockets.target.wants"];
    let unit = |dir: &str, name: &str| place(root, &format!("/etc/systemd/system/{dir}/{name}"));
    let links = orlop_daemon::units().into_iter().flat_map(|known| wants.map(|dir| unit(dir, known.name)));
    links.filter(|link| fs::read_link(link).is_ok()).collect()
}

/// The program that the service is to run: this one; for an image or a package its usual place.
fn program(root: &Path) -> Result<PathBuf> {
    if root != Path::new("/") {
        return Ok(orlop_daemon::Unit::PROGRAM.into());
    }
    std::env::current_exe()
        .map_err(|fault| Error::new(ErrorKind::Host, format!("can't tell where this program is: {fault}")))
}

/// Where a path of the installation is, below the root.
fn place(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn found(path: &Path) -> Result<Found> {
    match fs::read(path) {
        Ok(text) => Ok(Found::Text(text)),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(fault) => Err(failed("read", path, &fault)),
    }
}

/// Makes the directories above a file; those that were missing are returned, the upper ones first.
fn make_directories(root: &Path, path: &str) -> Result<Vec<String>> {
    let mut made = Vec::new();
    let above: Vec<&Path> = Path::new(path).ancestors().skip(1).collect();
    for directory in above.into_iter().rev().filter(|directory| directory.components().count() > 1) {
        let target = place(root, &directory.to_string_lossy());
        match fs::create_dir(&target) {
            Ok(()) => made.push(directory.to_string_lossy().into_owned()),
            Err(fault) if fault.kind() == io::ErrorKind::AlreadyExists => {}
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&target).map_err(|fault| failed("make", &target, &fault))?;
            }
            Err(fault) => return Err(failed("make", &target, &fault)),
        }
    }
    Ok(made)
}

/// Replaces the file in one step, so that Docker or systemd never reads half of it.
fn write(path: &Path, text: &[u8]) -> Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".orlop-new");
    let draft = PathBuf::from(draft);
    fs::write(&draft, text)
        .and_then(|()| fs::rename(&draft, path))
        .map_err(|fault| failed("write", path, &fault))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, &fault)),
        _ => Ok(()),
    }
}

fn failed(what: &str, path: &Path, fault: &io::Error) -> Error {
    let message = format!("can't {what} {}: {fault}", path.display());
    match fault.kind() {
        io::ErrorKind::PermissionDenied => {
            Error::new(ErrorKind::PermissionDenied, message).hint("run it as root, or with --root DIR")
        }
        _ => Error::new(ErrorKind::Host, message).hint("what was done so far is done again by the next run"),
    }
}
