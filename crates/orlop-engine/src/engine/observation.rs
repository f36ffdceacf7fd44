//! How volumes stand, and what can be done about it.

use orlop_model::{Result, UsageSample, resource::VolumeCheck};

use super::Engine;
use crate::{
    observation::usage,
    request::{Caller, CheckRequest, VolumeRef},
    volume::fsck,
};

impl Engine {
    /// The use of a volume over the last day, and now where it is mounted; oldest first.
    pub fn volume_usage(&self, _: &Caller, which: &VolumeRef) -> Result<Vec<UsageSample>> {
        usage::of_last_day(self.core(), which)
    }

    /// Checks the filesystem of a volume that nobody uses, and with `repair` (root only) repairs it on
    /// a copy. A volume in `error` whose filesystem is whole is active again. Long work.
    pub fn check(&self, caller: &Caller, which: &VolumeRef, request: CheckRequest) -> Result<VolumeCheck> {
        self.told("check", caller, "check", which, |core| fsck::check(core, caller, which, request))
    }
}
