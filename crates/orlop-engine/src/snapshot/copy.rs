//! Copies of images.

use std::{fs::File, path::Path, time::Duration};

use orlop_model::{Error, ErrorKind, Result};
use orlop_sys::{Unfinished, image, reflink};

use crate::{
    host::{On, ended},
    running::Meter,
};

/// A frozen filesystem is thawed after this, whatever happens: the copy itself takes milliseconds.
pub(crate) const SHARED_WITHIN: Duration = Duration::from_secs(10);
/// The slowest disk that a copy is expected from, in bytes a second.
const SLOWEST: u64 = 20 << 20;

/// A copy that is about to be made: both files are open, so that little is left to be done while
/// writers wait.
pub(crate) struct Copy<'a> {
    from: File,
    to: File,
    path: &'a Path,
    object: &'a str,
}

impl<'a> Copy<'a> {
    /// Opens `from` and makes the empty file `path`; what an attempt that did not end left there is
    /// replaced.
    pub(crate) fn begin(from: &Path, path: &'a Path, object: &'a str) -> Result<Self> {
        orlop_sys::durable::remove_file(path).on(object)?;
        let from = image::open_existing(from).on(object)?;
        let to = image::create(path, 0).on(object)?;
        Ok(Self { from, to, path, object })
    }

    /// Shares all blocks, at once. False where the filesystem can't, and nothing has happened.
    pub(crate) fn share(&self) -> Result<bool> {
        reflink::share(&self.from, &self.to, self.path).on(self.object)
    }

    /// The same where it is known to be possible.
    ///
    /// # Errors
    /// [`ErrorKind::Host`] where it is not any more.
    pub(crate) fn share_at_once(&self) -> Result<()> {
        if self.share()? {
            return Ok(());
        }
        let object = self.object;
        Err(Error::new(ErrorKind::Host, format!("{object}: its filesystem no longer shares blocks"))
            .object(object)
            .hint("try again"))
    }

    /// Copies what is written, and tells `meter` of it.
    pub(crate) fn write(&self, meter: &Meter<'_>) -> Result<()> {
        let space = image::space_of(&self.from).on(self.object)?;
        meter.phase("copying", Some(space.allocated));
        let told = |bytes| meter.advance(bytes).map_err(Unfinished::Stopped);
        ended(reflink::copy_sparse(&self.from, &self.to, self.path, told), self.object)
    }

    /// Flushes the copy; its directory is the caller's.
    pub(crate) fn flush(&self) -> Result<()> {
        image::sync(&self.to, self.path).on(self.object)
    }
}

/// How long a copy of so many bytes may take at most.
pub(crate) fn copied_within(bytes: u64) -> Duration {
    Duration::from_secs(60 + bytes / SLOWEST)
}
