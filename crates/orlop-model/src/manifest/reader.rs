//! YAML text → trees. It goes on after a fault where that is safe, and stops where a file costs too much.
//!
//! What the keys mean is not known here.

use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::{
    diagnostic::{Diagnostic, Faults},
    limits::{MAX_DEPTH, MAX_DOCUMENTS, MAX_NODES, MAX_TEXT},
    source::{At, Source, Span},
    syntax,
    tree::{Entry, Key, Kind, Node, Root, Scalar},
};

/// The documents of a source that could be read to their end, and the faults of their structure.
/// A document of nothing is left out. After a syntax error it goes on at the next `---`.
pub(crate) fn documents(source: &Arc<Source>, faults: &mut Faults) -> Vec<Root> {
    let mut reader = Reader {
        source,
        offsets: Offsets::new(source.text()),
        documents: Vec::new(),
        faults,
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
    reader.documents
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
    faults: &'s mut Faults,
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
                    let faults = self.faults.found();
                    let node = self.document(&mut parser, first, from)?;
                    let empty = matches!(&node.kind, Kind::Scalar(scalar) if scalar.is_null());
                    if !empty {
                        self.documents.push(Root { node, sound: self.faults.found() == faults });
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
                        self.faults.push(syntax::no_anchor(&self.at(span)));
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
        self.faults.push(syntax::too_deep(&self.at(span)));
        Stop::Document { from }
    }

    /// An error of the parser, in the document that begins at `from`.
    fn syntax(&mut self, error: &ScanError, first: usize, from: usize) {
        let start = self.offsets.byte(first + error.marker().index());
        let end = next_document(self.source.text(), from);
        self.faults.push(syntax::fault(self.source, error.info(), start, end));
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
