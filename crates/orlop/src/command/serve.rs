//! `orlop serve`: the daemon itself, which lives in `orlop-daemon`.

use orlop_daemon::{Config, Overrides};
use orlop_model::{Error, ErrorKind, Result};

use crate::{exit::Exit, grammar::administration::ServeArgs};

pub(super) fn run(args: ServeArgs) -> Result<Exit> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            "the daemon needs root, for it mounts filesystems",
        )
        .hint("start it with `sudo orlop serve`, or under systemd: orlop install"));
    }
    let config = Config::load(Overrides {
        config: args.config,
        state_dir: args.state_dir,
        run_dir: args.run_dir,
        mount_dir: args.mount_dir,
        csi_endpoint: args.csi_endpoint,
        csi_expand_on_node: args.csi_expand_on_node,
        node_id: args.node_id,
        kubelet_root: args.kubelet_root,
        log_format: args.log_format,
        log_filter: args.log,
    })?;
    orlop_daemon::serve(config).map(|()| Exit::Success)
}
