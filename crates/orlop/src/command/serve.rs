//! `orlop serve`: the daemon itself, which lives in `orlop-daemon`.

use orlop_daemon::{Config, Overrides};
use orlop_model::Result;

use crate::{exit::Exit, grammar::administration::ServeArgs};

pub(super) fn run(args: ServeArgs) -> Result<Exit> {
    let config = Config::load(Overrides {
        config: args.config,
        state_dir: args.state_dir,
        run_dir: args.run_dir,
        mount_dir: args.mount_dir,
        log_format: args.log_format,
        log_filter: args.log,
    })?;
    orlop_daemon::serve(config).map(|()| Exit::Success)
}
