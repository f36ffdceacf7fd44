//! The client against sockets that are missing, closed, silent, or answer nonsense.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use orlop_model::{Error, ErrorKind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
};

use super::*;

/// Answers each connection with the next text of `answers`, then stops listening. Returns the
/// requests as they came.
fn answering(answers: Vec<String>) -> (tempfile::TempDir, Client, tokio::task::JoinHandle<Vec<String>>) {
    let directory = tempfile::tempdir().unwrap();
    let socket: PathBuf = directory.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let requests = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1 << 16];
            let length = stream.read(&mut request).await.unwrap();
            requests.push(String::from_utf8_lossy(&request[..length]).into_owned());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        requests
    });
    (directory, Client::new(socket), requests)
}

fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let error = Client::new(&socket).version().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.message.contains("there is no socket"), "{error}");
    assert!(error.hint.unwrap().contains("orlop serve"));

    drop(UnixListener::bind(&socket).unwrap());
    let error = Client::new(&socket).version().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.message.contains("no daemon listens"), "{error}");
}

#[tokio::test]
async fn an_error_arrives_as_it_was_sent() {
    let sent = Error::new(ErrorKind::InUse, "it is in use").hint("stop it").object("volume public/a");
    let (_directory, client, _) =
        answering(vec![http("409 Conflict", &serde_json::to_string(&sent).unwrap())]);
    let got = client.delete_workspace(&WorkspaceName::public()).await.unwrap_err();
    assert_eq!(got, sent);
}

#[tokio::test]
async fn nonsense_is_told_from_an_answer() {
    for answer in [
        "no http at all\r\n\r\n".to_owned(),
        http("200 OK", "<html>"),
        http("500 Internal Server Error", "oops"),
        http("200 OK", "{\"version\": 1}"),
    ] {
        let (_directory, client, _) = answering(vec![answer.clone()]);
        let error = client.version().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unreachable, "{answer}");
        assert!(error.message.contains("does not speak Orlop's protocol"), "{answer}: {error}");
    }
}

#[tokio::test]
async fn a_daemon_that_dies_under_a_request_is_told_from_one_that_is_not_there() {
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"] {
        let (_directory, client, _) = answering(vec![answer.to_owned()]);
        let error = client.version().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unreachable);
        assert!(error.message.contains("went away"), "{answer:?}: {error}");
    }
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_and_ends_when_its_position_expired() {
    let event = |sequence: u64| {
        format!(
            "id: {sequence}\ndata: {{\"sequence\":{sequence},\"at\":\"2026-11-22T08:00:00Z\",\"severity\":\"info\",\"reason\":\"Created\",\"message\":\"m\"}}\n\n"
        )
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let expired = Error::new(ErrorKind::Expired, "too late");
    let (_directory, client, requests) = answering(vec![
        format!("{head}id: 3\n\n{}{}id: 9\n\n", event(4), event(6)),
        // Cut in the middle of a message: it comes again, whole.
        format!("{head}{}", event(10).trim_end()),
        format!("{head}{}event: expired\ndata: {}\n\n", event(10), serde_json::to_string(&expired).unwrap()),
    ]);
    let mut watch = client.watch(&WatchFilter::default()).await.unwrap();
    for sequence in [4, 6, 10] {
        assert_eq!(watch.next().await.unwrap().sequence, sequence);
    }
    assert_eq!(watch.next().await, Err(expired));
    let requests = requests.await.unwrap();
    let positions: Vec<_> =
        requests.iter().map(|r| r.lines().find_map(|l| l.strip_prefix("last-event-id: "))).collect();
    assert_eq!(positions, [None, Some("9"), Some("9")]);
}
