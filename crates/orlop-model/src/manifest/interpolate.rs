//! `$NAME` and `${NAME}` inside the values of a parsed document: never in keys, never in the text
//! that is parsed, and what comes in is neither parsed nor interpolated again.

use std::{ops::Range, sync::Arc};

use super::{
    diagnostic::{Diagnostic, Faults},
    limits::MAX_TEXT,
    source::{At, Source, Span},
    tree::{Kind, Node, Scalar},
};

/// Finds the value of a variable; `None` where it is not set.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Writes a text so that interpolation gives it back: every `$` twice.
pub fn escape(text: &str) -> String {
    text.replace('$', "$$")
}

/// What is wrong with a `$`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    Unset(String),
    Lone,
    /// A `${` that no name and `}` follow.
    Malformed,
    /// `${{…}}`, which a template tool should have filled in.
    Placeholder,
    /// What the variables bring in is beyond [`MAX_TEXT`].
    TooMuch,
}

/// Interpolates one text into at most `room` bytes. On faults, all of them with their byte ranges in `text`.
fn interpolate(
    text: &str,
    lookup: Option<&Lookup<'_>>,
    room: usize,
) -> Result<String, Vec<(Range<usize>, Fault)>> {
    let mut result = String::with_capacity(text.len());
    let mut faults = Vec::new();
    let mut place = 0;
    while let Some(rest) = text.get(place..).filter(|rest| !rest.is_empty()) {
        let Some(dollar) = rest.find('$') else {
            result.push_str(rest);
            break;
        };
        let (before, rest) = rest.split_at(dollar);
        result.push_str(before);
        place += dollar;
        let after = rest.get(1..).unwrap_or_default();
        let mut fault = |length: usize, fault| {
            faults.push((place..place + length, fault));
            length
        };
        place += if after.starts_with("{{") {
            let end = rest.find("}}").map_or(rest.trim_end().len(), |end| end + 2);
            fault(end, Fault::Placeholder)
        } else if lookup.is_none() {
            result.push('$');
            1
        } else if after.starts_with('$') {
            result.push('$');
            2
        } else {
            let (name, length) = match after.strip_prefix('{') {
                Some(inner) => braced(inner),
                None => {
                    let name = after.get(..name_length(after)).unwrap_or_default();
                    (name, name.len() + 1)
                }
            };
            match lookup.filter(|_| !name.is_empty()).and_then(|lookup| lookup(name)) {
                Some(value) if result.len() + value.len() > room => {
                    fault(length, Fault::TooMuch);
                    break;
                }
                Some(value) => {
                    result.push_str(&value);
                    length
                }
                None if !name.is_empty() => fault(length, Fault::Unset(name.to_owned())),
                None if after.starts_with('{') => fault(length, Fault::Malformed),
                None => fault(1, Fault::Lone),
            }
        };
    }
    if faults.is_empty() { Ok(result) } else { Err(faults) }
}

/// The name in front of a `}`, empty where there is none, and the bytes to pass over, `${` included.
fn braced(inner: &str) -> (&str, usize) {
    let (name, rest) = inner.split_at(name_length(inner));
    if !name.is_empty() && rest.starts_with('}') {
        return (name, name.len() + 3);
    }
    // To be shown as one; what is far away belongs to something else.
    let end = rest.bytes().take(100).take_while(|byte| *byte != b'\n').position(|byte| byte == b'}');
    ("", end.map_or(2, |end| name.len() + end + 3))
}

/// Bytes of the name at the start of a text: a letter or `_`, then letters, digits and `_`.
fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// Interpolates the scalars of documents, within one budget for what comes in.
pub(crate) struct Interpolator<'a> {
    source: &'a Arc<Source>,
    /// None where interpolation is turned off.
    lookup: Option<&'a Lookup<'a>>,
    /// How many more bytes the scalars of the file may become.
    room: usize,
}

impl<'a> Interpolator<'a> {
    pub(crate) fn new(source: &'a Arc<Source>, lookup: Option<&'a Lookup<'a>>) -> Self {
        Self { source, lookup, room: MAX_TEXT }
    }

    /// Interpolates every value inside `node`. A scalar with a fault is marked, and its faults returned.
    pub(crate) fn node(&mut self, node: &mut Node, faults: &mut Faults) {
        match &mut node.kind {
            Kind::Scalar(scalar) => self.scalar(scalar, node.span, faults),
            Kind::List(nodes) => nodes.iter_mut().for_each(|node| self.node(node, faults)),
            Kind::Mapping(entries) => {
                entries.iter_mut().for_each(|entry| self.node(&mut entry.value, faults))
            }
        }
    }

    fn scalar(&mut self, scalar: &mut Scalar, span: Span, faults: &mut Faults) {
        if scalar.faulty || !scalar.text.contains('$') {
            return;
        }
        match interpolate(&scalar.text, self.lookup, self.room) {
            Ok(text) => {
                self.room = self.room.saturating_sub(text.len());
                if *text != *scalar.text {
                    scalar.text = Arc::from(text);
                    scalar.interpolated = true;
                }
            }
            Err(found) => {
                scalar.faulty = true;
                let mut dollars = Dollars::new(self.source.text(), span, &scalar.text);
                for (range, fault) in found {
                    let at = self.at(dollars.find(&range));
                    faults.push(fault.diagnostic(&at));
                }
            }
        }
    }

    fn at(&self, span: Span) -> At {
        At { source: Arc::clone(self.source), span }
    }
}

impl Fault {
    fn diagnostic(self, at: &At) -> Diagnostic {
        match self {
            Self::Unset(name) => {
                Diagnostic::error("unset-variable", format!("the variable {name} is not set"))
                    .at(at, "not set")
                    .help(format!(
                        "set it in the environment, write `$$` for a literal `$`, or use --disable-interpolation: `{name}=… orlop apply …`"
                    ))
            }
            Self::Lone => Diagnostic::error("malformed-variable", "a `$` is followed by no variable name")
                .at(at, "no name follows")
                .help("write `$$` for a literal `$`, or use --disable-interpolation"),
            Self::Malformed => Diagnostic::error("malformed-variable", "a `${` is not followed by a name and `}`")
                .at(at, "not a variable")
                .help("write `${NAME}` with letters, digits and `_` only (defaults such as `${NAME:-x}` are not supported), or `$$` for a literal `$`"),
            Self::TooMuch => {
                Diagnostic::error("too-complex", format!("the variables bring in more than {MAX_TEXT} bytes"))
                    .at(at, "the limit is reached here")
                    .help("use fewer or shorter variables")
            }
            Self::Placeholder => Diagnostic::error("placeholder", "a template placeholder was not filled in")
                .at(at, "left over")
                .help("replace all of it, `${{` and `}}` included, by the value"),
        }
    }
}

/// Where the `$`s of a scalar stand in the source: its n-th there is its n-th in the value, unless
/// some are written as escapes.
struct Dollars<'a> {
    span: Span,
    places: Vec<usize>,
    value: &'a str,
    /// How many `$`s of the value come before `passed`: faults are looked up in their order.
    before: usize,
    passed: usize,
}

impl<'a> Dollars<'a> {
    fn new(text: &str, span: Span, value: &'a str) -> Self {
        let raw = text.get(span.start..span.end).unwrap_or_default();
        let places: Vec<usize> = raw.match_indices('$').map(|(place, _)| span.start + place).collect();
        let same = places.len() == value.matches('$').count();
        Self { span, places: if same { places } else { Vec::new() }, value, before: 0, passed: 0 }
    }

    fn find(&mut self, range: &Range<usize>) -> Span {
        let between = self.value.get(self.passed..range.start).unwrap_or_default();
        self.before += between.matches('$').count();
        self.passed = range.start;
        match self.places.get(self.before) {
            Some(start) => Span { start: *start, end: (start + range.len()).min(self.span.end.max(*start)) },
            None => self.span,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<String, Vec<(Range<usize>, Fault)>> {
        let lookup = |name: &str| match name {
            "A" => Some("a".to_owned()),
            "_B1" => Some("$A ${{x}} $$".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        interpolate(text, Some(&lookup), 1000)
    }

    #[test]
    fn variables_are_replaced_once() {
        for (text, expected) in [
            ("", ""),
            ("plain ä", "plain ä"),
            ("$A", "a"),
            ("${A}", "a"),
            ("x$A-y${A}z", "xa-yaz"),
            ("$$A", "$A"),
            ("$$$A", "$a"),
            ("$$$$", "$$"),
            ("$$${A}", "$a"),
            ("$$${{A}}", "$"),
            ("${_B1}", "$A ${{x}} $$"),
            ("[$EMPTY]", "[]"),
        ] {
            if text == "$$${{A}}" {
                assert_eq!(with(text), Err(vec![(2..8, Fault::Placeholder)]));
            } else {
                assert_eq!(with(text).as_deref(), Ok(expected), "{text}");
            }
        }
        assert_eq!(with("$${{A}}").as_deref(), Ok("${{A}}"));
    }

    #[test]
    fn every_fault_has_its_range() {
        let unset = |name: &str| Fault::Unset(name.to_owned());
        for (text, expected) in [
            ("$", vec![(0..1, Fault::Lone)]),
            ("5 $ or $5", vec![(2..3, Fault::Lone), (7..8, Fault::Lone)]),
            ("a $X b ${YY}", vec![(2..4, unset("X")), (7..12, unset("YY"))]),
            ("${", vec![(0..2, Fault::Malformed)]),
            ("${}", vec![(0..3, Fault::Malformed)]),
            ("${A", vec![(0..2, Fault::Malformed)]),
            ("${A\n}", vec![(0..2, Fault::Malformed)]),
            ("${ä}", vec![(0..5, Fault::Malformed)]),
            ("${A:-b}c", vec![(0..7, Fault::Malformed)]),
            ("${1A}", vec![(0..5, Fault::Malformed)]),
            ("x-${{ name }}-y", vec![(2..13, Fault::Placeholder)]),
            ("${{ name", vec![(0..8, Fault::Placeholder)]),
        ] {
            assert_eq!(with(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn turned_off_only_placeholders_are_found() {
        assert_eq!(interpolate("$A $$ ${ $", None, 0).as_deref(), Ok("$A $$ ${ $"));
        assert_eq!(interpolate("${{x}}", None, 0), Err(vec![(0..6, Fault::Placeholder)]));
    }

    proptest::proptest! {
        #[test]
        fn escape_is_undone(text in "\\PC*") {
            proptest::prop_assert_eq!(with(&escape(&text)), Ok(text));
        }

        #[test]
        fn never_panics(text in "[$ {}A_ä0\n]*") {
            let _ = with(&text);
            let _ = interpolate(&text, None, 0);
        }
    }
}
