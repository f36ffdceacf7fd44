//! What each command does: one module a command, behind one entry.

mod administration;
mod apply;
mod delete;
mod events;
mod get;
mod lifecycle;
mod live;
mod operation;
mod plan;
mod pool;
mod schedule;
mod serve;
mod snapshot;
mod volume;

use std::{ffi::OsString, io::Write};

use clap::FromArgMatches;
use orlop_api::Client;
use orlop_model::{Error, ErrorKind, Result};

use crate::{
    exit::Exit,
    generated,
    grammar::{Cli, Command, resource::ResourceCommand, stray},
    install,
    output::Console,
};

/// Runs a command line to its end.
pub(crate) fn run(words: impl IntoIterator<Item = OsString>) -> Exit {
    let words: Vec<OsString> = words.into_iter().collect();
    if words.len() <= 1 {
        // Nothing was asked: say what can be.
        let _ = write!(std::io::stderr(), "{}", Cli::definition().render_help());
        return Exit::Usage;
    }
    let parsed = Cli::definition().try_get_matches_from(&words).and_then(|m| Cli::from_arg_matches(&m));
    let cli = match parsed {
        Ok(cli) => cli,
        // Help and version are "errors" with status 0.
        Err(message) => {
            let message = stray::with_tip(message, &words);
            let _ = message.print();
            return if message.use_stderr() { Exit::Usage } else { Exit::Success };
        }
    };
    let mut console = Console::new();
    let exit = dispatch(cli, &mut console).unwrap_or_else(|error| {
        console.error(&error);
        error.kind.into()
    });
    match console.fault() {
        Some(fault) => {
            console.error(&fault);
            exit.and(Exit::Failure)
        }
        None => exit,
    }
}

fn dispatch(cli: Cli, console: &mut Console) -> Result<Exit> {
    let socket = std::path::absolute(&cli.global.socket).unwrap_or(cli.global.socket);
    let client = Client::new(socket);
    match cli.command {
        Command::Verb(command) | Command::Resource(command) => waiting(resource(command, &client, console)),
        Command::Volume(command) => waiting(volume::run(command, &client, console)),
        Command::Snapshot(command) => waiting(snapshot::run(command, &client, console)),
        Command::Undelete(args) => waiting(lifecycle::undelete(args, &client, console)),
        Command::Purge(args) => waiting(lifecycle::purge(args, &client, console)),
        Command::Rename(args) => waiting(lifecycle::rename(args, &client, console)),
        Command::Workspace(command) => waiting(administration::workspace(command, &client, console)),
        Command::Pool(command) => waiting(pool::run(command, &client, console)),
        Command::Events(args) => waiting(events::events(args, &client, console)),
        Command::Operation(command) => waiting(operation::run(command, &client, console)),
        Command::Mount(args) => waiting(administration::mount(args, &client, console)),
        Command::Unmount(args) => waiting(administration::unmount(args, &client, console)),
        Command::Status => waiting(administration::status(&client, console)),
        Command::Serve(args) => serve::run(args),
        Command::Install(args) => install::run(&args, console),
        Command::Schema(args) => generated::schema(args.kind, console),
        Command::Completions(args) => generated::completions(args.shell, console),
        Command::Man(args) => generated::man(args.dir.as_deref(), console),
        Command::Version => {
            console.print(format!("orlop {}", env!("CARGO_PKG_VERSION")));
            Ok(Exit::Success)
        }
        Command::Reference => {
            console.print(generated::reference());
            Ok(Exit::Success)
        }
    }
}

async fn resource(command: ResourceCommand, client: &Client, console: &mut Console) -> Result<Exit> {
    match command {
        ResourceCommand::Apply(args) => apply::run(args, client, console).await,
        ResourceCommand::Diff(args) => plan::diff(args, client, console).await,
        ResourceCommand::Get(args) => get::run(args, client, console).await,
        ResourceCommand::Delete(args) => delete::run(args, client, console).await,
        ResourceCommand::Log(args) => events::log(args, client, console).await,
    }
}

/// Waits for a command that talks to the daemon. One thread is enough for it.
fn waiting(work: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|fault| {
        Error::new(ErrorKind::HostLimit, format!("the command can't start: {fault}"))
            .hint("is the process out of file descriptors? See `ulimit -n`")
    })?;
    runtime.block_on(work)
}

/// The refusal of a flag that says nothing about resources of that type.
fn flag_is_for_volumes(flag: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{flag} is for volumes only"))
        .object(flag)
        .hint("leave it out, or use -t volume")
}
