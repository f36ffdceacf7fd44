//! How diagnostics look: the line, what is wrong with it and what to do, drawn by miette.
//!
//! The text shown is an excerpt made here, since a manifest's own may harm a terminal or flood it:
//! control and bidirectional characters are replaced, long lines are cut around what is pointed at.

use std::fmt;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode,
    SourceSpan, SpanContents, ThemeCharacters, ThemeStyles,
};

use super::{
    diagnostic::{Diagnostic, Label, Severity},
    source::{Place, Source},
};
use crate::{Error, ErrorKind, text::safe};

/// What the terminal can show. The caller decides; nothing here looks at the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appearance {
    /// Escape codes for colours.
    pub color: bool,
    /// Lines of box characters rather than ASCII.
    pub unicode: bool,
    /// Columns to wrap messages at.
    pub width: usize,
}

impl Appearance {
    /// For logs, pipes and messages inside other messages.
    pub const PLAIN: Self = Self { color: false, unicode: false, width: 100 };
}

/// Characters of a line shown before it is cut, and how many of them stand before what is pointed at.
const LINE_LENGTH: usize = 120;
const LINE_BEFORE: usize = 40;
/// Lines shown around what is pointed at.
const CONTEXT: usize = 1;
/// Labels at most so many lines from the main one are in its snippet.
const NEAR: usize = 6;
/// Characters of a message, and of a word in it: what a user wrote is quoted in messages.
const MESSAGE_LENGTH: usize = 600;
const WORD_LENGTH: usize = 100;

/// All of them, with an empty line between.
pub fn render(diagnostics: &[Diagnostic], appearance: Appearance) -> String {
    let mut text = String::new();
    for (place, diagnostic) in diagnostics.iter().enumerate() {
        if place > 0 {
            text.push('\n');
        }
        text.push_str(&diagnostic.render(appearance));
    }
    text
}

/// The error of a manifest with faults; its message is the diagnostics as plain text.
pub fn invalid_manifest(diagnostics: &[Diagnostic]) -> Error {
    Error::new(ErrorKind::InvalidManifest, render(diagnostics, Appearance::PLAIN).trim_end())
}

impl Diagnostic {
    /// The diagnostic over several lines, the last one ended.
    pub fn render(&self, appearance: Appearance) -> String {
        let theme = GraphicalTheme {
            characters: if appearance.unicode {
                ThemeCharacters::unicode()
            } else {
                ThemeCharacters::ascii()
            },
            styles: if appearance.color { ThemeStyles::ansi() } else { ThemeStyles::none() },
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(appearance.width.max(40))
            .with_links(false)
            .with_context_lines(CONTEXT)
            .tab_width(2)
            // A name is copied from a terminal as it stands: it is never broken at a hyphen.
            .with_word_separator(textwrap::WordSeparator::AsciiSpace)
            .with_word_splitter(textwrap::WordSplitter::NoHyphenation)
            .with_break_words(false)
            .without_syntax_highlighting();

        let message = match self.labels.is_empty() && !self.file.is_empty() {
            true => format!("{}: {}", clean(&self.file), clean(&self.message)),
            false => clean(&self.message),
        };
        let mut reports = vec![Report {
            message: format!("{message} [{}]", self.code),
            severity: match self.severity {
                Severity::Error => miette::Severity::Error,
                Severity::Warning => miette::Severity::Warning,
            },
            excerpt: None,
            help: self.help.as_deref().map(clean),
        }];
        // A snippet is of one place; those in other files, or far away, follow as reports of their own.
        let mut labels: &[Label] = &self.labels;
        while let Some(first) = labels.first() {
            let near = |label: &&Label| {
                label.at.source == first.at.source
                    && label.at.place().line.abs_diff(first.at.place().line) <= NEAR
            };
            let same = labels.iter().take_while(near).count();
            let (here, others) = labels.split_at(same.max(1));
            let excerpt = Excerpt::new(&first.at.source, here);
            match reports.as_mut_slice() {
                [report @ Report { excerpt: None, .. }] => report.excerpt = Some(excerpt),
                _ => reports.push(Report {
                    message: clean(&first.text),
                    severity: miette::Severity::Advice,
                    excerpt: Some(excerpt),
                    help: None,
                }),
            }
            labels = others;
        }

        let mut text = String::new();
        for report in &reports {
            // Drawing fails only where an excerpt did not hold its own labels.
            if handler.render_report(&mut text, report).is_err() {
                return format!("{self}\n");
            }
        }
        text
    }
}

impl fmt::Display for Diagnostic {
    /// `file:line:column: error: message (help)`, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", clean(&self.file))?;
        if let Some(Place { line, column }) = self.place() {
            write!(f, "{line}:{column}:")?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, " {severity}: {}", clean(&self.message))?;
        match &self.help {
            Some(help) => write!(f, " ({})", clean(help)),
            None => Ok(()),
        }
    }
}

/// What is handed to miette: one snippet with its message.
#[derive(Debug)]
struct Report {
    message: String,
    severity: miette::Severity,
    excerpt: Option<Excerpt>,
    help: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report {}

impl miette::Diagnostic for Report {
    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.excerpt.as_ref().map(|excerpt| excerpt as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let excerpt = self.excerpt.as_ref()?;
        Some(Box::new(excerpt.labels.iter().cloned()))
    }
}

/// The lines around some labels of one source, safe to show. Lines between that nothing points
/// at are empty: their number is kept, and they are not drawn.
#[derive(Debug)]
struct Excerpt {
    name: String,
    text: String,
    /// The number of lines of the source before `text`.
    skipped: usize,
    /// The main label's place in the source.
    place: Place,
    labels: Vec<LabeledSpan>,
}

impl Excerpt {
    fn new(source: &Source, labels: &[Label]) -> Self {
        let line_of = |label: &Label| source.place(label.at.span.start).line;
        let first = labels.iter().map(line_of).min().unwrap_or(1).saturating_sub(CONTEXT).max(1);
        let last = labels.iter().map(line_of).max().unwrap_or(1) + CONTEXT;
        let mut excerpt = Self {
            name: clean(source.name()),
            text: String::new(),
            skipped: first - 1,
            place: labels.first().map_or(Place { line: 1, column: 1 }, |label| label.at.place()),
            labels: Vec::new(),
        };
        for number in first..=last {
            let Some((start, line)) = source.line(number) else { break };
            if number == last && start == source.text().len() {
                // The end of the last line is no line, unless it is what is pointed at.
                break;
            }
            let here: Vec<&Label> = labels.iter().filter(|label| line_of(label) == number).collect();
            let near = labels.iter().any(|label| line_of(label).abs_diff(number) <= CONTEXT);
            if near {
                excerpt.line(start, line, &here);
            }
            excerpt.text.push('\n');
        }
        // The first label is the main one: its place is the one in the header.
        if let Some(label) = labels.first()
            && let Some(main) =
                excerpt.labels.iter_mut().find(|main| main.label() == Some(&*clean(&label.text)))
        {
            *main = LabeledSpan::new_primary_with_span(main.label().map(str::to_owned), *main.inner());
        }
        excerpt
    }

    /// Adds a line, cut around the first of its labels where it is long.
    fn line(&mut self, start: usize, line: &str, labels: &[&Label]) {
        let wanted = labels.iter().map(|label| label.at.span.start.saturating_sub(start)).min().unwrap_or(0);
        let wanted = line.char_indices().take_while(|(offset, _)| *offset < wanted).count();
        let cut =
            if line.chars().nth(LINE_LENGTH).is_some() { wanted.saturating_sub(LINE_BEFORE) } else { 0 };
        if cut > 0 {
            self.text.push('…');
        }
        let mut spans = vec![None; labels.len()];
        let shown = line.char_indices().skip(cut).take(LINE_LENGTH);
        let mut end = None;
        for (offset, character) in shown {
            for (span, label) in spans.iter_mut().zip(labels) {
                let Label { at, .. } = label;
                // A span that goes on over more lines is shown on its first.
                if (at.span.start..at.span.end.max(at.span.start + 1)).contains(&(start + offset)) {
                    let from = span.map_or(self.text.len(), |(from, _)| from);
                    *span = Some((from, self.text.len() + safe(character).len_utf8()));
                }
            }
            self.text.push(safe(character));
            end = Some(offset + character.len_utf8());
        }
        if end.is_some_and(|end| end < line.len()) {
            self.text.push('…');
        }
        for (span, label) in spans.into_iter().zip(labels) {
            // Nothing to underline: at the end of the line, or cut away.
            let (from, to) = span.unwrap_or_else(|| {
                self.text.push(' ');
                (self.text.len() - 1, self.text.len())
            });
            self.labels.push(LabeledSpan::new(Some(clean(&label.text)), from, to - from));
        }
    }
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let contents = self.text.read_span(span, before, after)?;
        // Without context it is asked for the place of the main label, to name it.
        let column = if before + after == 0 { self.place.column - 1 } else { contents.column() };
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            contents.data(),
            *contents.span(),
            self.skipped + contents.line(),
            column,
            contents.line_count(),
        )))
    }
}

/// A text of one line as a terminal may show it, with its middle left out where it is long.
fn clean(text: &str) -> String {
    let words: Vec<String> = text.split(' ').map(|word| shorten(word, WORD_LENGTH)).collect();
    shorten(&words.join(" "), MESSAGE_LENGTH).chars().map(safe).collect()
}

/// Keeps two thirds of `most` characters from the start and a third from the end.
fn shorten(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let (start, end) = (text.chars().take(most * 2 / 3), text.chars().skip(length - most / 3));
    start.chain(['…']).chain(end).collect()
}
