//! Connections: who is at the other end, how many one user may have, and how long one may block.

use std::{
    collections::HashMap,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
    time::{Instant, Sleep},
};

/// A client that reads nothing for so long while an answer waits for it is dropped.
pub(crate) const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// One user other than root has at most so many connections: it can't take all descriptors of
/// the daemon, and containers start while it tries.
const CONNECTIONS_PER_USER: usize = 128;
/// The pause after a failed accept, which mostly means that descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The process at the other end, as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its user.
    pub uid: u32,
}

impl Connected<IncomingStream<'_, Peers>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Peers>) -> Self {
        *stream.remote_addr()
    }
}

/// How many connections each user has.
type Counts = Arc<Mutex<HashMap<u32, usize>>>;

/// A listening socket whose connections know their peer.
pub(crate) struct Peers {
    listener: UnixListener,
    patience: Duration,
    counts: Counts,
}

impl Peers {
    pub(crate) fn new(listener: UnixListener, patience: Duration) -> Self {
        Self { listener, patience, counts: Counts::default() }
    }
}

impl Listener for Peers {
    type Io = Connection;
    type Addr = Peer;

    async fn accept(&mut self) -> (Connection, Peer) {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(fault) => {
                    tracing::warn!(%fault, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Without a uid there is nobody to ask what it may do.
            let uid = match stream.peer_cred() {
                Ok(credentials) => credentials.uid(),
                Err(fault) => {
                    tracing::warn!(%fault, "a connection was refused: the kernel does not name its user");
                    continue;
                }
            };
            let Some(place) = Place::take(&self.counts, uid) else {
                tracing::warn!(uid, "a connection was refused: the user has {CONNECTIONS_PER_USER} of them");
                continue;
            };
            let connection = Connection { stream, patience: self.patience, blocked: None, _place: place };
            return (connection, Peer { uid });
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer { uid: 0 })
    }
}

/// One of the connections that a user may have; given back when dropped.
struct Place {
    counts: Counts,
    uid: u32,
}

impl Place {
    fn take(counts: &Counts, uid: u32) -> Option<Self> {
        let mut guard = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = guard.entry(uid).or_default();
        if uid != 0 && *count >= CONNECTIONS_PER_USER {
            return None;
        }
        *count += 1;
        drop(guard);
        Some(Self { counts: Arc::clone(counts), uid })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guard = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = guard.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                guard.remove(&self.uid);
            }
        }
    }
}

/// A stream whose writes fail when the peer reads nothing for too long.
pub(crate) struct Connection {
    stream: UnixStream,
    patience: Duration,
    blocked: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl Connection {
    /// What a write gave, unless it has waited for too long.
    fn timed<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        let patience = self.patience;
        let blocked =
            self.blocked.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + patience)));
        ready!(blocked.as_mut().poll(context));
        tracing::info!("a client was dropped: it reads nothing");
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.timed(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.timed(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn a_user_has_so_many_connections_and_root_any() {
        let counts = Counts::default();
        let places: Vec<_> = (0..CONNECTIONS_PER_USER).map_while(|_| Place::take(&counts, 1000)).collect();
        assert_eq!(places.len(), CONNECTIONS_PER_USER);
        assert!(Place::take(&counts, 1000).is_none());
        assert!(Place::take(&counts, 1001).is_some());
        let root: Vec<_> = (0..CONNECTIONS_PER_USER * 2).map_while(|_| Place::take(&counts, 0)).collect();
        assert_eq!(root.len(), CONNECTIONS_PER_USER * 2);
        drop(places);
        assert!(Place::take(&counts, 1000).is_some());
        drop(root);
        assert!(counts.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_peer_that_reads_nothing_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let mut peers = Peers::new(UnixListener::bind(&path).unwrap(), Duration::from_millis(50));
        let client = UnixStream::connect(&path).await.unwrap();
        let (mut connection, peer) = peers.accept().await;
        assert_eq!(peer.uid, rustix::process::getuid().as_raw());
        let fault = loop {
            if let Err(fault) = connection.write_all(&[0; 1 << 16]).await {
                break fault;
            }
        };
        assert_eq!(fault.kind(), io::ErrorKind::TimedOut);
        drop(client);
    }
}
