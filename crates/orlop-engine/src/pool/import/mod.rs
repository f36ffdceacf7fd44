//! A pool that was carried here, or whose store was lost, with all that is in it: where it is (`place`),
//! what is in it (`look`), what that is called here (`naming`, `aliases`, `rows`), and the records (`record`).
//!
//! What it holds is looked at first. What passed becomes records in one write; the rest is told of and
//! left alone. The same again goes on where an earlier attempt ended, and finds what is still missing.

mod aliases;
mod groups;
mod look;
mod naming;
mod place;
mod record;
mod rows;

use std::{collections::BTreeSet, time::Duration};

use orlop_model::{
    Error, ErrorKind, OperationId, Result, Size, VolumeId, pool_report::PoolImport, resource::Medium,
};
use orlop_sys::space;

use super::{
    confirm,
    create::{self, apart, text},
    hold::Hold,
    medium, missing, private, promise, view,
};
use crate::{
    authority, blank,
    core::Core,
    fault::{self, Point},
    format::PoolPaths,
    host::On,
    locks::{Deadline, Lock},
    request::{Caller, ImportRequest},
    running::Meter,
    store::{Intent, PoolRow, operations, pools},
};

pub(crate) use record::settle;

/// A check reads all metadata of a large filesystem. It is killed with the daemon, and after this.
const CHECK_LIMIT: Duration = Duration::from_secs(30 * 60);

/// See [`crate::Engine::import_pool`].
pub(crate) fn import(core: &Core, caller: &Caller, request: &ImportRequest) -> Result<PoolImport> {
    authority::rule_host(caller, "import pools")?;
    promise::check(request.capacity, request.overcommit)?;
    let (id, path, on) = place::locate(core, &request.place)?;
    let known = core.store.read(|r| pools::by_id(r, id))?;
    let name = match (&known, &request.name) {
        (Some(row), None) => row.name.clone(),
        (Some(row), Some(name)) if row.name == *name => row.name.clone(),
        (Some(row), Some(_)) => {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("that pool is known here, as {}", row.name),
            )
            .object(format!("pool {}", row.name))
            .hint("leave the name out to bring back what is still missing of it"));
        }
        (None, Some(name)) => name.clone(),
        (None, None) => place::default_name(core)?,
    };
    let object = format!("pool {name}");
    let _held = core.locks.take(Lock::Pool(name.clone()), Deadline::usual())?;
    let _place = core.locks.take(create::place(&path, &on), Deadline::usual())?;
    if let Some(row) = &known {
        if row.path != path {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "pool {name} is at {}, and what is at {} is a copy of it",
                    row.path.display(),
                    path.display()
                ),
            )
            .object(object)
            .hint("two pools can't have one id: remove the copy, or export the other first"));
        }
    } else if core.store.read(|r| pools::by_name(r, &name))?.is_some() {
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("there is a pool {name} already, another one"),
        )
        .object(object)
        .hint("give this one another name: --name NAME"));
    }
    let row = known.clone().unwrap_or_else(|| place::new_row(core, id, name, &path, &on, request));
    let intent = Intent::ImportPool { pool: id, path: text(&path)?.to_owned(), medium: on.clone() };
    let operation = core.operation(Some(caller), None, intent);
    let operation_id = operation.id;
    core.store.write(move |tx| operations::begin(tx, &operation))?;
    let meter = core.running.begin(operation_id, "import", &object, Some(caller));
    let taken = take_over(core, caller, row, known.is_none(), &meter, operation_id, request.capacity);
    if taken.is_err()
        && let Err(left) = settle(core, operation_id, id, &path, &on)
    {
        tracing::warn!(%left, "an import that failed is settled later");
    }
    taken
}

fn take_over(
    core: &Core,
    caller: &Caller,
    mut row: PoolRow,
    fresh: bool,
    meter: &Meter<'_>,
    operation: OperationId,
    capacity: Option<Size>,
) -> Result<PoolImport> {
    let object = format!("pool {}", row.name);
    if fresh {
        if row.medium == Medium::Directory {
            // The pool of a store that was lost is where the daemon itself made it.
            if row.path != core.state_dir.join(create::DEFAULT_DIRECTORY) {
                apart(core, &row.path)?;
            }
        } else {
            meter.phase("checking the filesystem of the pool", None);
            place::check_medium(&row, &object, meter)?;
            medium::bring(core, &row)?;
        }
    }
    fault::point(Point::PoolImportMounted)?;
    let paths = PoolPaths::new(&row.path);
    let file = place::read_marker(&row, &object)?;
    // Before anything of it is looked at: another daemon may be writing it.
    let hold = if fresh {
        let hold = Hold::default();
        hold.take(core, &row.name, &paths)?;
        Some(hold)
    } else {
        confirm(core, row.id, &row.name)?;
        None
    };
    private::close(&paths, &object)?;
    let (mut shown, found) = look::look(core, &row, &paths, meter)?;
    let rows = rows::rows(core, &row, found, &mut shown)?;
    if fresh {
        let free = space::usage(&row.path).on(&object)?.available;
        let least = rows.reserved().max(free.saturating_add(rows.allocated()));
        row.capacity = capacity.unwrap_or(Size::from_bytes(least));
        row.created_at = file.created_at;
        // Before there is a record: the next start takes what it finds there for its own.
        blank::discard(&paths, &object)?;
    }
    // What each takes for itself is not known: see `snapshot::shared`.
    let sharing: BTreeSet<VolumeId> = rows
        .snapshots
        .iter()
        .map(|row| row.volume)
        .chain(rows.volumes.iter().filter(|row| row.source.is_some()).map(|row| row.id))
        .collect();
    record::record(core, caller, &row, hold, rows)?;
    fault::point(Point::PoolImportRecorded)?;
    settle(core, operation, row.id, &row.path, &row.medium)?;
    sharing.into_iter().for_each(|id| core.signal.shares(id));
    core.signal.wake();
    let row = core.store.read(|r| pools::by_id(r, row.id))?.ok_or_else(|| missing(&row.name))?;
    let (volumes, snapshots) = (shown.volumes, shown.snapshots);
    Ok(PoolImport { pool: view(core, &row), exported: file.exported_at.is_some(), volumes, snapshots })
}
