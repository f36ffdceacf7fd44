//! `orlop volume`: what is done with a volume that is there, beside its manifest.

use jiff::Timestamp;
use orlop_api::{Client, MigrateRequest, VolumeCheckOptions};
use orlop_model::{
    Result,
    resource::{Outcome, Verdict},
};

use super::{
    get::{self, Shape},
    schedule,
};
use crate::{
    exit::Exit,
    grammar::{
        resource::{Format, Output},
        volume::{FsckArgs, MigrateArgs, VolumeArg, VolumeCommand},
    },
    output::{Console, chart, details, plain, progress},
};

/// The columns of a day are at most so many: one for each quarter of an hour.
const MOST_COLUMNS: usize = 96;
/// What stands left of them.
const MARGIN: usize = 9;

pub(super) async fn run(command: VolumeCommand, client: &Client, console: &mut Console) -> Result<Exit> {
    match command {
        VolumeCommand::Show { volume, format } => show(&volume, &format, client, console).await,
        VolumeCommand::Fsck(args) => fsck(args, client, console).await,
        VolumeCommand::Migrate(args) => migrate(args, client, console).await,
    }
}

async fn fsck(args: FsckArgs, client: &Client, console: &mut Console) -> Result<Exit> {
    let VolumeArg { name, workspace } = args.volume;
    let object = format!("volume {workspace}/{name}");
    let options = VolumeCheckOptions { repair: args.repair, discard_log: args.discard_log };
    let checked = client.check_volume(&workspace, &name, &options);
    let checked = progress::follow(client, console, &object, checked).await?;
    let (word, exit) = match checked.verdict {
        Verdict::Clean => ("clean", Exit::Success),
        Verdict::Repaired => ("repaired", Exit::Success),
        Verdict::Damaged => ("damaged", Exit::Failure),
    };
    console.print(format!("{object}: {word}, and {}", checked.state.as_str()));
    if !checked.said.is_empty() {
        let lines: Vec<String> = checked.said.lines().map(|line| format!("  {}\n", plain(line))).collect();
        console.print(format!("{} says:\n{}", checked.program, lines.concat()));
    }
    if checked.verdict == Verdict::Damaged {
        console.note(&format!("repair it as root: orlop volume fsck -n {name} -w {workspace} --repair"));
    }
    Ok(exit)
}

async fn migrate(args: MigrateArgs, client: &Client, console: &mut Console) -> Result<Exit> {
    let VolumeArg { name, workspace } = args.volume;
    let object = format!("volume {workspace}/{name}");
    let request = MigrateRequest { pool: args.pool, size: args.size };
    let moved = client.migrate(&workspace, &name, &request);
    let moved = progress::follow(client, console, &object, moved).await?;
    let (pool, size) = (&moved.resource.status.pool, moved.resource.manifest.volume.size);
    console.print(match moved.outcome {
        Outcome::Unchanged => format!("{object}: unchanged, {size} in pool {pool}"),
        Outcome::Created | Outcome::Configured => {
            format!("{object}: moved ({}), {size} in pool {pool}", moved.changes.join(", "))
        }
    });
    Ok(Exit::Success)
}

async fn show(volume: &VolumeArg, format: &Format, client: &Client, console: &mut Console) -> Result<Exit> {
    let found = client.volume(&volume.workspace, &volume.name).await?;
    let text = match format.output {
        Output::Table | Output::Wide => {
            let history = client.volume_usage(&volume.workspace, &volume.name).await?;
            let now = Timestamp::now();
            let columns = console.width().saturating_sub(MARGIN).min(MOST_COLUMNS);
            let last = schedule::last(std::slice::from_ref(&found), client).await?;
            let mut text = details::volume(&found, last.get(&found.status.id), now);
            if let Some(day) = chart::day(&history, now, columns, console.takes_unicode()) {
                text.push_str(&format!("\nUsed over the last day:\n{day}"));
            }
            text
        }
        Output::Json | Output::Yaml => {
            let shape = Shape { output: format.output, details: false };
            shape.programs(&[get::appliable(found)], true)?
        }
    };
    console.print(text);
    Ok(Exit::Success)
}
