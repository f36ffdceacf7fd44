//! The life of the daemon: open, listen, recover, serve, drain.

use std::{
    future::IntoFuture,
    os::unix::net::UnixListener as StdListener,
    time::{Duration, Instant},
};

use axum::Router;
use orlop_csi::Driver;
use orlop_engine::Engine;
use orlop_model::{Error, ErrorKind, Result, resource::Front};
use sd_notify::NotifyState;
use tokio::{
    net::UnixListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};

use crate::{
    config::{Config, Csi},
    connection::{Peer, Peers, WRITE_PATIENCE},
    logs, rest,
    service::{self, Phase, Service},
    sockets::{RunDirectory, Sockets},
};

/// Threads that drive sockets and timers; they never wait for a disk.
const WORKERS: usize = 2;
/// Threads that wait for the engine, at most: what all sockets may take, and recovery. Changes that hang leave
/// their threads to the reads of every socket that way. They end when they are idle.
const BLOCKING: usize = service::THREADS + 2 * orlop_docker::THREADS + orlop_csi::THREADS + 1;
/// An idle thread for the engine ends after so long, and its memory with it.
const IDLE_THREAD: Duration = Duration::from_secs(5);
/// Handlers and the engine keep little on the stack.
const STACK_BYTES: usize = 1 << 20;

/// Runs a daemon until it is told to stop by SIGTERM or SIGINT; a second one ends the process at once.
///
/// Volumes stay mounted when it returns. An error is one of starting, with the kind
/// `Locked` (another daemon has the state or run directory), `NewerFormat`, `PermissionDenied`,
/// `Host` or `Store`; or `Host`, when the daemon can't go on.
pub fn serve(config: Config) -> Result<()> {
    logs::begin(config.log_format, &config.log_filter)?;
    let state_dir = config.engine.state_dir.display().to_string();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), state_dir, "starting");
    // First: the mount directory lies below it by default, and is made by the engine for root alone.
    let run_dir = RunDirectory::take(&config.run_dir)?;
    let engine = Engine::open(config.engine)?;
    let sockets = run_dir.listen(&config.group, config.csi.as_ref().map(|csi| csi.socket.as_path()))?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .thread_keep_alive(IDLE_THREAD)
        .thread_stack_size(STACK_BYTES)
        .thread_name("orlop")
        .enable_all()
        .build()
        .map_err(|fault| {
            Error::new(ErrorKind::Host, format!("no threads: {fault}")).hint("see the limits of this process")
        })?;
    let (ended, deadline) = runtime.block_on(run(engine.clone(), &sockets, config.csi, config.drain));
    // Waits for changes whose clients have gone; the sockets were closed before.
    runtime.shutdown_timeout(deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(1)));
    engine.shutdown();
    drop(sockets);
    tracing::info!("stopped; volumes stay mounted");
    ended
}

/// Serves until a signal or a fault. Returns what came of it, and until when work may still end.
async fn run(engine: Engine, sockets: &Sockets, csi: Option<Csi>, drain: Duration) -> (Result<()>, Instant) {
    let service = Service::new(engine.clone());
    let mut servers = JoinSet::new();
    let started = async {
        let mut stop = Stop::listen()?;
        let fronts = [
            (&sockets.rest, rest::router(service.clone())),
            (&sockets.docker, orlop_docker::router(engine.clone(), Front::Docker)),
            (&sockets.podman, orlop_docker::router(engine.clone(), Front::Podman)),
        ];
        for (listener, router) in fronts {
            servers.spawn(listen(listener, router, &service)?);
        }
        if let (Some(listener), Some(Csi { socket: _, driver })) = (&sockets.csi, csi) {
            let driver = Driver::new(engine.clone(), driver);
            let served = orlop_csi::serve(driver, asynchronous(listener)?, service.stopping());
            servers.spawn(async { served.await.map_err(std::io::Error::other) });
        }
        until_stopped(&engine, &service, &mut stop, &mut servers).await.map(|()| stop)
    };
    let ended = started.await;
    if let Err(error) = &ended {
        tracing::error!(%error, kind = ?error.kind, "the daemon can't go on");
    }
    let deadline = Instant::now() + drain;
    service.enter(Phase::Stopping);
    engine.stop_operations();
    notify(&[NotifyState::Stopping, NotifyState::Status("draining")]);
    tracing::info!("stopping: what was begun is brought to its end");
    let drained = async { while servers.join_next().await.is_some() {} };
    let drained = tokio::time::timeout_at(deadline.into(), drained);
    let ended = match ended {
        Ok(mut stop) => {
            tokio::select! {
                drained = drained => if drained.is_err() {
                    tracing::warn!("some work has not ended in {drain:?}; the next start finishes or undoes it");
                },
                () = stop.requested() => {
                    tracing::warn!("told to stop a second time: the next start finishes or undoes what was begun");
                    std::process::exit(1);
                }
            }
            Ok(())
        }
        Err(error) => {
            let _ = drained.await;
            Err(error)
        }
    };
    (ended, deadline)
}

/// Recovers beside the sockets, says when it is done, and then waits.
async fn until_stopped(
    engine: &Engine,
    service: &Service,
    stop: &mut Stop,
    servers: &mut JoinSet<std::io::Result<()>>,
) -> Result<()> {
    notify(&[NotifyState::Status("recovering volumes")]);
    let recovering = engine.clone();
    let start = Instant::now();
    let recovery = tokio::task::spawn_blocking(move || recovering.recover());
    let recovery = tokio::select! {
        recovery = recovery => recovery,
        () = stop.requested() => return Ok(()),
    };
    let recovery = recovery.map_err(|_| {
        Error::new(ErrorKind::Host, "recovery broke off by a fault of Orlop")
            .hint("nothing was deleted; please report it with the log")
    })??;
    for directory in &recovery.unaccounted {
        let directory = directory.display().to_string();
        tracing::warn!(directory, "no record explains this directory of a pool; it is left alone");
    }
    service.enter(Phase::Running);
    let problems = engine.readiness().problems;
    tracing::info!(
        finished = recovery.finished,
        undone = recovery.undone,
        adopted = recovery.adopted,
        dropped = recovery.dropped,
        millis = start.elapsed().as_secs_f64() * 1e3,
        "recovered"
    );
    // READY also when it is not: Docker and Podman wait for this unit at boot, and a host whose
    // containers don't start at all is worse off than one whose volumes refuse with a reason.
    if problems.is_empty() {
        notify(&[NotifyState::Ready, NotifyState::Status("ready")]);
        tracing::info!("ready");
    } else {
        let problems = problems.join("; ");
        notify(&[NotifyState::Ready, NotifyState::Status(&format!("not ready: {problems}"))]);
        tracing::error!(problems, "not ready");
    }
    tokio::select! {
        () = stop.requested() => Ok(()),
        ended = servers.join_next() => {
            Err(Error::new(ErrorKind::Host, format!("a socket stopped listening: {ended:?}")).hint("start it again"))
        }
    }
}

/// A server of one socket, which ends when the service stops and its connections are done.
fn listen(
    listener: &StdListener,
    router: Router,
    service: &Service,
) -> Result<impl Future<Output = std::io::Result<()>> + Send + use<>> {
    let peers = Peers::new(asynchronous(listener)?, WRITE_PATIENCE);
    let make = router.into_make_service_with_connect_info::<Peer>();
    Ok(axum::serve(peers, make).with_graceful_shutdown(service.stopping()).into_future())
}

fn asynchronous(listener: &StdListener) -> Result<UnixListener> {
    listener
        .try_clone()
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .and_then(UnixListener::from_std)
        .map_err(|fault| Error::new(ErrorKind::Host, format!("a socket can't be listened on: {fault}")))
}

/// The signals that ask for the end.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> Result<Self> {
        let on = |kind| {
            signal(kind).map_err(|fault| Error::new(ErrorKind::Host, format!("no signal handler: {fault}")))
        };
        Ok(Self { terminate: on(SignalKind::terminate())?, interrupt: on(SignalKind::interrupt())? })
    }

    async fn requested(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Tells systemd, where it asked to be told.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(fault) = sd_notify::notify(states) {
        tracing::warn!(%fault, "systemd could not be told");
    }
}
