//! Tables: the columns of DataOS, separated by bars, so that a row's first four cells can be given
//! to `-i` again.

use comfy_table::{Cell, Color, ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle};
use jiff::Timestamp;
use orlop_model::{
    MANIFEST_VERSION, Size,
    resource::{
        Capacity, Event, Operation, Pool, PoolState, Severity, Snapshot, SnapshotState, Volume, VolumeState,
        Workspace,
    },
};

use super::{Console, plain, progress, quantity};

/// Bars between columns and a line below the header; nothing around.
const LINES: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none().junction('|'))
    .header_separator(LineStyle::none().fill('-').junction('|'))
    .content_lines(ContentLineStyle::none().junction('|'));

/// A table to be filled.
fn table(console: &Console, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(LINES).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    if console.colour() {
        table.enforce_styling()
    } else {
        table.force_no_tty()
    };
    table
}

fn lines(table: &Table) -> String {
    table.trim_fmt()
}

/// Which columns a table of volumes has beyond the seven of DataOS.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Columns {
    /// SIZE to AGE.
    pub(crate) wide: bool,
    /// TAGS.
    pub(crate) tags: bool,
    /// SIZE, DELETED, BY and ID, for deleted ones.
    pub(crate) released: bool,
}

/// Volumes, a row each.
pub(crate) fn volumes(console: &Console, volumes: &[Volume], columns: Columns, now: Timestamp) -> String {
    let mut header = vec!["NAME", "VERSION", "TYPE", "WORKSPACE", "STATUS", "RUNTIME", "OWNER"];
    if columns.wide {
        header.extend(["SIZE", "USED", "ACCESS", "KIND", "NODE", "POOL", "ATTACHED", "AGE"]);
    }
    if columns.released {
        header.extend(if columns.wide {
            &["DELETED", "BY", "ID"][..]
        } else {
            &["SIZE", "DELETED", "BY", "ID"]
        });
    }
    if columns.tags {
        header.push("TAGS");
    }
    let mut table = table(console, &header);
    for volume in volumes {
        let manifest = &volume.manifest;
        let status = &volume.status;
        let mut row = vec![
            Cell::new(&manifest.name),
            Cell::new(MANIFEST_VERSION),
            Cell::new("volume"),
            Cell::new(&volume.workspace),
            Cell::new(status.state.as_str()).fg(colour(status.state)),
            Cell::new(runtime(volume)),
            Cell::new(owner(volume)),
        ];
        if columns.wide {
            row.extend([
                Cell::new(size(volume)),
                Cell::new(status.used_bytes.map_or_else(|| "-".to_owned(), quantity::bytes)),
                Cell::new(volume.access_mode().short()),
                Cell::new(manifest.volume.volume_type),
                Cell::new(plain(&status.node)),
                Cell::new(&status.pool),
                Cell::new(status.attachments.iter().filter(|attachment| !attachment.staged).count()),
                Cell::new(quantity::age(status.created_at, now)),
            ]);
        }
        if columns.released {
            if !columns.wide {
                row.push(Cell::new(size(volume)));
            }
            let ago = status.deleted_at.map(|at| format!("{} ago", quantity::age(at, now)));
            row.extend([
                Cell::new(ago.unwrap_or_default()),
                Cell::new(deleted_by(volume).unwrap_or_default()),
                Cell::new(status.id),
            ]);
        }
        if columns.tags {
            row.push(Cell::new(plain(&manifest.tags.join(", "))));
        }
        table.add_row(row);
    }
    lines(&table)
}

/// Whether somebody uses the volume now.
fn runtime(volume: &Volume) -> String {
    let left = volume.status.wipe.and_then(|wipe| wipe.left_seconds);
    match (volume.status.state, left) {
        (VolumeState::Active | VolumeState::Deleting, _) if !volume.status.attachments.is_empty() => {
            "attached".to_owned()
        }
        (VolumeState::Active, Some(left)) => format!("wiped in {}", quantity::seconds(left)),
        (VolumeState::Active, None) => "idle".to_owned(),
        (VolumeState::Pending | VolumeState::Deleting | VolumeState::Released | VolumeState::Error, _) => {
            String::new()
        }
    }
}

/// Who deleted it, by name where the daemon's host knows one.
pub(crate) fn deleted_by(volume: &Volume) -> Option<String> {
    let status = &volume.status;
    status.deleted_by.map(|id| status.deleted_by_name.as_deref().map_or_else(|| uid(id), plain))
}

/// The label of the manifest; the uid where there is none.
pub(crate) fn owner(volume: &Volume) -> String {
    match &volume.manifest.owner {
        Some(owner) => plain(owner),
        None => uid(volume.status.owner_uid),
    }
}

/// How a user id is shown.
pub(crate) fn uid(uid: u32) -> String {
    if uid == 0 { "root".to_owned() } else { format!("uid {uid}") }
}

fn size(volume: &Volume) -> String {
    let size = volume.manifest.volume.size;
    match volume.status.capacity {
        Capacity::Hard => size.to_string(),
        Capacity::Advisory { .. } => format!("{size} (advisory)"),
    }
}

fn colour(state: VolumeState) -> Color {
    match state {
        VolumeState::Active => Color::Green,
        VolumeState::Pending | VolumeState::Deleting => Color::Yellow,
        VolumeState::Released => Color::Blue,
        VolumeState::Error => Color::Red,
    }
}

/// Workspaces, a row each.
pub(crate) fn workspaces(console: &Console, workspaces: &[Workspace], wide: bool, now: Timestamp) -> String {
    let mut header =
        vec!["NAME", "VERSION", "TYPE", "WORKSPACE", "STATUS", "RUNTIME", "OWNER", "VOLUMES", "SIZE"];
    if wide {
        header.extend(["GRANTS", "AGE"]);
    }
    let mut table = table(console, &header);
    for workspace in workspaces {
        let mut row = vec![
            Cell::new(&workspace.name),
            Cell::new(MANIFEST_VERSION),
            Cell::new("workspace"),
            Cell::new(""),
            Cell::new("active").fg(Color::Green),
            Cell::new(""),
            Cell::new(uid(workspace.owner_uid)),
            Cell::new(held(workspace.volumes, workspace.released, workspace.volume_limit, |n| n.to_string())),
            Cell::new(held(
                workspace.size.bytes(),
                workspace.released_size.bytes(),
                workspace.size_limit.map(Size::bytes),
                quantity::bytes,
            )),
        ];
        if wide {
            let grants: Vec<String> = workspace.grants.iter().map(|uid| uid.to_string()).collect();
            row.extend([Cell::new(grants.join(", ")), Cell::new(quantity::age(workspace.created_at, now))]);
        }
        table.add_row(row);
    }
    lines(&table)
}

/// What a workspace holds; where it has a limit, all that counts against it, as in `3/20`.
fn held(live: u64, released: u64, limit: Option<u64>, shown: impl Fn(u64) -> String) -> String {
    match limit {
        Some(limit) => format!("{}/{}", shown(live.saturating_add(released)), shown(limit)),
        None => shown(live),
    }
}

/// Snapshots, a row each.
pub(crate) fn snapshots(console: &Console, snapshots: &[Snapshot], wide: bool, now: Timestamp) -> String {
    let mut header =
        vec!["NAME", "VERSION", "TYPE", "WORKSPACE", "STATUS", "VOLUME", "GROUP", "SIZE", "OWN", "AGE"];
    if wide {
        header.extend(["RESERVED", "MADE BY", "POOL", "EXPIRES"]);
    }
    let mut table = table(console, &header);
    for snapshot in snapshots {
        let status = &snapshot.status;
        let mut row = vec![
            Cell::new(&snapshot.manifest.name),
            Cell::new(MANIFEST_VERSION),
            Cell::new("snapshot"),
            Cell::new(&snapshot.workspace),
            Cell::new(status.state.as_str()).fg(match status.state {
                SnapshotState::Active => Color::Green,
                SnapshotState::Pending | SnapshotState::Deleting => Color::Yellow,
                SnapshotState::Error => Color::Red,
            }),
            Cell::new(&snapshot.manifest.snapshot.volume),
            Cell::new(status.group.as_ref().map_or("-", |group| group.name.as_str())),
            Cell::new(quantity::size(status.size)),
            Cell::new(quantity::size(status.exclusive)),
            Cell::new(quantity::age(status.created_at, now)),
        ];
        if wide {
            row.extend([
                Cell::new(quantity::size(status.reserved)),
                Cell::new(if status.scheduled { "schedule".to_owned() } else { uid(status.owner_uid) }),
                Cell::new(&status.pool),
                Cell::new(status.expires_at.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"))),
            ]);
        }
        table.add_row(row);
    }
    lines(&table)
}

/// Pools, a row each.
pub(crate) fn pools(console: &Console, pools: &[Pool], wide: bool, now: Timestamp) -> String {
    let mut header = vec![
        "NAME",
        "VERSION",
        "TYPE",
        "WORKSPACE",
        "STATUS",
        "CAPACITY",
        "RESERVED",
        "AVAILABLE",
        "VOLUMES",
        "PATH",
    ];
    if wide {
        header.extend(["OVERCOMMIT", "ALLOCATED", "HOST FREE", "LOW WATER", "HOST FS", "AGE"]);
    }
    let mut table = table(console, &header);
    for pool in pools {
        let (word, colour) = match (pool.state, &pool.capacity_status) {
            (PoolState::Missing, _) => ("missing", Color::Red),
            (PoolState::Full, _) => ("full", Color::Red),
            (PoolState::Low, _) => ("low", Color::Yellow),
            (PoolState::Ready, Capacity::Advisory { .. }) => ("advisory", Color::Yellow),
            (PoolState::Ready, Capacity::Hard) => ("hard", Color::Green),
        };
        let status = Cell::new(word).fg(colour);
        let mut row = vec![
            Cell::new(&pool.name),
            Cell::new(MANIFEST_VERSION),
            Cell::new("pool"),
            Cell::new(""),
            status,
            Cell::new(quantity::size(pool.capacity)),
            Cell::new(quantity::size(pool.reserved)),
            Cell::new(quantity::size(pool.available)),
            Cell::new(pool.volumes),
            Cell::new(&pool.path),
        ];
        if wide {
            // Nothing is known of the disk of a pool that is not there.
            let of_disk = |said: String| match pool.state {
                PoolState::Ready | PoolState::Low | PoolState::Full => said,
                PoolState::Missing => "-".to_owned(),
            };
            row.extend([
                Cell::new(pool.overcommit),
                Cell::new(quantity::size(pool.allocated)),
                Cell::new(of_disk(quantity::size(pool.host_free))),
                Cell::new(of_disk(quantity::size(pool.low_water))),
                Cell::new(of_disk(pool.host_filesystem.clone())),
                Cell::new(quantity::age(pool.created_at, now)),
            ]);
        }
        table.add_row(row);
    }
    lines(&table)
}

/// Long work, a row each.
pub(crate) fn operations(console: &Console, operations: &[Operation], wide: bool, now: Timestamp) -> String {
    let mut header = vec!["ID", "OPERATION", "OBJECT", "PROGRESS", "AGE"];
    if wide {
        header.push("BY");
    }
    let mut table = table(console, &header);
    for operation in operations {
        let progress = progress::describe(operation, now);
        let mut row = vec![
            Cell::new(operation.id),
            Cell::new(&operation.kind),
            Cell::new(plain(&operation.object)),
            Cell::new(if operation.stopping { format!("stopping; {progress}") } else { progress }),
            Cell::new(quantity::age(operation.started_at, now)),
        ];
        if wide {
            row.push(Cell::new(operation.actor_uid.map_or_else(|| "the daemon".to_owned(), uid)));
        }
        table.add_row(row);
    }
    lines(&table)
}

/// Events, a line each. They come one by one, so the columns have fixed widths and no header. The
/// message names what it is about.
pub(crate) fn event(event: &Event, wide: bool) -> String {
    let severity = match event.severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let at = event.at.strftime("%Y-%m-%dT%H:%M:%SZ");
    let mut line = format!("{at}  {severity:<7}  {:<18}  {}", event.reason, plain(&event.message));
    if wide {
        let by = event.actor_uid.map_or_else(|| "the daemon".to_owned(), uid);
        let through = event.front.map_or_else(String::new, |front| format!(" through {}", front.as_str()));
        line.push_str(&format!("  (by {by}{through}, event {})", event.sequence));
    }
    line
}
