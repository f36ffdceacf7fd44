//! Pools: making, checking and growing them, their way here and away, and what is brought into one.

use std::path::Path;

use orlop_model::{
    PoolName, Result,
    pool_report::{PoolCheck, PoolImport},
    resource::{Pool, Volume},
};

use super::Engine;
use crate::{authority, events::About, pool, request::*, volume::adopt};

impl Engine {
    /// Makes a pool (root only).
    pub fn create_pool(&self, caller: &Caller, request: &PoolRequest) -> Result<Applied<Pool>> {
        self.noted("pool.create", caller, "create of the pool", About::Pool(&request.name), |core| {
            pool::create::create(core, caller, request)
        })
    }

    /// What a block device holds and who uses it (root only).
    pub fn device(&self, caller: &Caller, path: &Path) -> Result<DeviceReport> {
        self.run("pool.device", |_| {
            authority::rule_host(caller, "look at devices")?;
            pool::medium_format::look_at(path)
        })
    }

    /// Removes an empty pool, and what it was on where that was made for it (root only).
    pub fn remove_pool(&self, caller: &Caller, name: &PoolName) -> Result<()> {
        self.noted("pool.remove", caller, "remove of the pool", About::Pool(name), |core| {
            pool::remove::remove(core, caller, name)
        })
    }

    /// Compares a pool with its records, and mends what is safe when asked (root only).
    pub fn check_pool(&self, caller: &Caller, name: &PoolName, repair: bool) -> Result<PoolCheck> {
        self.noted("pool.check", caller, "check of the pool", About::Pool(name), |core| {
            pool::check::check(core, caller, name, repair)
        })
    }

    /// Brings a pool here with all that is in it (root only).
    pub fn import_pool(&self, caller: &Caller, request: &ImportRequest) -> Result<PoolImport> {
        let about = request.name.as_ref().map_or(About::Nothing, About::Pool);
        self.noted("pool.import", caller, "import of a pool", about, |core| {
            pool::import::import(core, caller, request)
        })
    }

    /// Makes a persistent volume out of a directory tree, which stays (root only).
    pub fn adopt(&self, caller: &Caller, request: &AdoptRequest) -> Result<Applied<Volume>> {
        let key = VolumeKey { workspace: request.workspace.clone(), name: request.name.clone() };
        let what = format!("adopt of {}", request.source.display());
        self.told("volume.adopt", caller, &what, &VolumeRef::Key(key), |core| {
            adopt::adopt(core, caller, request)
        })
    }

    /// Lets a pool grow, while it is used (root only).
    pub fn grow_pool(
        &self,
        caller: &Caller,
        name: &PoolName,
        request: &GrowRequest,
    ) -> Result<Applied<Pool>> {
        self.noted("pool.grow", caller, "grow of the pool", About::Pool(name), |core| {
            pool::grow::grow(core, caller, name, request)
        })
    }

    /// Forgets a pool and what is in it; its data stays, ready to be imported anywhere (root only).
    pub fn export_pool(&self, caller: &Caller, name: &PoolName) -> Result<Exported> {
        self.noted("pool.export", caller, "export of the pool", About::Pool(name), |core| {
            pool::remove::export(core, caller, name)
        })
    }

    /// One pool.
    pub fn pool(&self, _: &Caller, name: &PoolName) -> Result<Pool> {
        pool::show(self.core(), name)
    }

    /// All pools.
    pub fn pools(&self, _: &Caller) -> Result<Vec<Pool>> {
        pool::list(self.core())
    }
}
