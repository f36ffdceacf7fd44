//! When the snapshot schedules of volumes are due.

use jiff::Timestamp;
use orlop_model::{Result, VolumeId};
use rusqlite::params;

use super::{
    Reader, Tx,
    value::{At, Word},
};

/// A live volume with a schedule, and when that is due, if it was recorded for this very schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRow {
    /// The volume.
    pub volume: VolumeId,
    /// When it is due; `None` for a schedule that is new or was changed.
    pub due_at: Option<Timestamp>,
}

/// All volumes with a schedule. Costs those, not all volumes.
pub fn all(r: &Reader<'_>) -> Result<Vec<ScheduleRow>> {
    let sql = "SELECT v.id, s.due_at FROM volumes v INDEXED BY volumes_scheduled
        LEFT JOIN snapshot_schedules s ON s.volume_id = v.id AND s.schedule = v.snapshot_schedule
        WHERE v.snapshot_schedule IS NOT NULL AND v.released_at IS NULL";
    r.all("list schedules", sql, [], |row| {
        let due_at = row.get::<_, Option<At>>(1)?.map(|at| at.0);
        Ok(ScheduleRow { volume: row.get::<_, Word<_>>(0)?.0, due_at })
    })
}

/// Records when the schedule that the volume has now is due next. Of a volume without one, nothing.
pub fn set(tx: &Tx<'_>, volume: VolumeId, due_at: Timestamp) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO snapshot_schedules (volume_id, node, schedule, due_at)
        SELECT id, ?2, snapshot_schedule, ?3 FROM volumes WHERE id = ?1 AND snapshot_schedule IS NOT NULL";
    tx.execute("record a schedule", sql, params![Word(&volume), tx.node(), At(due_at)]).map(drop)
}
