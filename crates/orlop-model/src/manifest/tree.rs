//! YAML text → documents as trees in which every key and value knows its place.
//!
//! Scalars stay text: what `no`, `0123` or `1.10` mean is decided by the field they are given to.
//! What the fields are is not known here.

use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::{
    diagnostic::Diagnostic,
    limits::{MAX_DEPTH, MAX_DOCUMENTS, MAX_NODES, MAX_TEXT},
    source::{At, Source, Span},
};

/// A value.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
    /// A tag such as `!custom`, other than those of the core schema.
    pub(crate) tag: Option<String>,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Scalar(Scalar),
    List(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A scalar as it was written, quotes and escapes resolved.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) text: Arc<str>,
    /// Written without quotes, so that it can mean a number, a truth or nothing.
    pub(crate) plain: bool,
    /// A variable was filled in.
    pub(crate) interpolated: bool,
    /// Already reported: to be passed over in silence.
    pub(crate) faulty: bool,
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) value: Node,
}

/// A key.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: Arc<str>,
    pub(crate) span: Span,
}

impl Node {
    /// What to call it in a message.
    pub(crate) fn what(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar(scalar) if scalar.is_null() => "nothing",
            Kind::Scalar(_) => "a single value",
            Kind::List(_) => "a list",
            Kind::Mapping(_) => "a mapping",
        }
    }
}

impl Scalar {
    /// Whether it is no value at all: nothing, `~` or `null` without quotes.
    pub(crate) fn is_null(&self) -> bool {
        self.plain && !self.interpolated && matches!(&*self.text, "" | "~" | "null" | "Null" | "NULL")
    }
}

/// A document's root.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) node: Node,
    /// No fault was found in its keys. Where one was, the document is read for its other faults only.
    pub(crate) sound: bool,
}

/// The documents of a source that could be read to their end, and the faults of their structure.
/// A document of nothing is left out. After a syntax error it goes on at the next `---`.
pub(crate) fn documents(source: &Arc<Source>) -> (Vec<Root>, Vec<Diagnostic>) {
    let mut reader = Reader {
        source,
        offsets: Offsets::new(source.text()),
        documents: Vec::new(),
        faults: Vec::new(),
        seen: 0,
        nodes: 0,
        text: 0,
    };
    let mut start = Some(0);
    while let Some(base) = start {
        start = match reader.read_from(base) {
            Ok(()) | Err(Stop::Source) => None,
            Err(Stop::Document { from }) => next_document(source.text(), from.max(base)),
        };
    }
    (reader.documents, reader.faults)
}

/// The next line after `from` that begins with `---`, which starts a document wherever it stands.
fn next_document(text: &str, from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let places = rest.match_indices("---").map(|(place, _)| from + place);
    places.filter(|place| *place > from).find(|place| {
        let before = text.get(..*place).and_then(|before| before.chars().next_back());
        let after = text.get(place + 3..).and_then(|after| after.chars().next());
        matches!(before, Some('\n' | '\r')) && matches!(after, None | Some(' ' | '\t' | '\n' | '\r'))
    })
}

/// Why reading stopped early; the reason is among the faults.
enum Stop {
    /// This document can't be read further; the next one starts somewhere after `from`.
    Document { from: usize },
    /// Nothing more is read.
    Source,
}

/// Byte offsets of characters: the parser counts in characters.
struct Offsets {
    ascii: bool,
    bytes: Vec<usize>,
    end: usize,
}

impl Offsets {
    fn new(text: &str) -> Self {
        let ascii = text.is_ascii();
        let bytes = if ascii { Vec::new() } else { text.char_indices().map(|(offset, _)| offset).collect() };
        Self { ascii, bytes, end: text.len() }
    }

    fn byte(&self, character: usize) -> usize {
        if self.ascii {
            character.min(self.end)
        } else {
            self.bytes.get(character).copied().unwrap_or(self.end)
        }
    }

    fn character(&self, byte: usize) -> usize {
        if self.ascii { byte } else { self.bytes.partition_point(|offset| *offset < byte) }
    }
}

/// A collection that is still open.
struct Open {
    start: usize,
    anchor: usize,
    tag: Option<String>,
    /// What the budget was when it was opened, to know what an alias of it costs.
    nodes: usize,
    text: usize,
    /// How many levels are inside it.
    depth: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Mapping { entries: Vec<Entry>, places: HashMap<Arc<str>, Span>, key: PendingKey },
}

/// The key whose value comes next.
enum PendingKey {
    None,
    Good(Key),
    /// One that was reported; its value is dropped.
    Bad,
}

/// An anchored value, and what one more of it costs.
struct Anchored {
    node: Node,
    nodes: usize,
    text: usize,
    depth: usize,
}

struct Reader<'s> {
    source: &'s Arc<Source>,
    offsets: Offsets,
    documents: Vec<Root>,
    faults: Vec<Diagnostic>,
    seen: usize,
    nodes: usize,
    text: usize,
}

impl Reader<'_> {
    fn at(&self, span: Span) -> At {
        At { source: Arc::clone(self.source), span }
    }

    /// Reads documents from a byte offset at which a document begins.
    fn read_from(&mut self, base: usize) -> Result<(), Stop> {
        let text = self.source.text();
        let mut parser = Parser::new_from_str(text.get(base..).unwrap_or_default());
        let first = self.offsets.character(base);
        // Where the current document began, for going on behind it.
        let mut from = base;
        loop {
            let (event, span) = match parser.next_event() {
                None => return Ok(()),
                Some(Ok(event)) => event,
                Some(Err(error)) => {
                    self.syntax(&error, first, from);
                    return Err(Stop::Document { from });
                }
            };
            let span = Span {
                start: self.offsets.byte(first + span.start.index()),
                end: self.offsets.byte(first + span.end.index()),
            };
            match event {
                Event::DocumentStart(_) => {
                    from = span.start;
                    self.seen += 1;
                    if self.seen > MAX_DOCUMENTS {
                        let fault = Diagnostic::error(
                            "too-many-documents",
                            format!("the file has more than {MAX_DOCUMENTS} documents"),
                        );
                        self.faults.push(
                            fault.at(&self.at(span), "one too many").help("put them into several files"),
                        );
                        return Err(Stop::Source);
                    }
                    let faults = self.faults.len();
                    let node = self.document(&mut parser, first, from)?;
                    let empty = matches!(&node.kind, Kind::Scalar(scalar) if scalar.is_null());
                    if !empty {
                        self.documents.push(Root { node, sound: self.faults.len() == faults });
                    }
                }
                Event::StreamEnd => return Ok(()),
                _ => {}
            }
        }
    }

    /// One document, from after its start to its root's end.
    fn document(
        &mut self,
        parser: &mut Parser<'_, StrInput<'_>>,
        first: usize,
        from: usize,
    ) -> Result<Node, Stop> {
        let mut open: Vec<Open> = Vec::new();
        let mut anchors: HashMap<usize, Anchored> = HashMap::new();
        loop {
            let (event, span) = match parser.next_event() {
                None => return Err(Stop::Source),
                Some(Ok(event)) => event,
                Some(Err(error)) => {
                    self.syntax(&error, first, from);
                    return Err(Stop::Document { from });
                }
            };
            let span = Span {
                start: self.offsets.byte(first + span.start.index()),
                end: self.offsets.byte(first + span.end.index()),
            };
            let (nodes, text) = (self.nodes, self.text);
            let (mut node, anchor, depth) = match event {
                Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag)
                    if open.len() >= MAX_DEPTH =>
                {
                    drop((anchor, tag));
                    return Err(self.too_deep(span, from));
                }
                Event::SequenceStart(anchor, tag) => {
                    self.spend(1, 0, span)?;
                    let kind = OpenKind::List(Vec::new());
                    open.push(Open {
                        start: span.start,
                        anchor,
                        tag: custom(tag),
                        nodes,
                        text,
                        depth: 0,
                        kind,
                    });
                    continue;
                }
                Event::MappingStart(anchor, tag) => {
                    self.spend(1, 0, span)?;
                    let kind = OpenKind::Mapping {
                        entries: Vec::new(),
                        places: HashMap::new(),
                        key: PendingKey::None,
                    };
                    open.push(Open {
                        start: span.start,
                        anchor,
                        tag: custom(tag),
                        nodes,
                        text,
                        depth: 0,
                        kind,
                    });
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    let Some(closed) = open.pop() else { continue };
                    let kind = match closed.kind {
                        OpenKind::List(nodes) => Kind::List(nodes),
                        OpenKind::Mapping { entries, .. } => Kind::Mapping(entries),
                    };
                    let span = Span { start: closed.start, end: span.end.max(closed.start) };
                    let node = Node { span, kind, tag: closed.tag };
                    if closed.anchor > 0 {
                        let anchored = Anchored {
                            node: node.clone(),
                            nodes: self.nodes - closed.nodes,
                            text: self.text - closed.text,
                            depth: closed.depth + 1,
                        };
                        // The copy that is kept for aliases is paid for as well.
                        self.spend(anchored.nodes, anchored.text, span)?;
                        anchors.insert(closed.anchor, anchored);
                    }
                    (node, 0, closed.depth + 1)
                }
                Event::Scalar(text, style, anchor, tag) => {
                    self.spend(1, text.len(), span)?;
                    let plain = style == ScalarStyle::Plain && !tag.as_deref().is_some_and(is_string);
                    let scalar =
                        Scalar { text: Arc::from(&*text), plain, interpolated: false, faulty: false };
                    (Node { span, kind: Kind::Scalar(scalar), tag: custom(tag) }, anchor, 0)
                }
                Event::Alias(anchor) => match anchors.get(&anchor) {
                    None => {
                        let fault = Diagnostic::error("unknown-anchor", NO_ANCHOR);
                        self.faults.push(fault.at(&self.at(span), "here").help(ALIAS_HELP));
                        return Err(Stop::Document { from });
                    }
                    Some(anchored) => {
                        let (nodes, text, depth) = (anchored.nodes, anchored.text, anchored.depth);
                        if open.len() + depth > MAX_DEPTH {
                            return Err(self.too_deep(span, from));
                        }
                        self.spend(nodes, text, span)?;
                        (anchored.node.clone(), 0, depth)
                    }
                },
                Event::DocumentEnd
                | Event::StreamEnd
                | Event::StreamStart
                | Event::Nothing
                | Event::DocumentStart(_) => continue,
            };
            if anchor > 0 {
                let anchored =
                    Anchored { node: node.clone(), nodes: self.nodes - nodes, text: self.text - text, depth };
                anchors.insert(anchor, anchored);
            }
            match open.last_mut() {
                None => return Ok(node),
                Some(parent) => {
                    parent.depth = parent.depth.max(depth);
                    match &mut parent.kind {
                        OpenKind::List(nodes) => nodes.push(node),
                        OpenKind::Mapping { entries, places, key } => {
                            match std::mem::replace(key, PendingKey::None) {
                                PendingKey::None => *key = self.key(&node, places),
                                PendingKey::Bad => {}
                                PendingKey::Good(key) => {
                                    // A value of nothing has its place where the next thing is.
                                    if matches!(&node.kind, Kind::Scalar(scalar) if scalar.text.is_empty() && scalar.plain)
                                    {
                                        node.span = key.span;
                                    }
                                    entries.push(Entry { key, value: node });
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Takes a node as the next key of a mapping, or says why it is none.
    fn key(&mut self, node: &Node, places: &mut HashMap<Arc<str>, Span>) -> PendingKey {
        let Kind::Scalar(scalar) = &node.kind else {
            let fault = Diagnostic::error("complex-key", format!("a key is {}", node.what()))
                .at(&self.at(node.span), "not a word")
                .help("a key is a single word; a value in braces or brackets may be missing quotes");
            self.faults.push(fault);
            return PendingKey::Bad;
        };
        if &*scalar.text == "<<" && scalar.plain {
            let fault = Diagnostic::error("merge-key", "merge keys are not supported")
                .at(&self.at(node.span), "a merge key")
                .help("write the keys out; an alias of a whole value, as in `key: *name`, is fine");
            self.faults.push(fault);
            return PendingKey::Bad;
        }
        match places.entry(Arc::clone(&scalar.text)) {
            hash_map::Entry::Vacant(place) => {
                place.insert(node.span);
                PendingKey::Good(Key { text: Arc::clone(&scalar.text), span: node.span })
            }
            hash_map::Entry::Occupied(place) => {
                let first = *place.get();
                let fault =
                    Diagnostic::error("duplicate-key", format!("the key {} is given twice", scalar.text))
                        .at(&self.at(node.span), "again here")
                        .at(&self.at(first), "first here")
                        .help("keep one of them");
                self.faults.push(fault);
                PendingKey::Bad
            }
        }
    }

    fn too_deep(&mut self, span: Span, from: usize) -> Stop {
        let fault = Diagnostic::error("too-deep", format!("the nesting is deeper than {MAX_DEPTH} levels"))
            .at(&self.at(span), "too deep")
            .help("a manifest needs no more than three");
        self.faults.push(fault);
        Stop::Document { from }
    }

    /// Takes from the file's budget.
    fn spend(&mut self, nodes: usize, text: usize, span: Span) -> Result<(), Stop> {
        self.nodes += nodes;
        self.text += text;
        if self.nodes <= MAX_NODES && self.text <= MAX_TEXT {
            return Ok(());
        }
        let fault = Diagnostic::error(
            "too-complex",
            format!(
                "the file has more than {MAX_NODES} values or {MAX_TEXT} bytes of them, aliases expanded"
            ),
        );
        self.faults.push(
            fault
                .at(&self.at(span), "the limit is reached here")
                .help("use fewer aliases, or put the documents into several files"),
        );
        Err(Stop::Source)
    }

    /// A fault of the YAML itself, in the document that begins at `from`.
    fn syntax(&mut self, error: &ScanError, first: usize, from: usize) {
        let text = self.source.text();
        let mut start = self.offsets.byte(first + error.marker().index());
        if let Some(next) = next_document(text, from).filter(|next| *next <= start) {
            // In brackets the parser runs on into the next document.
            let fault =
                Diagnostic::error("syntax", "this is not YAML: the document ends inside brackets or quotes")
                    .at(&self.at(Span { start: next, end: next + 3 }), "ends here")
                    .help("close what is opened above");
            self.faults.push(fault);
            return;
        }
        let number = self.source.place(start).line;
        let (line_start, line) = self.source.line(number).unwrap_or_default();
        // The parser may stop at the end of the line before the one with the tab.
        let tab = [(line_start, line), self.source.line(number + 1).unwrap_or_default()]
            .into_iter()
            .find_map(|(start, line)| tab_in_indent(line).map(|tab| start + tab));
        let anchor = error.info().contains("unknown anchor");
        let help = if anchor {
            ALIAS_HELP
        } else if let Some(tab) = tab {
            start = tab;
            "YAML is indented with spaces, never with tabs"
        } else if line.contains('\t') {
            "write spaces where this line has tabs"
        } else if line.contains("${") && line.contains(['[', '{']) {
            "quote a variable or placeholder inside [ ] or { }, as in \"${NAME}\""
        } else {
            "check the indentation and the quotes here and in the line above"
        };
        let end = text.get(start..).and_then(|rest| rest.chars().next());
        let span = Span { start, end: start + end.map_or(0, char::len_utf8) };
        let fault = match anchor {
            true => Diagnostic::error("unknown-anchor", NO_ANCHOR),
            false => Diagnostic::error("syntax", format!("this is not YAML: {}", error.info())),
        };
        self.faults.push(fault.at(&self.at(span), "here").help(help));
    }
}

const NO_ANCHOR: &str = "an alias has no anchor before it in its document";
const ALIAS_HELP: &str = "define it first, as in `&name value`; a value can't contain itself";

/// Where the white space before a line's first character has a tab, in bytes.
fn tab_in_indent(line: &str) -> Option<usize> {
    let content = line.trim_start_matches([' ', '\t']);
    let indent = line.get(..line.len() - content.len())?;
    if content.is_empty() { None } else { indent.find('\t') }
}

fn is_string(tag: &Tag) -> bool {
    (tag.is_yaml_core_schema() && tag.suffix == "str") || (tag.handle.is_empty() && tag.suffix == "!")
}

/// A tag that is none of the core schema's, which say nothing that the fields don't.
fn custom(tag: Option<std::borrow::Cow<'_, Tag>>) -> Option<String> {
    let tag = tag?;
    let core = tag.is_yaml_core_schema()
        && matches!(&*tag.suffix, "str" | "int" | "float" | "bool" | "null" | "seq" | "map");
    let unspecific = tag.handle.is_empty() && tag.suffix == "!";
    (!core && !unspecific).then(|| format!("{}{}", tag.handle, tag.suffix))
}
