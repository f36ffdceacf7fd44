//! Standard output and standard error: colours where a terminal takes them, and no panic where the
//! reader has gone.

use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use clap::builder::styling::{AnsiColor, Style};
use orlop_model::{Error, ErrorKind, manifest::Appearance};

use super::plain_lines;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();
/// The width of diagnostics where there is no terminal to ask.
const WIDTH: usize = 100;

/// Where a command writes.
pub(crate) struct Console {
    out: AutoStream<io::Stdout>,
    err: AutoStream<io::Stderr>,
    colour: bool,
    closed: bool,
    fault: Option<io::Error>,
}

impl Console {
    /// The process's own.
    pub(crate) fn new() -> Self {
        let out = AutoStream::auto(io::stdout());
        let colour = out.current_choice() != ColorChoice::Never;
        Self { out, err: AutoStream::auto(io::stderr()), colour, closed: false, fault: None }
    }

    /// Writes a text to standard output, and ends its last line.
    pub(crate) fn print(&mut self, text: impl AsRef<str>) {
        let text = text.as_ref();
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        if self.closed {
            return;
        }
        let written = write!(self.out, "{text}{end}").and_then(|()| self.out.flush());
        match written {
            Ok(()) => {}
            // The reader has seen enough, as in `orlop get | head`.
            Err(fault) if fault.kind() == io::ErrorKind::BrokenPipe => self.closed = true,
            Err(fault) => {
                self.closed = true;
                self.fault = Some(fault);
            }
        }
    }

    /// Asks for a yes on the terminal.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where nobody is there to answer.
    pub(crate) fn confirm(&mut self, question: &str) -> orlop_model::Result<bool> {
        if !io::stdin().is_terminal() || !self.is_attended() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("{question} nobody is there to answer"),
            )
            .hint("nothing was changed; where it is right, say --yes"));
        }
        // A terminal that can't be written to can't be read from either: then it is a no.
        let mut answer = String::new();
        let asked = write!(self.err, "{question} [yes/no] ").and_then(|()| self.err.flush());
        let read = asked.and_then(|()| io::stdin().read_line(&mut answer));
        Ok(read.is_ok() && answer.trim().eq_ignore_ascii_case("yes"))
    }

    /// Replaces what a terminal shows, or adds to a plain output after an empty line.
    pub(crate) fn redraw(&mut self, text: &str, first: bool) {
        if self.is_terminal() {
            self.print(format!("\x1b[H\x1b[2J{text}"));
        } else if first {
            self.print(text);
        } else {
            self.print(format!("\n{text}"));
        }
    }

    /// Says on standard error what went wrong, what it concerns and what to do.
    pub(crate) fn error(&mut self, error: &Error) {
        self.report("error", ERROR, error);
    }

    /// Says on standard error what the user ought to know, though the command goes on.
    pub(crate) fn warning(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        // Only the words of the error are printed; a warning has no kind.
        self.report("warning", WARNING, &Error::new(ErrorKind::Host, message).hint(hint));
    }

    /// Says something on standard error that scripts need not see.
    pub(crate) fn note(&mut self, text: &str) {
        let _ = writeln!(self.err, "{}", plain_lines(text));
    }

    /// Writes diagnostics, drawn already, to standard error.
    pub(crate) fn diagnostics(&mut self, text: &str) {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let _ = write!(self.err, "{text}{end}");
    }

    fn report(&mut self, word: &str, style: Style, error: &Error) {
        let mut text = format!("{style}{word}{style:#}: {}\n", plain_lines(&error.message));
        if let Some(object) = &error.object
            && !error.message.contains(object.as_str())
        {
            text.push_str(&format!("  {HINT}about{HINT:#}: {}\n", plain_lines(object)));
        }
        if let Some(hint) = &error.hint {
            text.push_str(&format!("  {HINT}hint{HINT:#}: {}\n", plain_lines(hint)));
        }
        // Nobody is left to tell where standard error can't be written.
        let _ = self.err.write_all(text.as_bytes());
    }

    /// Whether standard output is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Whether standard error is a terminal, where something can be drawn anew.
    pub(crate) fn is_attended(&self) -> bool {
        io::stderr().is_terminal()
    }

    /// Whether standard output takes colours.
    pub(crate) fn colour(&self) -> bool {
        self.colour
    }

    /// Whether nobody reads standard output any more, so that a live view should end.
    pub(crate) fn closed(&self) -> bool {
        self.closed
    }

    /// Whether standard output is a terminal that shows more than ASCII.
    pub(crate) fn takes_unicode(&self) -> bool {
        self.is_terminal() && speaks_utf8()
    }

    /// How many characters a line has.
    pub(crate) fn width(&self) -> usize {
        comfy_table::Table::new().width().map_or(WIDTH, usize::from)
    }

    /// How diagnostics look on standard error.
    pub(crate) fn appearance(&self) -> Appearance {
        let terminal = io::stderr().is_terminal();
        Appearance {
            color: self.err.current_choice() != ColorChoice::Never,
            unicode: terminal && speaks_utf8(),
            width: self.width(),
        }
    }

    /// What kept standard output from being written, if something did.
    pub(crate) fn fault(&mut self) -> Option<Error> {
        let fault = self.fault.take()?;
        Some(
            Error::new(ErrorKind::Host, format!("standard output can't be written: {fault}"))
                .hint("is the disk full to which it goes?"),
        )
    }
}

/// Whether the locale says so.
fn speaks_utf8() -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .is_some_and(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        })
}
