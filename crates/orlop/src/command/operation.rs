//! `orlop operation`: long work that is under way.

use std::time::Duration;

use jiff::Timestamp;
use orlop_api::Client;
use orlop_model::Result;

use super::{get::Shape, live::until_interrupted};
use crate::{
    exit::Exit,
    grammar::{administration::OperationCommand, resource::Output},
    output::{Console, table},
};

/// How often a live list is drawn.
const PERIOD: Duration = Duration::from_secs(1);

pub(super) async fn run(command: OperationCommand, client: &Client, console: &mut Console) -> Result<Exit> {
    match command {
        OperationCommand::List { format, refresh } => {
            let list = list(format.output, refresh, client, console);
            if refresh { until_interrupted(list).await.unwrap_or(Ok(())) } else { list.await }?;
        }
        OperationCommand::Stop { id } => {
            let stopped = client.stop_operation(id).await?;
            console.print(format!("{}: {} is told to stop", stopped.object, stopped.kind));
        }
    }
    Ok(Exit::Success)
}

/// Shows it once, or anew again and again until nobody reads it any more.
async fn list(output: Output, refresh: bool, client: &Client, console: &mut Console) -> Result<()> {
    let shape = Shape { output, details: false };
    let mut first = true;
    loop {
        let found = client.operations().await?;
        let (now, wide) = (Timestamp::now(), output == Output::Wide);
        let text = shape.show(
            &found,
            false,
            |all| table::operations(console, all, wide, now),
            |one| table::operations(console, std::slice::from_ref(one), wide, now),
        )?;
        if refresh {
            console.redraw(&text, first);
            first = false;
        } else if found.is_empty() && output.is_for_people() {
            console.note("no long work is under way");
        } else {
            console.print(text);
        }
        if !refresh || console.closed() {
            return Ok(());
        }
        tokio::time::sleep(PERIOD).await;
    }
}
