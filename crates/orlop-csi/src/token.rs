//! Tokens of pages. They name the last entry of a page and not its number, so that they stay valid
//! whatever comes and goes between two pages, also when that entry itself goes.

use orlop_model::{Error, ErrorKind, Result};
use tonic::Code;

use crate::{
    error::{Refusal, Reply},
    request,
};

/// What a page may hold at most and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    /// `None`: all.
    pub(crate) most: Option<usize>,
    pub(crate) after: Option<String>,
}

impl Page {
    /// Checks what was asked for.
    pub(crate) fn asked(max_entries: i32, starting_token: &str) -> Result<Self> {
        let most = usize::try_from(max_entries).map_err(|_| {
            request::invalid("max_entries", format!("max_entries is {max_entries}"))
                .hint("leave it out for all entries")
        })?;
        let after = Some(starting_token).filter(|token| !token.is_empty()).map(str::to_owned);
        Ok(Self { most: Some(most).filter(|most| *most > 0), after })
    }

    /// Collects that many entries by asking for one page of the engine after the other. `page` is given
    /// how many at most and after which token.
    pub(crate) fn collect<T>(
        self,
        mut page: impl FnMut(usize, Option<String>) -> Result<orlop_engine::Page<T>>,
    ) -> Reply<(Vec<T>, String)> {
        let given = self.after.clone();
        let (mut entries, mut after) = (Vec::new(), self.after);
        loop {
            let left = self.most.map_or(0, |most| most - entries.len());
            let found = page(left, after.clone()).map_err(|error| refused(given.as_deref(), error))?;
            entries.extend(found.items);
            after = found.next;
            if after.is_none() || self.most.is_some_and(|most| entries.len() >= most) {
                return Ok((entries, after.unwrap_or_default()));
            }
        }
    }
}

/// A token of nobody is ABORTED: whoever has it is to begin again.
fn refused(given: Option<&str>, error: Error) -> Refusal {
    match (given, error.kind) {
        (Some(_), ErrorKind::InvalidArgument) => {
            let error = Error::new(error.kind, "starting_token is none that a page came with")
                .object("starting_token")
                .hint("begin again without one");
            Refusal::coded(Code::Aborted, error)
        }
        (Some(_) | None, _) => error.into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Pages of at most three of the numbers after a token.
    fn numbers(limit: usize, after: Option<String>) -> Result<orlop_engine::Page<u32>> {
        let first = match after {
            Some(text) => 1 + text.parse::<u32>().map_err(|_| request::invalid("after", "no token"))?,
            None => 0,
        };
        let limit = u32::try_from(limit).unwrap().min(3);
        let last = (first + if limit == 0 { 3 } else { limit }).min(8);
        let next = (last < 8).then(|| (last - 1).to_string());
        Ok(orlop_engine::Page { items: (first..last).collect(), next })
    }

    #[test]
    fn pages_are_as_long_as_asked_for() {
        let ask = |most: i32, token: &str| Page::asked(most, token).unwrap().collect(numbers).unwrap();
        assert_eq!(ask(0, ""), ((0..8).collect(), String::new()));
        assert_eq!(ask(5, ""), ((0..5).collect(), "4".to_owned()));
        assert_eq!(ask(5, "4"), ((5..8).collect(), String::new()));
        assert_eq!(ask(8, ""), ((0..8).collect(), String::new()));
        assert_eq!(ask(1, "6"), (vec![7], String::new()));
    }

    #[test]
    fn a_token_of_nobody_is_told_from_other_faults() {
        let refusal = Page::asked(1, "x").unwrap().collect(numbers).unwrap_err();
        assert_eq!(refusal.code(), Code::Aborted);
        assert_eq!(Page::asked(-1, "").unwrap_err().kind, ErrorKind::InvalidArgument);
    }
}
