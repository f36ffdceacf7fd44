//! Which volumes may share blocks with snapshots, or with volumes that were made of their data.

use std::collections::HashMap;

use jiff::Timestamp;
use orlop_model::{Result, VolumeId};

use super::{
    Reader,
    value::{At, Json, Word},
};

/// When what may have blocks of these volumes last took them over; those without are missing. A
/// snapshot that was seen to have all its blocks for itself shares none, and never will again.
pub fn of_volumes(r: &Reader<'_>, ids: &[VolumeId]) -> Result<HashMap<VolumeId, Timestamp>> {
    const SHARED: &str = "
        SELECT volume_id AS id, created_at AS at FROM snapshots WHERE exclusive_bytes < reserved_bytes
        UNION ALL SELECT mark.value, s.created_at FROM snapshots s, json_each(s.source, '$.marks') mark
            WHERE s.source IS NOT NULL AND s.exclusive_bytes < s.reserved_bytes
        UNION ALL SELECT mark.value, v.source ->> '$.at' FROM volumes v, json_each(v.source, '$.marks') mark
            WHERE v.source IS NOT NULL";
    let mut last = HashMap::new();
    if ids.is_empty() {
        return Ok(last);
    }
    let sql = format!("SELECT id, at FROM ({SHARED}) WHERE id IN (SELECT value FROM json_each(?1))");
    let rows = r.all("list what shares blocks", &sql, [Json(&ids)], |row| {
        Ok((row.get::<_, Word<_>>(0)?.0, row.get::<_, At>(1)?.0))
    })?;
    for (id, at) in rows {
        last.entry(id).and_modify(|last: &mut Timestamp| *last = at.max(*last)).or_insert(at);
    }
    Ok(last)
}
