//! Live views: waiting for the next change, or for Ctrl-C.

use std::time::Duration;

use orlop_api::{Client, Watch, WatchFilter};
use orlop_model::{ErrorKind, Result};

/// Changes come in bursts; so long after the first the others are waited for.
const BURST: Duration = Duration::from_millis(100);

/// Waits for the work, or for Ctrl-C: then none. Whatever the work waits for, such as a daemon that
/// hangs, it ends. Where Ctrl-C can't be caught it kills the program, as ever.
pub(super) async fn until_interrupted<T>(work: impl Future<Output = T>) -> Option<T> {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        // It is caught before there is anything to see.
        biased;
        () = interrupted => None,
        done = work => Some(done),
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

    /// Waits for a change.
    pub(super) async fn wait(&mut self) -> Result<()> {
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
