//! Which loop device an image had last: where it is looked for first. A hint and no more, since devices are
//! given to others: whoever uses it asks the device.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use crate::identity::FileIdentity;

static LAST: LazyLock<Mutex<HashMap<FileIdentity, u32>>> = LazyLock::new(Mutex::default);

fn last() -> MutexGuard<'static, HashMap<FileIdentity, u32>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of the device.
pub(super) fn known(identity: FileIdentity) -> Option<u32> {
    last().get(&identity).copied()
}

/// Notes which one it has, or that it has none.
pub(super) fn note(identity: FileIdentity, number: Option<u32>) {
    match number {
        Some(number) => last().insert(identity, number),
        None => last().remove(&identity),
    };
}
