//! One value of a manifest → what its field means. The field decides how text is read, so that a YAML
//! rule never changes a value: `owner: no` is a word, `mode: 0770` is octal with or without quotes.

use std::{str::FromStr, sync::Arc};

use super::{
    diagnostic::{Diagnostic, Faults},
    source::{At, Source, Span},
    tree::{Entry, Kind, Node, Scalar},
};
use crate::{
    Error, MountOption, Period, Size,
    error::{expected, nearest},
    rules::{self, Broken},
    spec::DirectoryMode,
    text,
};

/// Reads fields and collects their faults. Each method returns `None` for a field that has no usable
/// value, after saying so.
pub(crate) struct Fields<'a> {
    pub(crate) source: &'a Arc<Source>,
    pub(crate) faults: &'a mut Faults,
}

impl Fields<'_> {
    pub(crate) fn at(&self, span: Span) -> At {
        At { source: Arc::clone(self.source), span }
    }

    pub(crate) fn fault(&mut self, diagnostic: Diagnostic, span: Span, label: impl Into<String>) {
        let diagnostic = diagnostic.at(&self.at(span), label);
        self.faults.push(diagnostic);
    }

    pub(crate) fn error(&mut self, code: &'static str, error: Error, span: Span, label: &str) {
        let mut diagnostic = Diagnostic::error(code, error.message);
        diagnostic.help = error.hint;
        self.fault(diagnostic, span, label);
    }

    pub(crate) fn broken(&mut self, broken: Broken, span: Span, label: &str) {
        self.fault(Diagnostic::error(broken.code, broken.message).help(broken.hint), span, label);
    }

    /// "expected X, found Y".
    pub(crate) fn wrong_kind(&mut self, name: &str, expected: &str, node: &Node) {
        let found = node.what();
        let diagnostic =
            Diagnostic::error("wrong-kind", format!("{name}: expected {expected}, found {found}"));
        self.fault(diagnostic, node.span, format!("expected {expected}"));
    }

    /// The scalar of a field, or of an item of a list.
    fn scalar<'n>(&mut self, name: &str, expected: &str, node: &'n Node) -> Option<&'n Scalar> {
        match &node.kind {
            Kind::Scalar(scalar) if scalar.faulty => None,
            Kind::Scalar(scalar) if scalar.is_null() => {
                let message = format!("{name} has no value: expected {expected}");
                let help = match &*scalar.text {
                    "" => format!("write it behind `{name}:`"),
                    word => format!("{word} without quotes means nothing; quote it if you mean the word"),
                };
                self.fault(Diagnostic::error("missing-value", message).help(help), node.span, "no value");
                None
            }
            Kind::Scalar(scalar) => Some(scalar),
            Kind::List(_) | Kind::Mapping(_) => {
                self.wrong_kind(name, expected, node);
                None
            }
        }
    }

    /// A single value as its text, whatever it looks like.
    pub(crate) fn text<'n>(&mut self, entry: &'n Entry, expected: &str) -> Option<&'n str> {
        self.scalar(&entry.key.text, expected, &entry.value).map(|scalar| &*scalar.text)
    }

    /// Free text, without what could harm a terminal that shows it.
    pub(crate) fn free_text(&mut self, name: &str, node: &Node) -> Option<String> {
        let text = &*self.scalar(name, "text", node)?.text;
        match text::forbidden(text) {
            None => Some(text.to_owned()),
            Some(character) => {
                let message = format!("{name} has the control character {}", character.escape_unicode());
                let diagnostic = Diagnostic::error("control-character", message).help("remove it");
                self.fault(diagnostic, node.span, "has a control character");
                None
            }
        }
    }

    /// A name, with a proposal where one is near.
    pub(crate) fn name<T: FromStr<Err = Error>>(&mut self, entry: &Entry) -> Option<T> {
        let text = self.text(entry, "a name")?;
        let mut error = match text.parse() {
            Ok(name) => return Some(name),
            Err(error) => error,
        };
        let proposal = text.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let proposal = proposal.trim_matches('-');
        if proposal.parse::<T>().is_ok() {
            error.hint = error.hint.map(|hint| format!("did you mean {proposal}? In a name, {hint}"));
        }
        self.error("invalid-name", error, entry.value.span, "not a name");
        None
    }

    /// One of a few words.
    pub(crate) fn word<T: FromStr<Err = Error>>(&mut self, entry: &Entry, words: &[&str]) -> Option<T> {
        let text = self.text(entry, &one_of(words))?;
        match text.parse() {
            Ok(word) => Some(word),
            Err(error) => {
                let label =
                    nearest(text, words).map_or("unknown".to_owned(), |word| format!("did you mean {word}?"));
                self.error("unknown-word", error, entry.value.span, &label);
                None
            }
        }
    }

    /// A quantity, or a number of bytes.
    pub(crate) fn size(&mut self, entry: &Entry) -> Option<Size> {
        let text = self.text(entry, "a size such as 1Gi")?;
        match text.parse::<Size>() {
            Ok(size) => Some(size),
            Err(error) => {
                self.error("invalid-size", error, entry.value.span, "not a size");
                None
            }
        }
    }

    /// A time to wait, or never.
    pub(crate) fn period(&mut self, entry: &Entry) -> Option<Period> {
        let text = self.text(entry, "a time such as 10m, or never")?;
        match text.parse::<Period>() {
            Ok(period) => Some(period),
            Err(error) => {
                self.error("invalid-period", error, entry.value.span, "not a time");
                None
            }
        }
    }

    /// A user or group id.
    pub(crate) fn id(&mut self, entry: &Entry, name: &'static str) -> Option<u32> {
        let scalar = self.scalar(name, "a number", &entry.value)?;
        let text = &*scalar.text;
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let diagnostic = if digits && !scalar.plain && !scalar.interpolated {
            let diagnostic =
                Diagnostic::error("wrong-kind", format!("{name}: expected a number, found a text"));
            diagnostic.help("remove the quotes")
        } else if digits && text.len() > 1 && text.starts_with('0') {
            Diagnostic::error(
                "not-a-number",
                format!("{name} {text} begins with 0, which some tools read as octal"),
            )
            .help(match text.trim_start_matches('0') {
                "" => "write it as 0".to_owned(),
                number => format!("write it as {number}, in decimal"),
            })
        } else if digits {
            match text.parse::<u32>().ok().map(|id| (id, rules::owner_id(name, id))) {
                Some((id, None)) => return Some(id),
                Some((_, Some(broken))) => {
                    self.broken(broken, entry.value.span, "not an id");
                    return None;
                }
                None => Diagnostic::error("id-range", format!("{name} {text} is more than an id can be"))
                    .help(format!("use 0 to {}", u32::MAX - 1)),
            }
        } else {
            Diagnostic::error("not-a-number", format!("{name} {text:?} is not a whole number")).help(format!(
                "use a numeric id from 0 to {}; names of users differ between host and containers",
                u32::MAX - 1
            ))
        };
        self.fault(diagnostic, entry.value.span, "not an id");
        None
    }

    /// Octal permissions.
    pub(crate) fn mode(&mut self, entry: &Entry) -> Option<DirectoryMode> {
        let text = self.text(entry, "permissions such as 0770")?;
        match text.parse::<DirectoryMode>() {
            Ok(mode) => Some(mode),
            Err(error) => {
                self.error("invalid-mode", error, entry.value.span, "not permissions");
                None
            }
        }
    }

    /// true or false.
    pub(crate) fn truth(&mut self, entry: &Entry) -> Option<bool> {
        let scalar = self.scalar(&entry.key.text, "true or false", &entry.value)?;
        let typed = scalar.plain || scalar.interpolated;
        match &*scalar.text {
            "true" | "True" | "TRUE" if typed => return Some(true),
            "false" | "False" | "FALSE" if typed => return Some(false),
            _ => {}
        }
        let help = match scalar.text.to_lowercase().as_str() {
            "true" | "false" if !typed => "remove the quotes",
            "true" | "yes" | "on" | "y" | "1" => "did you mean true?",
            "false" | "no" | "off" | "n" | "0" => "did you mean false?",
            _ => "write true or false",
        };
        let message = format!("{}: expected true or false, found {:?}", entry.key.text, scalar.text);
        self.fault(
            Diagnostic::error("not-a-truth", message).help(help),
            entry.value.span,
            "expected true or false",
        );
        None
    }

    /// The items of a list; nothing is an empty one.
    fn list<'n>(&mut self, entry: &'n Entry, expected: &str) -> Option<&'n [Node]> {
        match &entry.value.kind {
            Kind::List(nodes) => Some(nodes),
            Kind::Scalar(scalar) if scalar.is_null() => Some(&[]),
            Kind::Scalar(scalar) if scalar.faulty => None,
            Kind::Scalar(_) | Kind::Mapping(_) => {
                self.wrong_kind(&entry.key.text, expected, &entry.value);
                None
            }
        }
    }

    /// A program by its path, and its arguments. There is no shell.
    pub(crate) fn command(&mut self, entry: &Entry) -> Option<Vec<String>> {
        let nodes = self.list(entry, "a list of a program and its arguments")?;
        let words: Option<Vec<String>> = nodes.iter().map(|node| self.free_text("a word", node)).collect();
        let words = words?;
        if words.first().is_some_and(|program| program.starts_with('/')) {
            return Some(words);
        }
        let message = format!("{}: it does not begin with a program's path", entry.key.text);
        let fault = Diagnostic::error("not-a-command", message)
            .help("write a list whose first word is an absolute path, such as [/usr/local/bin/flush, all]");
        self.fault(fault, entry.value.span, "expected a list such as [/usr/local/bin/flush, all]");
        None
    }

    /// A list of words to find a resource by.
    pub(crate) fn tags(&mut self, entry: &Entry) -> Option<Vec<String>> {
        let nodes = self.list(entry, "a list of tags")?;
        let mut tags = Vec::with_capacity(nodes.len());
        for node in nodes {
            let tag = self.free_text("a tag", node)?;
            if tag.trim().is_empty() {
                let fault = Diagnostic::error("missing-value", "a tag is empty").help("remove it");
                self.fault(fault, node.span, "empty");
                return None;
            }
            tags.push(tag);
        }
        Some(tags)
    }

    /// A list of allowed mount options, each once.
    pub(crate) fn mount_options(&mut self, entry: &Entry) -> Option<Vec<MountOption>> {
        let nodes = self.list(entry, "a list of mount options")?;
        let mut options: Vec<(MountOption, Span)> =
            Vec::with_capacity(nodes.len().min(MountOption::ALL.len()));
        let mut good = true;
        for node in nodes {
            let Some(scalar) = self.scalar("a mount option", "a word", node) else {
                good = false;
                continue;
            };
            match scalar.text.parse::<MountOption>() {
                Ok(option) => match options.iter().find(|(other, _)| *other == option) {
                    None => options.push((option, node.span)),
                    Some((_, first)) => {
                        good = false;
                        let first = self.at(*first);
                        let broken = rules::duplicate_mount_option(option);
                        let diagnostic = Diagnostic::error(broken.code, broken.message).help(broken.hint);
                        let diagnostic =
                            diagnostic.at(&self.at(node.span), "again here").at(&first, "first here");
                        self.faults.push(diagnostic);
                    }
                },
                Err(error) => {
                    good = false;
                    self.mount_option(&scalar.text, error, node.span);
                }
            }
        }
        good.then(|| options.into_iter().map(|(option, _)| option).collect())
    }

    fn mount_option(&mut self, text: &str, error: Error, span: Span) {
        let words = MountOption::ALL.map(MountOption::as_str);
        let allowed = words.join(", ");
        let (message, help) = match text {
            "suid" | "dev" => (
                format!("the mount option {text} is never allowed"),
                format!(
                    "every volume is mounted nosuid,nodev, so that nothing in it can make a process of the host root; allowed are {allowed}"
                ),
            ),
            "nosuid" | "nodev" => (
                format!("the mount option {text} need not be given"),
                format!("every volume is mounted nosuid,nodev; allowed are {allowed}"),
            ),
            "ro" | "rw" => (
                format!("the mount option {text} is not allowed"),
                format!("who may write is said by accessMode, or by the consumer; allowed are {allowed}"),
            ),
            _ if text.contains(',') => (
                format!("{text:?} is not one mount option"),
                format!("give each as an item of its own, as in [{}]", text.replace(',', ", ")),
            ),
            _ => (error.message, error.hint.unwrap_or_default()),
        };
        self.fault(Diagnostic::error("mount-option", message).help(help), span, "not allowed");
    }
}

/// "one of A, B or C".
pub(crate) fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// The fault of a key that is none of `keys`.
pub(crate) fn unknown_key(key: &str, place: &str, keys: &[&str]) -> (Diagnostic, String) {
    let label = nearest(key, keys).map_or("unknown".to_owned(), |word| format!("did you mean {word}?"));
    let message = format!("the key {key:?} is unknown {place}");
    (Diagnostic::error("unknown-key", message).help(expected(key, keys)), label)
}
