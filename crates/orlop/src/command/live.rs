//! Live views: waiting for the next change, or for Ctrl-C.

use std::time::Duration;

use orlop_api::{Client, Watch, WatchFilter};
use orlop_model::{ErrorKind, Result};

/// Changes come in bursts; so long after the first the others are waited for.
const BURST: Duration = Duration::from_millis(100);

/// Returns at Ctrl-C, which ends a live view cleanly. Where it can't be caught it kills the
/// program, as ever.
pub(super) async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Says when there may be something new to show.
pub(super) struct Changes {
    client: Client,
    filter: WatchFilter,
    watch: Watch,
}

impl Changes {
    /// Opened before the first look, so that no change is missed between the two.
    pub(super) async fn open(client: &Client, filter: WatchFilter) -> Result<Self> {
        let watch = client.watch(&filter).await?;
        Ok(Self { client: client.clone(), filter, watch })
    }

    /// Waits for a change. False at Ctrl-C.
    pub(super) async fn wait(&mut self) -> Result<bool> {
        tokio::select! {
            change = self.change() => change.map(|()| true),
            () = interrupted() => Ok(false),
        }
    }

    async fn change(&mut self) -> Result<()> {
        if let Err(error) = self.watch.next().await {
            // Events were missed, but the state is looked at again anyway.
            if error.kind != ErrorKind::Expired {
                return Err(error);
            }
            self.watch = self.client.watch(&self.filter).await?;
            return Ok(());
        }
        while let Ok(event) = tokio::time::timeout(BURST, self.watch.next()).await {
            event?;
        }
        Ok(())
    }
}
