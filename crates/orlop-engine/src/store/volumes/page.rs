//! Pages of volumes. A page begins after a key, not at an offset, so that its token stays valid
//! whatever is added or deleted in between.

use orlop_model::{
    Error, ErrorKind, Result, VolumeId, VolumeName, WorkspaceName,
    resource::{Front, VolumeState},
};
use rusqlite::{ToSql, params_from_iter};

use super::{SELECT, VolumeRow, row};
use crate::{
    request::{Order, Page, VolumeQuery},
    store::{
        Reader,
        value::{Json, Word},
    },
};

/// No page is longer.
const LONGEST: usize = 1000;

/// One page of the volumes that `query` asks for.
/// [`ErrorKind::InvalidArgument`] where its token is none of ours.
pub fn page(r: &Reader<'_>, query: &VolumeQuery) -> Result<Page<VolumeRow>> {
    let limit = if query.limit == 0 { LONGEST } else { query.limit.min(LONGEST) };
    let after = query.after.as_deref().map(|text| Token::parse(query.order, text)).transpose()?;
    // One more than asked for tells whether there is a next page.
    let (sql, values) = statement(query, after.as_ref(), limit + 1);
    let mut items = r.all("list volumes", &sql, params_from_iter(values), row)?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| Token::of(query.order, last).to_string());
    Ok(Page { items, next })
}

/// How SQLite would read the page.
#[cfg(test)]
pub(in crate::store) fn plan_of_page(r: &Reader<'_>, query: &VolumeQuery) -> Result<Vec<String>> {
    let after = query.after.as_deref().map(|text| Token::parse(query.order, text)).transpose()?;
    let (sql, values) = statement(query, after.as_ref(), 1);
    r.all("explain", &format!("EXPLAIN QUERY PLAN {sql}"), params_from_iter(values), |row| row.get(3))
}

fn statement<'q>(
    query: &'q VolumeQuery,
    after: Option<&'q Token>,
    limit: usize,
) -> (String, Vec<Box<dyn ToSql + 'q>>) {
    let released = query.released || query.state == Some(VolumeState::Released);
    // Only fixed fragments become SQL; what was asked for becomes values.
    let mut terms: Vec<&str> =
        vec![if released { "v.released_at IS NOT NULL" } else { "v.released_at IS NULL" }];
    let mut values: Vec<Box<dyn ToSql + 'q>> = Vec::new();
    if let Some(workspace) = &query.workspace {
        terms.push("v.workspace = ?");
        values.push(Box::new(workspace.as_str()));
    }
    if let Some(name) = &query.name {
        terms.push("v.name = ?");
        values.push(Box::new(name.as_str()));
    }
    if let Some(uid) = query.owner_uid {
        terms.push("v.owner_uid = ?");
        values.push(Box::new(uid));
    }
    if let Some(state) = &query.state {
        // The sign keeps SQLite from taking the index of states, which has another order.
        terms.push("+v.state = ?");
        values.push(Box::new(Word(state)));
    }
    if let Some(pool) = &query.pool {
        terms.push("p.pool_id = (SELECT id FROM pools WHERE name = ?)");
        values.push(Box::new(pool.as_str()));
    }
    if let Some(set) = &query.applied_set {
        terms.push("+v.created_by = ?");
        values.push(Box::new(Word(&Front::Manifest)));
        terms.push("+v.applied_set = ?");
        values.push(Box::new(set.as_str()));
    }
    for tag in &query.tags {
        // Most volumes don't even hold the text, which is seen without parsing their manifests.
        terms.push("instr(v.manifest, ?) > 0");
        values.push(Box::new(Json(tag)));
        terms.push("EXISTS (SELECT 1 FROM json_each(v.manifest, '$.tags') t WHERE t.value = ?)");
        values.push(Box::new(tag.as_str()));
    }
    match after {
        Some(Token::Name { workspace, name, id }) => {
            terms.push("(v.workspace, v.name, v.id) > (?, ?, ?)");
            values.push(Box::new(workspace.as_str()));
            values.push(Box::new(name.as_str()));
            values.push(Box::new(Word(id)));
        }
        Some(Token::Id(id)) => {
            terms.push("v.id > ?");
            values.push(Box::new(Word(id)));
        }
        None => {}
    }
    values.push(Box::new(limit));
    let order = match query.order {
        Order::ByName => "v.workspace, v.name, v.id",
        Order::ById => "v.id",
    };
    let sql = format!("{SELECT} WHERE {} ORDER BY {order} LIMIT ?", terms.join(" AND "));
    (sql, values)
}

/// The key of the last volume of a page.
enum Token {
    /// Names have no dot, so that a dot can part them.
    Name {
        workspace: WorkspaceName,
        name: VolumeName,
        id: VolumeId,
    },
    Id(VolumeId),
}

impl Token {
    fn of(order: Order, row: &VolumeRow) -> Self {
        match order {
            Order::ByName => {
                Self::Name { workspace: row.workspace.clone(), name: row.manifest.name.clone(), id: row.id }
            }
            Order::ById => Self::Id(row.id),
        }
    }

    fn parse(order: Order, text: &str) -> Result<Self> {
        let parse = || match order {
            Order::ByName => {
                let mut parts = text.splitn(3, '.');
                Some(Self::Name {
                    workspace: parts.next()?.parse().ok()?,
                    name: parts.next()?.parse().ok()?,
                    id: parts.next()?.parse().ok()?,
                })
            }
            Order::ById => text.parse().ok().map(Self::Id),
        };
        parse().ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("{text:?} is no token of a page"))
                .object("after")
                .hint("pass the token that the page before came with, unchanged")
        })
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name { workspace, name, id } => write!(f, "{workspace}.{name}.{id}"),
            Self::Id(id) => write!(f, "{id}"),
        }
    }
}
