//! Whom the daemon tells of events: one entry of `notify` in its configuration.

use std::{path::PathBuf, time::Duration};

use crate::{
    configuration::duration,
    manifest::{
        Diagnostic,
        fields::{Fields, unknown_key},
        tree::{Entry, Kind, Node},
    },
    resource::Severity,
};

/// The keys of an entry.
const KEYS: [&str; 4] = ["webhook", "command", "severity", "timeout"];
const SEVERITIES: [&str; 3] = ["info", "warning", "error"];
/// Each has a thread of its own.
const MOST: usize = 8;

/// Somebody who is told of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// Who.
    pub to: NotifyTo,
    /// Only of events that matter at least so much.
    pub severity: Severity,
    /// How long one telling may take.
    pub timeout: Duration,
}

/// How somebody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotifyTo {
    /// By a POST to this `http` URL.
    Webhook(String),
    /// By a command that is run, with the event on its standard input.
    Command {
        /// An absolute path.
        executable: PathBuf,
        /// What it is given.
        arguments: Vec<String>,
    },
}

impl NotifyTo {
    /// One word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Command { .. } => "command",
        }
    }
}

/// Reads the list.
pub(crate) fn read(fields: &mut Fields<'_>, entry: &Entry) -> Vec<Notify> {
    let Kind::List(items) = &entry.value.kind else {
        fields.wrong_kind("notify", "a list", &entry.value);
        return Vec::new();
    };
    if items.len() > MOST {
        let fault = Diagnostic::error("too-many", format!("notify: at most {MOST} can be told"));
        fields.fault(fault.help("tell one that passes it on"), entry.value.span, "too many");
    }
    let mut told: Vec<Notify> = Vec::new();
    for item in items {
        let Some(notify) = one(fields, item) else { continue };
        // How far one was told is kept by who it is.
        if told.iter().any(|known| known.to == notify.to) {
            let fault = Diagnostic::error("twice", "notify: the same one is to be told twice");
            let help = "keep one entry: it is told of its `severity` and of all that is more severe";
            fields.fault(fault.help(help), item.span, "again");
            continue;
        }
        told.push(notify);
    }
    told
}

fn one(fields: &mut Fields<'_>, item: &Node) -> Option<Notify> {
    let Kind::Mapping(entries) = &item.kind else {
        fields.wrong_kind("notify", "a mapping with `webhook` or `command`", item);
        return None;
    };
    let mut found = Vec::new();
    let (mut severity, mut timeout) = (Severity::Warning, Duration::from_secs(10));
    for entry in entries {
        match &*entry.key.text {
            "webhook" => found.push(webhook(fields, entry)),
            "command" => found.push(command(fields, entry)),
            "severity" => severity = level(fields, entry).unwrap_or(severity),
            "timeout" => timeout = duration(fields, entry, 1).unwrap_or(timeout),
            key => {
                let (fault, label) = unknown_key(key, "in notify", &KEYS);
                fields.fault(fault, entry.key.span, label);
            }
        }
    }
    if found.len() != 1 {
        let fault =
            Diagnostic::error("one-of", "notify: an entry has `webhook` or `command`, and one of them");
        fields.fault(fault.help("write an entry for each"), item.span, "who is to be told?");
        return None;
    }
    Some(Notify { to: found.pop()??, severity, timeout })
}

fn webhook(fields: &mut Fields<'_>, entry: &Entry) -> Option<NotifyTo> {
    let text = fields.text(entry, "a URL such as http://127.0.0.1:9000/orlop")?;
    let host = text.strip_prefix("http://").and_then(|rest| rest.split('/').next());
    if host.is_some_and(|host| !host.is_empty())
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
    {
        return Some(NotifyTo::Webhook(text.to_owned()));
    }
    let fault = Diagnostic::error("not-a-url", format!("webhook: {text:?} is no http URL"));
    let help = if text.starts_with("https://") {
        "the daemon speaks no TLS: use `command: [/usr/bin/curl, …]`, or a proxy on this host"
    } else {
        "write it as http://HOST:PORT/PATH"
    };
    fields.fault(fault.help(help), entry.value.span, "expected an http URL");
    None
}

fn command(fields: &mut Fields<'_>, entry: &Entry) -> Option<NotifyTo> {
    let words: Vec<String> = match &entry.value.kind {
        Kind::List(items) => {
            items.iter().map(|item| fields.free_text("command", item)).collect::<Option<_>>()?
        }
        Kind::Scalar(_) => vec![fields.text(entry, "a command")?.to_owned()],
        Kind::Mapping(_) => {
            fields.wrong_kind("command", "a list of words", &entry.value);
            return None;
        }
    };
    match words.split_first() {
        Some((executable, arguments)) if executable.starts_with('/') => {
            Some(NotifyTo::Command { executable: executable.into(), arguments: arguments.to_vec() })
        }
        _ => {
            let fault = Diagnostic::error("not-absolute", "command: its first word is no absolute path");
            let help = "write a list of words, as in [/usr/local/bin/tell, --urgent]; there is no shell";
            fields.fault(fault.help(help), entry.value.span, "expected an absolute path");
            None
        }
    }
}

fn level(fields: &mut Fields<'_>, entry: &Entry) -> Option<Severity> {
    let text = fields.text(entry, "info, warning or error")?;
    match text {
        "info" => Some(Severity::Info),
        "warning" => Some(Severity::Warning),
        "error" => Some(Severity::Error),
        word => {
            let fault = Diagnostic::error("unknown-word", format!("severity: {word:?} is none"));
            let help = crate::error::expected(word, &SEVERITIES);
            fields.fault(fault.help(help), entry.value.span, "unknown");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Configuration;

    fn read(text: &str) -> crate::Result<Vec<Notify>> {
        Configuration::read("orlop.yaml", text.into()).map(|configuration| configuration.notify)
    }

    #[test]
    fn both_kinds_are_read() {
        let told = read(
            "notify:\n- webhook: http://127.0.0.1:9000/a?b=c\n- command: [/bin/tell, --now, no]\n  severity: error\n  timeout: 1m\n",
        );
        let webhook = Notify {
            to: NotifyTo::Webhook("http://127.0.0.1:9000/a?b=c".to_owned()),
            severity: Severity::Warning,
            timeout: Duration::from_secs(10),
        };
        let arguments = vec!["--now".to_owned(), "no".to_owned()];
        let command = Notify {
            to: NotifyTo::Command { executable: "/bin/tell".into(), arguments },
            severity: Severity::Error,
            timeout: Duration::from_secs(60),
        };
        assert_eq!(told, Ok(vec![webhook, command]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, fault) in [
            ("notify: x", "expected a list"),
            ("notify: [x]", "`webhook` or `command`"),
            ("notify: [{severity: error}]", "who is to be told?"),
            ("notify: [{webhook: 'http://a', command: /b}]", "one of them"),
            ("notify: [{webhook: 'https://a'}]", "speaks no TLS"),
            ("notify: [{webhook: 'http:///a'}]", "is no http URL"),
            ("notify: [{webhook: 'http://a b'}]", "is no http URL"),
            ("notify: [{command: tell}]", "no absolute path"),
            ("notify: [{command: []}]", "no absolute path"),
            ("notify: [{webhook: 'http://a', severity: warn}]", "did you mean warning?"),
            ("notify: [{webhook: 'http://a', timeouts: 1s}]", "timeout"),
            ("notify: [{webhook: 'http://a', timeout: 0s}]", "from 1s to a day"),
            ("notify: [{webhook: 'http://a'}, {webhook: 'http://a', severity: error}]", "told twice"),
            ("notify: [{command: [/a, b]}, {command: /a}, {command: [/a, b]}]", "told twice"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.message.contains(fault), "{text}: {error}");
        }
        let many = format!("notify: [{}]", ["{webhook: 'http://a'}"; 9].join(", "));
        assert!(read(&many).unwrap_err().message.contains("at most 8"));
    }
}
