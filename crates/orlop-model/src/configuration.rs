//! The daemon's configuration file: text → what it says, and diagnostics as for a manifest. Which
//! defaults hold where it says nothing, and where the file is, is the daemon's.

use std::{path::PathBuf, time::Duration};

use crate::{
    Error, ErrorKind, Period, Result, Size,
    manifest::{
        Appearance, Diagnostic, Source,
        diagnostic::Faults,
        fields::{Fields, unknown_key},
        reader, render,
        tree::{Entry, Kind},
    },
    notify::{self, Notify},
    period,
};

/// The keys of the file.
pub const KEYS: [&str; 26] = [
    "stateDir",
    "runDir",
    "mountDir",
    "group",
    "logFormat",
    "log",
    "defaultSize",
    "lowWater",
    "blanks",
    "staleAfter",
    "recoveryParallelism",
    "eventsKept",
    "observeEvery",
    "notify",
    "drain",
    "tempGracePeriod",
    "releasedRetention",
    "releasedWarnPercent",
    "beforeSnapshot",
    "afterSnapshot",
    "snapshotHookTimeout",
    "snapshotHookFailure",
    "csiEndpoint",
    "csiExpandOnNode",
    "nodeId",
    "kubeletRoot",
];

/// What a configuration file says; `None` where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    /// The directory of the store and of the pool `default`.
    pub state_dir: Option<PathBuf>,
    /// The directory of the sockets.
    pub run_dir: Option<PathBuf>,
    /// The directory below which volumes are mounted.
    pub mount_dir: Option<PathBuf>,
    /// The group whose members may open the REST socket.
    pub group: Option<String>,
    /// `auto`, `text` or `json`; the daemon checks it.
    pub log_format: Option<String>,
    /// A log level, or levels by target; the daemon checks it.
    pub log: Option<String>,
    /// The size of a volume that a container engine makes without saying one.
    pub default_size: Option<Size>,
    /// What admission leaves free in a host's filesystem.
    pub low_water: Option<Size>,
    /// How many prepared blanks are kept per filesystem and size; at most 64.
    pub blanks: Option<u32>,
    /// After how long an attachment that nothing backs is stale.
    pub stale_after: Option<Duration>,
    /// How many volumes are recovered at once at start; 1 to 64.
    pub recovery_parallelism: Option<u32>,
    /// How many events are kept; at least 1000.
    pub events_kept: Option<u32>,
    /// How often it is looked at how full volumes and pools are.
    pub observe_every: Option<Duration>,
    /// Who is told of events.
    pub notify: Vec<Notify>,
    /// How long work that was begun may take after the daemon was told to stop.
    pub drain: Option<Duration>,
    /// The `tempGracePeriod` of temp volumes whose manifest says none.
    pub temp_grace_period: Option<Period>,
    /// How long the data of deleted volumes is kept before it is purged.
    pub released_retention: Option<Period>,
    /// A warning is due when released data is more than this share of a pool, in percent; 0 never warns.
    pub released_warn_percent: Option<u32>,
    /// The program, with its arguments, that is run before each snapshot.
    pub before_snapshot: Option<Vec<String>>,
    /// The same after each.
    pub after_snapshot: Option<Vec<String>>,
    /// How long each of the two may take.
    pub snapshot_hook_timeout: Option<Duration>,
    /// What becomes of a snapshot when the one before it fails.
    pub snapshot_hook_failure: Option<HookFailure>,
    /// Where an orchestrator is served, as `unix:///absolute/path`; the daemon checks it.
    pub csi_endpoint: Option<String>,
    /// Whether growing a volume is left to the call on its node.
    pub csi_expand_on_node: Option<bool>,
    /// The name of this node; the daemon checks it.
    pub node_id: Option<String>,
    /// The directory below which an orchestrator wants volumes.
    pub kubelet_root: Option<PathBuf>,
}

/// What becomes of a snapshot when the command before it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookFailure {
    /// It is not made.
    Refuse,
    /// It is made all the same.
    GoOn,
}

impl std::str::FromStr for HookFailure {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "goOn" => Ok(Self::GoOn),
            _ => Err(Error::new(ErrorKind::InvalidArgument, format!("{text:?} says not what becomes of it"))
                .hint("write refuse or goOn")),
        }
    }
}

impl Configuration {
    /// Reads the bytes of a file, whose name is for messages. A file without a word is one that
    /// says nothing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] with all faults, their lines and columns in the message.
    pub fn read(name: &str, bytes: Vec<u8>) -> Result<Self> {
        let (configuration, faults) = Self::parse(name, bytes);
        if faults.is_empty() {
            return Ok(configuration);
        }
        let text = render(&faults, Appearance::PLAIN);
        let message = format!("the configuration {name} has faults\n{}", text.trim_end());
        Err(Error::new(ErrorKind::InvalidArgument, message).object(format!("configuration {name}")))
    }

    fn parse(name: &str, bytes: Vec<u8>) -> (Self, Vec<Diagnostic>) {
        let mut configuration = Self::default();
        let source = match Source::new(name, bytes) {
            Ok(source) => source,
            Err(fault) => return (configuration, vec![fault]),
        };
        let mut faults = Faults::default();
        let roots = reader::documents(&source, &mut faults);
        let mut fields = Fields { source: &source, faults: &mut faults };
        for (position, root) in roots.iter().enumerate() {
            fields.no_tags(&root.node);
            match &root.node.kind {
                _ if position > 0 => {
                    let fault = Diagnostic::error("second-document", "a configuration is one document")
                        .help("remove the `---` and what is behind it");
                    fields.fault(fault, root.node.span, "a second one");
                }
                Kind::Mapping(entries) => configuration.take(&mut fields, entries),
                Kind::Scalar(_) | Kind::List(_) => {
                    fields.wrong_kind("the configuration", "a mapping of keys to values", &root.node);
                }
            }
        }
        (configuration, faults.into_diagnostics(&source))
    }

    fn take(&mut self, fields: &mut Fields<'_>, entries: &[Entry]) {
        for entry in entries {
            match &*entry.key.text {
                key if KEYS.contains(&key) && entry.is_null() => {}
                "stateDir" => self.state_dir = path(fields, entry),
                "runDir" => self.run_dir = path(fields, entry),
                "mountDir" => self.mount_dir = path(fields, entry),
                "group" => self.group = fields.text(entry, "a group").map(str::to_owned),
                "logFormat" => self.log_format = fields.text(entry, "a log format").map(str::to_owned),
                "log" => self.log = fields.text(entry, "a log level").map(str::to_owned),
                "defaultSize" => self.default_size = default_size(fields, entry),
                "lowWater" => self.low_water = fields.size(entry),
                "blanks" => self.blanks = number(fields, entry, 0, 64),
                "staleAfter" => self.stale_after = duration(fields, entry, 1),
                "recoveryParallelism" => self.recovery_parallelism = number(fields, entry, 1, 64),
                "eventsKept" => self.events_kept = number(fields, entry, 1000, 10_000_000),
                "observeEvery" => self.observe_every = duration(fields, entry, 1),
                "notify" => self.notify = notify::read(fields, entry),
                "drain" => self.drain = duration(fields, entry, 0),
                "tempGracePeriod" => self.temp_grace_period = fields.period(entry),
                "releasedRetention" => self.released_retention = fields.period(entry),
                "releasedWarnPercent" => self.released_warn_percent = number(fields, entry, 0, 100),
                "beforeSnapshot" => self.before_snapshot = fields.command(entry),
                "afterSnapshot" => self.after_snapshot = fields.command(entry),
                "snapshotHookTimeout" => self.snapshot_hook_timeout = duration(fields, entry, 1),
                "snapshotHookFailure" => {
                    self.snapshot_hook_failure = fields.word(entry, &["refuse", "goOn"]);
                }
                "csiEndpoint" => self.csi_endpoint = fields.text(entry, "an endpoint").map(str::to_owned),
                "csiExpandOnNode" => self.csi_expand_on_node = fields.truth(entry),
                "nodeId" => self.node_id = fields.text(entry, "the name of a node").map(str::to_owned),
                "kubeletRoot" => self.kubelet_root = path(fields, entry),
                key => {
                    let (fault, label) = unknown_key(key, "in the configuration", &KEYS);
                    fields.fault(fault, entry.key.span, label);
                }
            }
        }
    }
}

fn path(fields: &mut Fields<'_>, entry: &Entry) -> Option<PathBuf> {
    let text = fields.text(entry, "an absolute path")?;
    if text.starts_with('/') && !text.contains('\0') {
        return Some(text.into());
    }
    let message = format!("{}: {text:?} is no absolute path", entry.key.text);
    let fault = Diagnostic::error("not-absolute", message).help("begin it with a slash");
    fields.fault(fault, entry.value.span, "expected an absolute path");
    None
}

fn default_size(fields: &mut Fields<'_>, entry: &Entry) -> Option<Size> {
    let size = fields.size(entry)?;
    if size >= Size::LEAST {
        return Some(size);
    }
    let message = format!("{}: a volume has at least {}", entry.key.text, Size::LEAST);
    let fault = Diagnostic::error("size-range", message).help(format!("use {} or more", Size::LEAST));
    fields.fault(fault, entry.value.span, "too small");
    None
}

fn number(fields: &mut Fields<'_>, entry: &Entry, least: u32, most: u32) -> Option<u32> {
    let text = fields.text(entry, "a number")?;
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    if number.is_none() {
        let message = format!("{}: {text:?} is no number from {least} to {most}", entry.key.text);
        let fault = Diagnostic::error("not-a-number", message).help("write a whole number in decimal");
        fields.fault(fault, entry.value.span, "not such a number");
    }
    number
}

/// A time of at most a day. What happens again and again, or is waited for, takes at least a second.
pub(crate) fn duration(fields: &mut Fields<'_>, entry: &Entry, least: u64) -> Option<Duration> {
    const DAY: u64 = 24 * 3600;
    let text = fields.text(entry, "a duration such as 30s")?;
    let seconds = period::seconds(text).filter(|seconds| (least..=DAY).contains(seconds));
    if seconds.is_none() {
        let message = format!("{}: {text:?} is no duration from {least}s to a day", entry.key.text);
        let fault = Diagnostic::error("not-a-duration", message)
            .help("write a whole number with s, m or h, such as 30s or 5m");
        fields.fault(fault, entry.value.span, "not such a duration");
    }
    seconds.map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::NotifyTo;

    fn read(text: &str) -> Result<Configuration> {
        Configuration::read("orlop.yaml", text.into())
    }

    #[test]
    fn every_key_is_read() {
        let text = "stateDir: /a\nrunDir: /b\nmountDir: /c\ngroup: volumes\nlogFormat: json\nlog: debug\n\
            defaultSize: 2Gi\nlowWater: 0\nblanks: 3\nstaleAfter: 1m\nrecoveryParallelism: 8\n\
            eventsKept: 2000\nobserveEvery: 1m\nnotify: [{webhook: http://localhost/a}]\ndrain: 5s\ntempGracePeriod: never\nreleasedRetention: 30d\n\
            releasedWarnPercent: 10\nbeforeSnapshot: [/bin/flush, all]\nafterSnapshot: [/bin/go]\n\
            snapshotHookTimeout: 5s\nsnapshotHookFailure: goOn\ncsiEndpoint: unix:///run/csi.sock\n\
            csiExpandOnNode: true\nnodeId: node-1\nkubeletRoot: /d\n";
        let expected = Configuration {
            state_dir: Some("/a".into()),
            run_dir: Some("/b".into()),
            mount_dir: Some("/c".into()),
            group: Some("volumes".into()),
            log_format: Some("json".into()),
            log: Some("debug".into()),
            default_size: Some(Size::from_bytes(2 << 30)),
            low_water: Some(Size::from_bytes(0)),
            blanks: Some(3),
            stale_after: Some(Duration::from_secs(60)),
            recovery_parallelism: Some(8),
            events_kept: Some(2000),
            observe_every: Some(Duration::from_secs(60)),
            notify: vec![Notify {
                to: NotifyTo::Webhook("http://localhost/a".to_owned()),
                severity: crate::resource::Severity::Warning,
                timeout: Duration::from_secs(10),
            }],
            drain: Some(Duration::from_secs(5)),
            temp_grace_period: Some(Period::Never),
            released_retention: Some(Period::After(30 * 24 * 3600)),
            released_warn_percent: Some(10),
            before_snapshot: Some(vec!["/bin/flush".into(), "all".into()]),
            after_snapshot: Some(vec!["/bin/go".into()]),
            snapshot_hook_timeout: Some(Duration::from_secs(5)),
            snapshot_hook_failure: Some(HookFailure::GoOn),
            csi_endpoint: Some("unix:///run/csi.sock".to_owned()),
            csi_expand_on_node: Some(true),
            node_id: Some("node-1".to_owned()),
            kubelet_root: Some("/d".into()),
        };
        assert_eq!(read(text), Ok(expected));
        assert_eq!(text.lines().count(), KEYS.len());
    }

    #[test]
    fn every_key_is_documented() {
        let page = include_str!("../../../docs/configuration.md");
        let rows: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|(key, _)| key)
            .collect();
        let keys: Vec<&str> = rows.into_iter().filter(|row| !row.starts_with('<')).collect();
        assert_eq!(keys, KEYS);
    }

    #[test]
    fn nothing_said_is_nothing() {
        for text in ["", "# a comment\n", "---\n", "group:\nblanks: ~\n"] {
            assert_eq!(read(text), Ok(Configuration::default()), "{text:?}");
        }
    }

    #[test]
    fn all_faults_are_told_with_their_places() {
        let text = "stateDir: here\nstatDir: /a\nblanks: many\nstaleAfter: 30\ndefaultSize: 1Mi\nlowWater: 1gi\n\
            group: a\ngroup: b\n--- \nlog: x\n";
        let error = read(text).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidArgument);
        for (line, said) in [
            (1, "is no absolute path"),
            (2, "did you mean stateDir?"),
            (3, "is no number from 0 to 64"),
            (4, "is no duration"),
            (5, "at least 16Mi"),
            (6, "did you mean Gi?"),
            (8, "group"),
            (10, "one document"),
        ] {
            let place = format!("orlop.yaml:{line}:");
            assert!(error.message.contains(&place), "{place}\n{}", error.message);
            assert!(error.message.contains(said), "{said}\n{}", error.message);
        }
        // A pause of nothing would be a loop without one.
        for key in ["observeEvery", "staleAfter", "snapshotHookTimeout"] {
            assert!(read(&format!("{key}: 0s\n")).unwrap_err().message.contains("from 1s to a day"), "{key}");
            assert!(
                read(&format!("{key}: 25h\n")).is_err() && read(&format!("{key}: 1s\n")).is_ok(),
                "{key}"
            );
        }
        assert_eq!(read("drain: 0s\n").map(|said| said.drain), Ok(Some(Duration::ZERO)));
        assert!(read("- a\n").unwrap_err().message.contains("expected a mapping"));
        assert!(read("{").is_err());
        assert!(Configuration::read("c", vec![0xff, 0xfe, 0]).is_err());
    }
}
