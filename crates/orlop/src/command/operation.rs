//! `orlop operation`: long work that is under way.

use std::time::Duration;

use jiff::Timestamp;
use orlop_api::Client;
use orlop_model::Result;

use super::{get::Shape, live};
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
            let shape = Shape { output: format.output, details: false };
            let mut first = true;
            loop {
                let found = client.operations().await?;
                let (now, wide) = (Timestamp::now(), format.output == Output::Wide);
                let text = shape.show(
                    &found,
                    false,
                    |all| table::operations(console, all, wide, now),
                    |one| table::operations(console, std::slice::from_ref(one), wide, now),
                )?;
                if !refresh {
                    if found.is_empty() && matches!(format.output, Output::Table | Output::Wide) {
                        console.note("no long work is under way");
                    } else {
                        console.print(text);
                    }
                    break;
                }
                console.redraw(&text, first);
                first = false;
                tokio::select! {
                    () = tokio::time::sleep(PERIOD) => {}
                    () = live::interrupted() => break,
                }
                if console.closed() {
                    break;
                }
            }
        }
        OperationCommand::Stop { id } => {
            let stopped = client.stop_operation(id).await?;
            console.print(format!("{}: {} is told to stop", stopped.object, stopped.kind));
        }
    }
    Ok(Exit::Success)
}
