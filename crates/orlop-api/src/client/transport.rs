//! One request and its answer over a new connection, and what can go wrong on the way.

use std::{
    io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, header};
use hyper_util::rt::TokioIo;
use orlop_model::{Error, ErrorKind, Result};
use serde::Serialize;
use tokio::net::UnixStream;

use super::Client;
use crate::route::Operation;

/// A daemon that doesn't take a connection for so long is not there for its users.
const CONNECT: Duration = Duration::from_secs(5);
/// An answer of more bytes is not one of ours: a page of 1000 volumes has some 2 MB.
const MAX_ANSWER_BYTES: usize = 64 << 20;

impl Client {
    pub(super) async fn send<Q: Serialize, B: Serialize>(
        &self,
        operation: Operation,
        values: &[&str],
        query: &Q,
        body: Option<&B>,
        headers: &[(header::HeaderName, String)],
    ) -> Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(operation.route().method.as_str())
            .uri(Self::target(operation, values, query)?)
            .header(header::HOST, "orlop")
            .header(header::USER_AGENT, concat!("orlop/", env!("CARGO_PKG_VERSION")));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(Self::json(body)?))).map_err(|fault| {
            Error::new(ErrorKind::InvalidArgument, format!("the request can't be written: {fault}"))
        })?;

        let stream = tokio::time::timeout(CONNECT, UnixStream::connect(&self.socket))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|fault| unreachable(&self.socket, &fault))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| self.broken())?;
        // The connection is driven beside the answer, and ends with it: a fault of it is seen by the request.
        tokio::spawn(connection);
        sender
            .send_request(request)
            .await
            .map_err(|fault| if fault.is_parse() { self.garbage(StatusCode::OK, b"") } else { self.broken() })
    }

    /// The whole body of an answer.
    pub(super) async fn read(&self, response: Response<Incoming>) -> Result<Bytes> {
        let status = response.status();
        match Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(fault) if fault.is::<http_body_util::LengthLimitError>() => {
                Err(self.garbage(status, b"more than 64 MiB"))
            }
            Err(_) => Err(self.broken()),
        }
    }

    /// The error that an answer holds.
    pub(super) fn refusal(&self, status: StatusCode, body: &[u8]) -> Error {
        serde_json::from_slice(body).unwrap_or_else(|_| self.garbage(status, body))
    }

    /// The answer is not one of Orlop's.
    pub(super) fn garbage(&self, status: StatusCode, body: &[u8]) -> Error {
        let start: String = String::from_utf8_lossy(body).chars().take(80).collect();
        let socket = self.socket.display();
        Error::new(
            ErrorKind::Unreachable,
            format!("what answers on {socket} does not speak Orlop's protocol: HTTP {}, {start:?}", status.as_u16()),
        )
        .object(format!("socket {socket}"))
        .hint("see that --socket or ORLOP_SOCKET names the socket of an Orlop daemon, of the same version as this program")
    }

    /// The daemon took the request, and was gone before it answered.
    pub(super) fn broken(&self) -> Error {
        let socket = self.socket.display();
        Error::new(ErrorKind::Unreachable, format!("the daemon on {socket} went away before it answered"))
            .object(format!("socket {socket}"))
            .hint("send the same request again: what it had begun is finished or undone, never done twice")
    }
}

/// What a failed connect means to a user.
fn unreachable(socket: &Path, fault: &io::Error) -> Error {
    let path = socket.display();
    let error =
        |message: String| Error::new(ErrorKind::Unreachable, message).object(format!("socket {path}"));
    match fault.kind() {
        io::ErrorKind::NotFound => error(format!("no daemon: there is no socket {path}"))
            .hint("start it with `systemctl start orlop` or `orlop serve`, or name its socket with --socket"),
        io::ErrorKind::ConnectionRefused if !is_socket(socket) => error(format!("{path} is no socket"))
            .hint("name the daemon's socket with --socket or ORLOP_SOCKET"),
        io::ErrorKind::ConnectionRefused => error(format!("no daemon listens on {path}"))
            .hint("start it with `systemctl start orlop` or `orlop serve`"),
        io::ErrorKind::PermissionDenied => {
            error(format!("the socket {path} may not be used by this user")).hint(admission(socket))
        }
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            error(format!("the daemon on {path} takes no connection"))
                .hint("it is overloaded or hangs: see `journalctl -u orlop`")
        }
        _ => error(format!("the socket {path} can't be used: {fault}"))
            .hint("name the daemon's socket with --socket or ORLOP_SOCKET"),
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// Who may use the socket, by its group.
fn admission(socket: &Path) -> String {
    let gid = std::fs::metadata(socket).ok().map(|metadata| metadata.gid()).filter(|gid| *gid != 0);
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    match gid.and_then(|gid| group_name(&groups, gid)) {
        Some(group) => {
            format!("run it as root, or join the group: `sudo usermod -aG {group} $USER`, then log in again")
        }
        None => "run it as root".to_owned(),
    }
}

/// The name of a group in the format of `/etc/group`.
fn group_name(groups: &str, gid: u32) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_number() {
        let groups = "root:x:0:\nbroken\norlop:x:998:ann,bob\n";
        assert_eq!(group_name(groups, 998), Some("orlop"));
        assert_eq!(group_name(groups, 7), None);
    }
}
