//! The text of a manifest with its lines, and places in it. Reading files is the caller's.

use std::{fmt, sync::Arc};

use super::{diagnostic::Diagnostic, limits::MAX_BYTES};

/// A manifest's text and the name it is known by to the user.
#[derive(PartialEq, Eq)]
pub struct Source {
    name: String,
    text: String,
    /// Byte offset at which each line starts.
    lines: Vec<usize>,
}

impl Source {
    /// Takes the bytes of a file: UTF-8 text without NUL, of at most [`MAX_BYTES`]. A byte order mark
    /// at the start is dropped. `name` is the file's name, or `<stdin>`.
    ///
    /// # Errors
    /// A diagnostic that says why this is no manifest text.
    pub fn new(name: impl Into<String>, bytes: Vec<u8>) -> Result<Arc<Self>, Diagnostic> {
        let name = name.into();
        if bytes.len() > MAX_BYTES {
            return Err(Self::too_large(name, None));
        }
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return Err(Diagnostic::error("not-text", "the file is UTF-16 text; a manifest is UTF-8")
                .file(name)
                .help("save it as UTF-8"));
        }
        if let Some(place) = bytes.iter().position(|byte| *byte == 0) {
            return Err(Diagnostic::error(
                "not-text",
                format!("the file is binary: byte {} is NUL", place + 1),
            )
            .file(name)
            .help("a manifest is a YAML text file"));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self::from_text(name, text)),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let bytes = error.into_bytes();
                let bad = bytes.get(good).copied().unwrap_or_default();
                let before = String::from_utf8_lossy(bytes.get(..good).unwrap_or_default()).into_owned();
                let source = Self::from_text(name, before);
                let place = source.place(source.text.len());
                Err(Diagnostic::error(
                    "not-text",
                    format!("the file is not UTF-8 text: byte 0x{bad:02x} at {place} is no character"),
                )
                .file(source.name.clone())
                .help("a manifest is a YAML text file; save it as UTF-8"))
            }
        }
    }

    /// The refusal of a file above [`MAX_BYTES`], for a caller that did not read it all.
    pub fn too_large(name: impl Into<String>, bytes: Option<u64>) -> Diagnostic {
        let message = match bytes {
            Some(bytes) => format!("the file has {bytes} bytes; a manifest has at most {MAX_BYTES} (1 MiB)"),
            None => format!("the file has more than {MAX_BYTES} bytes (1 MiB), the most a manifest may have"),
        };
        Diagnostic::error("too-large", message)
            .file(name)
            .help("is it a manifest? If so, put its documents into several files")
    }

    fn from_text(name: String, mut text: String) -> Arc<Self> {
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        let mut lines = vec![0];
        let bytes = text.as_bytes();
        for (offset, byte) in bytes.iter().enumerate() {
            // As YAML does: LF, CR LF, or CR alone.
            if *byte == b'\n' || (*byte == b'\r' && bytes.get(offset + 1) != Some(&b'\n')) {
                lines.push(offset + 1);
            }
        }
        Arc::new(Self { name, text, lines })
    }

    /// The name of the file, or `<stdin>`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text, without byte order mark.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte offset.
    pub fn place(&self, offset: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        let before = self.text.as_bytes().get(start..offset.min(self.text.len())).unwrap_or_default();
        // Characters, counted by their first bytes.
        let column = before.iter().filter(|byte| **byte & 0xc0 != 0x80).count() + 1;
        Place { line, column }
    }

    /// A line without its line break, and the byte offset of its start. Lines count from 1.
    pub fn line(&self, number: usize) -> Option<(usize, &str)> {
        let start = *self.lines.get(number.checked_sub(1)?)?;
        let end = self.lines.get(number).copied().unwrap_or(self.text.len());
        let line = self.text.get(start..end)?;
        Some((start, line.trim_end_matches(['\n', '\r'])))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({:?}, {} bytes)", self.name, self.text.len())
    }
}

/// A line and a column, both from 1; a column is a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Bytes of a source, from `start` to before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

/// A span with its source: what a diagnostic points at.
#[derive(Clone, PartialEq, Eq)]
pub struct At {
    /// Where the span is.
    pub source: Arc<Source>,
    /// The span.
    pub span: Span,
}

impl At {
    /// Line and column of its start.
    pub fn place(&self) -> Place {
        self.source.place(self.span.start)
    }
}

impl fmt::Display for At {
    /// `file:line:column`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { line, column } = self.place();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "At({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_and_every_line_break() {
        let source = Source::new("f", "\u{feff}äb\r\nc\rd\n".into()).unwrap();
        let place = |offset| {
            let Place { line, column } = source.place(offset);
            (line, column)
        };
        assert_eq!(place(0), (1, 1));
        assert_eq!(place(2), (1, 2));
        assert_eq!(place(5), (2, 1));
        assert_eq!(place(7), (3, 1));
        assert_eq!(place(9), (4, 1));
        assert_eq!(place(900), (4, 1));
        assert_eq!(source.line(1), Some((0, "äb")));
        assert_eq!(source.line(3), Some((7, "d")));
        assert_eq!(source.line(4), Some((9, "")));
        assert_eq!((source.line(0), source.line(5)), (None, None));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let refusal = |bytes: &[u8]| Source::new("f", bytes.to_vec()).unwrap_err().message;
        assert_eq!(refusal(b"a: \0"), "the file is binary: byte 4 is NUL");
        assert_eq!(refusal(b"\xff\xfea\0"), "the file is UTF-16 text; a manifest is UTF-8");
        assert_eq!(
            refusal("a: ä\n ü\u{1}".as_bytes().iter().chain(b"\xc3").copied().collect::<Vec<_>>().as_slice()),
            "the file is not UTF-8 text: byte 0xc3 at line 2, column 4 is no character"
        );
        let large = vec![b'a'; 10_000_000];
        assert_eq!(
            refusal(&large),
            "the file has more than 1048576 bytes (1 MiB), the most a manifest may have"
        );
    }
}
