//! How volumes stand.

use orlop_model::{Result, UsageSample};

use super::Engine;
use crate::{
    observation::usage,
    request::{Caller, VolumeRef},
};

impl Engine {
    /// The use of a volume over the last day, and now where it is mounted; oldest first.
    pub fn volume_usage(&self, _: &Caller, which: &VolumeRef) -> Result<Vec<UsageSample>> {
        usage::of_last_day(self.core(), which)
    }
}
