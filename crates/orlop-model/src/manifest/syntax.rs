//! What is said about text that is not YAML, or not the part of it that is read here.

use std::sync::Arc;

use super::{
    diagnostic::Diagnostic,
    limits::MAX_DEPTH,
    source::{At, Source, Span},
};

/// An error of the parser, as `info` at byte `start`, in a document that ends at `end` at the latest.
pub(crate) fn fault(source: &Arc<Source>, info: &str, mut start: usize, end: Option<usize>) -> Diagnostic {
    if let Some(end) = end.filter(|end| *end <= start) {
        // In brackets the parser runs on into the next document.
        return Diagnostic::error("syntax", "this is not YAML: the document ends inside brackets or quotes")
            .at(&one_character(source, end), "ends here")
            .help("close what is opened above");
    }
    if info.contains("recursion limit") {
        return too_deep(&one_character(source, start));
    }
    if info.contains("unknown anchor") {
        return no_anchor(&one_character(source, start));
    }
    let number = source.place(start).line;
    let (line_start, line) = source.line(number).unwrap_or_default();
    // The parser may stop at the end of the line before the one with the tab.
    let tab = [(line_start, line), source.line(number + 1).unwrap_or_default()]
        .into_iter()
        .find_map(|(start, line)| tab_in_indent(line).map(|tab| start + tab));
    let help = if let Some(tab) = tab {
        start = tab;
        "YAML is indented with spaces, never with tabs"
    } else if line.contains('\t') {
        "write spaces where this line has tabs"
    } else if line.contains("${") && line.contains(['[', '{']) {
        "quote a variable or placeholder inside [ ] or { }, as in \"${NAME}\""
    } else {
        "check the indentation and the quotes here and in the line above"
    };
    Diagnostic::error("syntax", format!("this is not YAML: {info}"))
        .at(&one_character(source, start), "here")
        .help(help)
}

/// An alias before its anchor, or inside it.
pub(crate) fn no_anchor(at: &At) -> Diagnostic {
    Diagnostic::error("unknown-anchor", "an alias has no anchor before it in its document")
        .at(at, "here")
        .help("define it first, as in `&name value`; a value can't contain itself")
}

/// Beyond [`MAX_DEPTH`].
pub(crate) fn too_deep(at: &At) -> Diagnostic {
    Diagnostic::error("too-deep", format!("the nesting is deeper than {MAX_DEPTH} levels"))
        .at(at, "too deep")
        .help("a manifest needs no more than three")
}

fn one_character(source: &Arc<Source>, start: usize) -> At {
    let character = source.text().get(start..).and_then(|rest| rest.chars().next());
    let end = start + character.map_or(0, char::len_utf8);
    At { source: Arc::clone(source), span: Span { start, end } }
}

/// Where the white space before a line's first character has a tab, in bytes.
fn tab_in_indent(line: &str) -> Option<usize> {
    let content = line.trim_start_matches([' ', '\t']);
    let indent = line.get(..line.len() - content.len())?;
    if content.is_empty() { None } else { indent.find('\t') }
}
