//! From a request to the engine and back to an answer, within the times that engines wait.

use std::{io, path::PathBuf, sync::Arc, time::Instant};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request as HttpRequest, State},
    http::{Method, StatusCode},
    response::Response,
};
use orlop_engine::{AliasedRequest, AttachRequest, Engine, VolumeRef};
use orlop_model::{
    Error, ErrorKind, Result,
    resource::{Front, Volume},
};

use crate::{
    answer::{Answer, failure},
    error::{line, meaning},
    flavour::Flavour,
    mounting::Mounting,
    options::Options,
    request::{BODY_LIMIT, Request, decode},
    work::{PATIENCE, Work},
};

/// The protocol over one engine, for the front that speaks it.
///
/// A front other than Docker and Podman speaks another protocol; it is answered as Docker would be.
pub fn router(engine: Engine, front: Front) -> Router {
    let flavour = Flavour::of(front).unwrap_or(Flavour::Docker);
    let plugin = Plugin { engine, flavour, work: Work::new(), mounting: Mounting::default() };
    Router::new().fallback(serve).with_state(Arc::new(plugin))
}

/// One socket's side of the protocol.
pub(crate) struct Plugin {
    engine: Engine,
    flavour: Flavour,
    work: Work,
    mounting: Mounting,
}

async fn serve(State(plugin): State<Arc<Plugin>>, request: HttpRequest) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let start = Instant::now();
    let result = read(&head.method, &path, body).await;
    let result = match result {
        Ok(request) => plugin.answer(request).await,
        Err(error) => Err(error),
    };
    let millis = start.elapsed().as_millis();
    let front = plugin.flavour.caller().front.as_str();
    match result {
        Ok(answer) => {
            tracing::debug!(front, call = path, millis, "answered");
            answer.into_response()
        }
        Err(error) if plugin.must_not_deny(&path, &error) => {
            tracing::warn!(front, call = path, millis, %error, "hung up, since an error would be heard as absence");
            hang_up()
        }
        Err(error) => {
            let text = line(&error);
            tracing::info!(front, call = path, millis, kind = ?error.kind, error = text, "refused");
            failure(&text)
        }
    }
}

async fn read(method: &Method, path: &str, body: Body) -> Result<Request> {
    if *method != Method::POST {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("{method} is not how the plugin is called"),
        )
        .hint("every call of the volume plugin protocol is a POST"));
    }
    let body = to_bytes(body, BODY_LIMIT).await.map_err(|fault| {
        Error::new(ErrorKind::InvalidArgument, format!("the request's body can't be read: {fault}"))
            .hint(format!("a body may have {BODY_LIMIT} bytes"))
    })?;
    decode(path, &body)
}

/// Breaks the connection without a byte of an answer: the head is not sent before the body's first part.
fn hang_up() -> Response {
    let broken = tokio_stream::once(Err::<Vec<u8>, _>(io::Error::from(io::ErrorKind::ConnectionAborted)));
    let mut response = Response::new(Body::from_stream(broken));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

impl Plugin {
    /// Whether answering this error would be taken for "there is no such volume", and is not that.
    fn must_not_deny(&self, path: &str, error: &Error) -> bool {
        path == "/VolumeDriver.Get" && self.flavour.forgets_on_error() && !meaning(error.kind).absent
    }

    async fn answer(&self, request: Request) -> Result<Answer> {
        match request {
            Request::Activate => Ok(Answer::activate()),
            Request::Capabilities => Ok(Answer::capabilities()),
            Request::Create { name, options } => self.create(name, *options).await,
            Request::Get { name } => self.get(name).await,
            Request::List => self.list().await,
            Request::Remove { name } => self.remove(name).await,
            Request::Path { name } => self.path(name).await,
            Request::Mount { name, id } => self.mount(name, id).await,
            Request::Unmount { name, id } => self.unmount(name, id).await,
        }
    }

    async fn create(&self, name: String, options: Options) -> Result<Answer> {
        let (engine, caller) = (self.engine.clone(), self.flavour.caller());
        let request = AliasedRequest {
            external: name.clone(),
            workspace: options.workspace,
            manifest: options.manifest,
        };
        let create = move || {
            ready(&engine)?;
            engine.create_aliased(&caller, &request, PATIENCE).map(drop)
        };
        self.work.change(create, log_unheard("create", &name)).await.map_err(concerning(&name))?;
        Ok(Answer::done())
    }

    async fn get(&self, name: String) -> Result<Answer> {
        let (volume, path) = self.look_up(&name).await?.ok_or_else(|| unknown(self.flavour, &name))?;
        Ok(Answer::volume(name, path.as_deref(), &volume))
    }

    async fn path(&self, name: String) -> Result<Answer> {
        let (_, path) = self.look_up(&name).await?.ok_or_else(|| unknown(self.flavour, &name))?;
        Ok(Answer::mountpoint(path.as_deref()))
    }

    /// The volume by that name and where this front's consumers find it.
    async fn look_up(&self, name: &str) -> Result<Option<(Volume, Option<PathBuf>)>> {
        let (engine, caller, external) = (self.engine.clone(), self.flavour.caller(), name.to_owned());
        let look_up = move || {
            let Some(volume) = engine.resolve(&caller, &external)? else { return Ok(None) };
            let path = if volume.status.attachments.is_empty() {
                None
            } else {
                engine.attached_path(&caller, &VolumeRef::Id(volume.status.id))?.map(|attached| attached.path)
            };
            Ok(Some((volume, path)))
        };
        self.work.read(look_up).await.map_err(concerning(name))
    }

    async fn list(&self) -> Result<Answer> {
        let (engine, caller) = (self.engine.clone(), self.flavour.caller());
        self.work.read(move || engine.aliased(&caller)).await.map(Answer::volumes)
    }

    async fn remove(&self, name: String) -> Result<Answer> {
        let (engine, caller, external) = (self.engine.clone(), self.flavour.caller(), name.clone());
        let remove = move || {
            ready(&engine)?;
            engine.remove_aliased(&caller, &external, PATIENCE)
        };
        self.work.change(remove, log_unheard("remove", &name)).await.map_err(concerning(&name))?;
        Ok(Answer::done())
    }

    async fn mount(&self, name: String, id: String) -> Result<Answer> {
        let (engine, flavour) = (self.engine.clone(), self.flavour);
        let scope = flavour.scope(&id);
        let scope_id = scope.id.clone();
        let ticket = self.mounting.begin(&format!("{name} {scope_id}")).map_err(concerning(&name))?;
        let unknown_name = unknown(self.flavour, &name);
        let log = log_unheard("mount", &name);

        let external = name.clone();
        let mount = {
            let engine = engine.clone();
            move || {
                ready(&engine)?;
                let caller = flavour.caller();
                let volume = engine.resolve(&caller, &external)?.ok_or(unknown_name)?;
                let volume = VolumeRef::Id(volume.status.id);
                let request = AttachRequest {
                    volume: volume.clone(),
                    scope,
                    consumer: flavour.consumer(&id),
                    read_only: false,
                    known_as: Some(external),
                };
                let attached = engine.attach(&caller, &request, PATIENCE)?;
                Ok((volume, attached.path, ticket))
            }
        };
        let unheard = move |result: Result<_>| match result {
            Ok((volume, _, ticket)) if flavour.undoes_unheard_mounts() => {
                tracing::info!(scope = scope_id, "nobody waits for the mount any more; it is undone");
                undo(&engine, flavour, &volume, &scope_id, ticket);
            }
            Ok(_) => {}
            Err(error) => log(Err(error)),
        };
        let (_, path, _ticket) = self.work.change(mount, unheard).await.map_err(concerning(&name))?;
        Ok(Answer::mountpoint(Some(&path)))
    }

    async fn unmount(&self, name: String, id: String) -> Result<Answer> {
        let (engine, caller, external) = (self.engine.clone(), self.flavour.caller(), name.clone());
        let scope = self.flavour.scope(&id);
        let unmount = move || match engine.resolve(&caller, &external)? {
            Some(volume) => engine.detach(&caller, &VolumeRef::Id(volume.status.id), &scope.id, PATIENCE),
            // Nothing is attached of what does not exist, and the container has to be let go.
            None => Ok(()),
        };
        self.work.change(unmount, log_unheard("unmount", &name)).await.map_err(concerning(&name))?;
        Ok(Answer::done())
    }
}

/// Ends an attachment whose mount id no one will ever name again.
fn undo(engine: &Engine, flavour: Flavour, volume: &VolumeRef, scope: &str, ticket: crate::mounting::Ticket) {
    ticket.undo(|| {
        if let Err(error) = engine.withdraw(&flavour.caller(), volume, scope, PATIENCE) {
            tracing::warn!(scope, %error, "the mount could not be undone; it goes stale by itself");
        }
    });
}

/// Refuses what changes volumes until mounts are known to reach containers.
fn ready(engine: &Engine) -> Result<()> {
    let readiness = engine.readiness();
    if readiness.is_ready() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        format!("the daemon is not ready: {}", readiness.problems.join("; ")),
    )
    .hint("`orlop get` and the daemon's /readyz say when it is"))
}

fn unknown(flavour: Flavour, name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no volume {name}"))
        .object(format!("volume {name}"))
        .hint(flavour.remedy_for_unknown())
}

/// Names the volume by the name that was asked for, where the error says it by another or not at all.
fn concerning(name: &str) -> impl Fn(Error) -> Error + use<> {
    let name = name.to_owned();
    move |error| {
        let named =
            error.message.contains(&name) || error.object.as_ref().is_some_and(|it| it.contains(&name));
        if named { error } else { error.object(format!("volume {name}")) }
    }
}

fn log_unheard(operation: &'static str, name: &str) -> impl FnOnce(Result<()>) + Send + use<> {
    let volume = name.to_owned();
    move |result| match result {
        Ok(()) => tracing::info!(operation, volume, "done after its caller had gone"),
        Err(error) => tracing::warn!(operation, volume, %error, "failed after its caller had gone"),
    }
}
