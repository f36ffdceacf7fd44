//! Lists of events. Following them is in `watch`.

use axum::extract::State;
use orlop_api::{EventFilter, EventList};
use orlop_engine::EventQuery;

use super::{
    extract::{By, Query},
    reply::{Json, Reply},
};
use crate::service::Service;

const USUAL_LIMIT: usize = 100;
const HIGHEST_LIMIT: usize = 1000;

pub(super) async fn list(
    State(service): State<Service>,
    By(caller): By,
    Query(filter): Query<EventFilter>,
) -> Reply<Json<EventList>> {
    let asked = filter.limit.map(|limit| usize::try_from(limit).unwrap_or(HIGHEST_LIMIT));
    let limit = asked.unwrap_or(USUAL_LIMIT).clamp(1, HIGHEST_LIMIT);
    let query = EventQuery {
        after: filter.after,
        workspace: filter.workspace,
        volume: filter.volume,
        pool: filter.pool,
        severity: filter.severity,
        limit,
    };
    let after = filter.after.unwrap_or(0);
    let list = service.read(move |engine| {
        // Read before the events: what comes in between is listed now or found behind it later.
        let newest = engine.newest_event();
        let items = engine.events(&caller, &query)?;
        let cut_short = query.after.is_some() && items.len() >= limit;
        let position = position(&items, after, newest, cut_short);
        Ok(EventList { items, position })
    });
    Ok(Json(list.await?))
}

/// How far a reader has got that looked for events behind `after`, when the newest of all was
/// `newest` before it looked. With a filter that is further than the last event it got, so that
/// the position of a reader whom little concerns doesn't expire.
pub(super) fn position(
    items: &[orlop_model::resource::Event],
    after: u64,
    newest: u64,
    cut_short: bool,
) -> u64 {
    let last = items.last().map_or(after, |event| event.sequence);
    if cut_short { last } else { last.max(newest).max(after) }
}
