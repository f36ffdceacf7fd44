//! `orlop volume`: what is done with a volume that is there, beside its manifest.

use orlop_api::{Client, MigrateRequest};
use orlop_model::{Result, WorkspaceName, resource::Outcome};

use crate::{
    exit::Exit,
    grammar::volume::{MigrateArgs, VolumeCommand},
    output::{Console, progress},
};

pub(super) async fn run(command: VolumeCommand, client: &Client, console: &mut Console) -> Result<Exit> {
    match command {
        VolumeCommand::Migrate(args) => migrate(args, client, console).await,
    }
}

async fn migrate(args: MigrateArgs, client: &Client, console: &mut Console) -> Result<Exit> {
    let workspace = args.workspace.unwrap_or_else(WorkspaceName::public);
    let object = format!("volume {workspace}/{}", args.name);
    let request = MigrateRequest { pool: args.pool, size: args.size };
    let moved = client.migrate(&workspace, &args.name, &request);
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
