//! Whether what lies beside the data says all that this build would write there.

use orlop_model::Result;

use super::{Reader, Tx, meta};

const KEY: &str = "described";
/// Grows with everything that descriptions say and did not say before: 1, the names by which fronts
/// know volumes and snapshots, and what lives as long as a pod.
const NOW: &str = "1";

/// Whether all was gone through since descriptions say what they say now.
pub fn is_done(r: &Reader<'_>) -> Result<bool> {
    Ok(meta::get(r, KEY)?.as_deref() == Some(NOW))
}

/// Records that it was.
pub fn done(tx: &Tx<'_>) -> Result<()> {
    meta::set(tx, KEY, NOW)
}
