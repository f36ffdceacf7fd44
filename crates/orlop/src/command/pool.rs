//! `orlop pool …`.

use jiff::Timestamp;
use orlop_api::{AdoptRequest, CheckOptions, Client, GrowRequest, ImportRequest, PoolRequest};
use orlop_model::{
    Error, ErrorKind, PoolName, Result, VolumeName,
    resource::{Medium, Outcome, Pool},
    text,
};

use super::administration::{absolute, shape};
use crate::{
    engines,
    exit::Exit,
    grammar::{
        pool::{CreateArgs, ImportArgs, PoolCommand},
        resource::{Format, Output},
    },
    output::{Console, details, progress, quantity, table},
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
        PoolCommand::Grow { name, size, capacity } => {
            let applied = client.grow_pool(&name, &GrowRequest { size, capacity }).await?;
            let done = if applied.outcome == Outcome::Unchanged { "unchanged" } else { "grown" };
            let pool = &applied.resource;
            console.print(format!(
                "pool {name}: {done}, {} of capacity at {}",
                quantity::size(pool.capacity),
                place(pool)
            ));
        }
        PoolCommand::Check { name, repair, format } => {
            return check(name, repair, &format, client, console).await;
        }
        PoolCommand::Import(args) => return bring(args, client, console).await,
        PoolCommand::Export { name } => {
            let exported = client.export_pool(&name).await?;
            let (pool, from) = (&exported.pool, import(&exported.pool));
            console.print(format!(
                "pool {name}: exported, {} and {} stay in {}",
                text::count(pool.volumes, "volume"),
                text::count(pool.snapshots, "snapshot"),
                place(pool)
            ));
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

async fn check(
    name: Option<PoolName>,
    repair: bool,
    format: &Format,
    client: &Client,
    console: &mut Console,
) -> Result<Exit> {
    let names = match name {
        Some(name) => vec![name],
        None => client.pools().await?.into_iter().map(|pool| pool.name).collect(),
    };
    let mut reports = Vec::new();
    for name in &names {
        reports.push(client.check_pool(name, &CheckOptions { repair }).await?);
    }
    let text = shape(format, false).show(
        &reports,
        false,
        |all| all.iter().map(details::pool_check).collect(),
        details::pool_check,
    )?;
    console.print(text);
    let left = reports.iter().flat_map(|report| &report.findings).any(|finding| !finding.mended);
    Ok(if left { Exit::Differences } else { Exit::Success })
}

async fn bring(args: ImportArgs, client: &Client, console: &mut Console) -> Result<Exit> {
    let path = |path: &Option<std::path::PathBuf>| path.as_deref().map(absolute).transpose();
    if let Some(source) = &args.adopt {
        return adopt(source, &args, client, console).await;
    }
    let request = ImportRequest {
        name: args.name.as_deref().map(str::parse).transpose()?,
        path: path(&args.path)?,
        device: path(&args.device)?,
        image: path(&args.image)?,
        capacity: args.capacity,
        overcommit: args.overcommit,
    };
    let name = request.name.as_ref().map_or("default", PoolName::as_str);
    let object = format!("pool {name}");
    let done = progress::follow(client, console, &object, client.import_pool(&request)).await?;
    let text = shape(&args.format, false).show(
        std::slice::from_ref(&done),
        true,
        |all| all.iter().map(details::pool_import).collect(),
        details::pool_import,
    )?;
    console.print(text);
    if !done.exported && !done.was_known() {
        console.note("it was not exported where it was used before: see that nobody uses it there any more");
    }
    Ok(if done.left_any() { Exit::Differences } else { Exit::Success })
}

/// Makes a volume of a directory, or of a volume of Docker's own driver.
async fn adopt(source: &str, args: &ImportArgs, client: &Client, console: &mut Console) -> Result<Exit> {
    let name: VolumeName = args.name.as_deref().unwrap_or_default().parse()?;
    let source = match source.strip_prefix("docker:") {
        Some(volume) => engines::docker_data(volume).await?,
        None => absolute(source.as_ref())?,
    };
    let object = format!("volume {}/{name}", args.workspace);
    let request = AdoptRequest { source: source.clone(), size: args.size, pool: args.pool.clone() };
    let done = client.adopt(&args.workspace, &name, &request);
    let made = progress::follow(client, console, &object, done).await?.resource;
    console.print(format!("{object}: made of {source}, of {}", made.manifest.volume.size));
    console.note(&format!("{source} stays as it is: remove it when {object} was seen to be what you need"));
    Ok(Exit::Success)
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
