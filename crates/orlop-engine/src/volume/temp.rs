//! Temp volumes: when their data is wiped.

use orlop_model::{Period, VolumeSpec};

/// What a volume of that manifest gets, where `usual` is what holds without a word.
pub(crate) fn recorded(spec: &VolumeSpec, usual: Period) -> Period {
    if spec.volume_type.retains() { Period::Never } else { spec.temp_grace_period.unwrap_or(usual) }
}
