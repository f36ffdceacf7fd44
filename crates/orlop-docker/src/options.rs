//! The options of `docker volume create -o key=value`, as the manifest's own fields. Whether they
//! agree with each other and with what exists is the engine's to say.

use std::{collections::BTreeMap, str::FromStr};

use orlop_engine::AliasedManifest;
use orlop_model::{
    Error, ErrorKind, MountOption, Result, WorkspaceName, error::expected, spec::DirectoryMode,
};

/// Every option there is, spelled as in the manifest.
pub(crate) const NAMES: [&str; 12] = [
    "size",
    "type",
    "accessMode",
    "workspace",
    "pool",
    "filesystem",
    "uid",
    "gid",
    "mode",
    "mountOptions",
    "preallocate",
    "tempGracePeriod",
];

/// What the options ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The volume's workspace; `public` where none is named.
    pub workspace: WorkspaceName,
    /// The rest.
    pub manifest: AliasedManifest,
}

/// Reads the options; the first fault is the error, in the order of their names.
pub(crate) fn parse(options: &BTreeMap<String, String>) -> Result<Options> {
    let mut workspace = None;
    let mut manifest = AliasedManifest::default();
    for (option, text) in options {
        if text.is_empty() && NAMES.contains(&option.as_str()) {
            return Err(invalid(option, format!("the option {option} has no value"))
                .hint(format!("write -o {option}=VALUE")));
        }
        match option.as_str() {
            "size" => manifest.size = Some(value(option, text)?),
            "type" => manifest.volume_type = Some(value(option, text)?),
            "accessMode" => manifest.access_mode = Some(value(option, text)?),
            "workspace" => workspace = Some(value(option, text)?),
            "pool" => manifest.pool = Some(value(option, text)?),
            "filesystem" => manifest.filesystem = Some(value(option, text)?),
            "uid" => manifest.uid = Some(id(option, text)?),
            "gid" => manifest.gid = Some(id(option, text)?),
            "mode" => manifest.mode = Some(mode(option, text)?),
            "mountOptions" => manifest.mount_options = Some(mount_options(option, text)?),
            "tempGracePeriod" => manifest.temp_grace_period = Some(value(option, text)?),
            "preallocate" => manifest.preallocate = Some(boolean(option, text)?),
            _ => return Err(unknown(option)),
        }
    }
    Ok(Options { workspace: workspace.unwrap_or_else(WorkspaceName::public), manifest })
}

fn invalid(option: &str, message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message).object(format!("option {option}"))
}

fn unknown(option: &str) -> Error {
    let shown: String = option.chars().take(64).flat_map(char::escape_debug).collect();
    let error = invalid(&shown, format!("there is no option {shown}"));
    // Docker's own spelling of options for `local` volumes is the commonest mistake.
    match option {
        "o" | "device" => error.hint(format!("that one is for driver local; {}", expected(option, &NAMES))),
        _ => error.hint(expected(option, &NAMES)),
    }
}

fn value<T: FromStr<Err = Error>>(option: &str, text: &str) -> Result<T> {
    text.parse().map_err(|error: Error| error.object(format!("option {option}")))
}

/// A user or group id. The highest number means "no change" to the kernel and is no id.
fn id(option: &str, text: &str) -> Result<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX).ok_or_else(|| {
        invalid(option, format!("the {option} {text:?} is no number from 0 to {}", u32::MAX - 1))
            .hint(format!("give the number that the container runs as, such as {option}=1000"))
    })
}

fn boolean(option: &str, text: &str) -> Result<bool> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid(option, format!("the option {option} is {text:?}"))
            .hint(expected(text, &["true", "false"]))),
    }
}

/// Permissions, of four digits only: an unquoted 0770 of a Compose file arrives here as the number 504,
/// which would be a mode too.
fn mode(option: &str, text: &str) -> Result<DirectoryMode> {
    if text.len() < 4 {
        return Err(invalid(option, format!("the mode {text:?} has not four digits")).hint(
            "write it as 0770, in a Compose file in quotes: unquoted, YAML makes another number of it",
        ));
    }
    value(option, text)
}

fn mount_options(option: &str, text: &str) -> Result<Vec<MountOption>> {
    let mut options = Vec::new();
    for word in text.split(',') {
        let word: MountOption = value(option, word)?;
        if !options.contains(&word) {
            options.push(word);
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use orlop_model::{AccessMode, FilesystemChoice, VolumeType};

    use super::*;

    fn read(options: &[(&str, &str)]) -> Result<Options> {
        parse(&options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn every_option_reaches_its_field() {
        let options = read(&[
            ("size", "2Gi"),
            ("type", "temp"),
            ("accessMode", "ReadWriteMany"),
            ("workspace", "analytics"),
            ("pool", "fast"),
            ("filesystem", "xfs"),
            ("uid", "1000"),
            ("gid", "0"),
            ("mode", "2775"),
            ("mountOptions", "noatime,noexec,noatime"),
            ("preallocate", "true"),
            ("tempGracePeriod", "1h"),
        ])
        .unwrap();
        let manifest = options.manifest;
        assert_eq!(options.workspace.as_str(), "analytics");
        assert_eq!(manifest.size.unwrap().bytes(), 2 << 30);
        assert_eq!(manifest.volume_type, Some(VolumeType::Temp));
        assert_eq!(manifest.access_mode, Some(AccessMode::ReadWriteMany));
        assert_eq!(manifest.pool.unwrap().as_str(), "fast");
        assert_eq!(manifest.filesystem, Some(FilesystemChoice::Xfs));
        assert_eq!((manifest.uid, manifest.gid), (Some(1000), Some(0)));
        assert_eq!(manifest.mode.unwrap().bits(), 0o2775);
        assert_eq!(manifest.mount_options, Some(vec![MountOption::Noatime, MountOption::Noexec]));
        assert_eq!(manifest.preallocate, Some(true));
        assert_eq!(manifest.temp_grace_period.unwrap().to_string(), "1h");
    }

    #[test]
    fn what_is_not_said_is_left_open() {
        let options = read(&[]).unwrap();
        assert_eq!(options.workspace, WorkspaceName::public());
        assert_eq!(options.manifest.size, None);
        assert_eq!(options.manifest.mount_options, None);
    }

    #[test]
    fn faults() {
        let text = |options: &[(&str, &str)]| crate::error::line(&read(options).unwrap_err());
        insta::assert_snapshot!(
            [
                text(&[("accessmode", "ReadWriteMany")]),
                text(&[("Size", "1Gi")]),
                text(&[("nonsense", "1")]),
                text(&[("o", "size=1g")]),
                text(&[("size", "1gi")]),
                text(&[("size", "-1Gi")]),
                text(&[("size", "")]),
                text(&[("type", "temporary")]),
                text(&[("accessMode", "RWX")]),
                text(&[("accessMode", "readwritemany")]),
                text(&[("filesystem", "btrfs")]),
                text(&[("pool", "Fast")]),
                text(&[("workspace", "a.b")]),
                text(&[("uid", "-1")]),
                text(&[("gid", "4294967295")]),
                text(&[("mode", "rwx")]),
                text(&[("mode", "504")]),
                text(&[("mode", "0980")]),
                text(&[("mountOptions", "noatime,suid")]),
                text(&[("mountOptions", "noatime,")]),
                text(&[("preallocate", "yes")]),
                text(&[("tempGracePeriod", "10")]),
                text(&[("a\nb", "1")]),
            ]
            .join("\n"),
        );
    }
}
