//! `orlop pool …`.

use jiff::Timestamp;
use orlop_api::{Client, PoolRequest};
use orlop_model::{
    Error, ErrorKind, Result,
    resource::{Medium, Outcome, Pool},
};

use super::administration::{absolute, shape};
use crate::{
    exit::Exit,
    grammar::{
        pool::{CreateArgs, PoolCommand},
        resource::{Format, Output},
    },
    output::{Console, details, quantity, table},
};

pub(super) async fn run(command: PoolCommand, client: &Client, console: &mut Console) -> Result<Exit> {
    match command {
        PoolCommand::Create(args) => create(args, client, console).await?,
        PoolCommand::List { format } => {
            let found = client.pools().await?;
            show(&found, &format, false, console)?;
        }
        PoolCommand::Show { name, format } => {
            let found = [client.pool(&name).await?];
            show(&found, &format, true, console)?;
        }
        PoolCommand::Export { name } => {
            let exported = client.export_pool(&name).await?;
            let (pool, from) = (&exported.pool, import(&exported.pool));
            console.print(format!("pool {name}: exported, {} volumes stay in {}", pool.volumes, place(pool)));
            console.note(&format!("bring it back, here or elsewhere: orlop pool import {from}"));
            if let Some(held) = &exported.held {
                console.warning(
                    format!("its filesystem is still mounted: {held}"),
                    "do not take the disk away before that has ended",
                );
            }
        }
        PoolCommand::Remove { name } => {
            client.delete_pool(&name).await?;
            console.print(format!("pool {name}: removed"));
        }
    }
    Ok(Exit::Success)
}

fn show(found: &[Pool], format: &Format, one: bool, console: &mut Console) -> Result<()> {
    let (now, wide) = (Timestamp::now(), format.output == Output::Wide);
    let text = shape(format, one && !wide).show(
        found,
        one,
        |all| table::pools(console, all, wide, now),
        |one| details::pool(one, now),
    )?;
    console.print(text);
    Ok(())
}

async fn create(args: CreateArgs, client: &Client, console: &mut Console) -> Result<()> {
    let erase = match &args.device {
        Some(device) if args.erase => given_up(&absolute(device)?, args.yes, client, console).await?,
        Some(_) | None => None,
    };
    let path = |path: &Option<std::path::PathBuf>| path.as_deref().map(absolute).transpose();
    let request = PoolRequest {
        path: path(&args.path)?,
        device: path(&args.device)?,
        erase,
        image: path(&args.image)?,
        size: args.size,
        sparse: args.sparse,
        capacity: args.capacity,
        overcommit: args.overcommit,
    };
    let applied = client.create_pool(&args.name, &request).await?;
    let pool = &applied.resource;
    let done = match applied.outcome {
        Outcome::Created => "created",
        Outcome::Configured => "configured",
        Outcome::Unchanged => "unchanged",
    };
    let (name, capacity) = (&args.name, quantity::size(pool.capacity));
    console.print(format!("pool {name}: {done}, {capacity} of capacity at {}", place(pool)));
    Ok(())
}

/// What is on the device and may be lost, after it was shown and agreed to.
async fn given_up(device: &str, yes: bool, client: &Client, console: &mut Console) -> Result<Option<String>> {
    let found = client.device(device).await?;
    let Some(content) = found.content else { return Ok(None) };
    console.note(&format!("{} ({}) holds {content}", found.device, quantity::size(found.size)));
    if yes || console.confirm("give it up, for good?")? {
        return Ok(Some(content));
    }
    Err(Error::new(ErrorKind::Interrupted, format!("{device} was left as it is"))
        .object(format!("device {device}"))
        .hint("name a blank device"))
}

/// Where a pool is, for people.
fn place(pool: &Pool) -> &str {
    match &pool.medium {
        Medium::Directory => &pool.path,
        Medium::Device { device } => device,
        Medium::Image { file, .. } => file,
    }
}

/// The arguments that import it.
fn import(pool: &Pool) -> String {
    match &pool.medium {
        Medium::Directory => format!("--path {}", pool.path),
        Medium::Device { device } => format!("--device {device}"),
        Medium::Image { file, .. } => format!("--image {file}"),
    }
}
