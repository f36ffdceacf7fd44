//! Who uses volumes: the decision (`access`), doing it (`attach`, `detach`, `host_mount`, and `node` for
//! orchestrators), the paths of fronts (`publish`), what the kernel says of it (`kernel`), ids that nobody stands behind any more
//! (`stale`), and where things are mounted (`place`).

pub(crate) mod access;
pub(crate) mod attach;
pub(crate) mod detach;
pub(crate) mod host_mount;
pub(crate) mod kernel;
pub(crate) mod node;
pub(crate) mod place;
pub(crate) mod publish;
pub(crate) mod stale;
