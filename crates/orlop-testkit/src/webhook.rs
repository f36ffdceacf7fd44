//! A receiver of webhooks on the loopback, which answers as it is told to and keeps what it heard.

use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

/// A receiver. It ends with the process: nothing asks it to.
#[derive(Debug)]
pub struct Receiver {
    address: String,
    heard: Arc<Mutex<Vec<(u16, Value)>>>,
}

impl Receiver {
    /// One that answers with these statuses, in order, and with 204 after that.
    #[track_caller]
    pub fn new(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|e| panic!("cannot listen: {e}"));
        let address = listener.local_addr().unwrap_or_else(|e| panic!("cannot listen: {e}")).to_string();
        let heard = Arc::<Mutex<Vec<_>>>::default();
        let keeps = Arc::clone(&heard);
        std::thread::spawn(move || {
            for (index, stream) in listener.incoming().enumerate() {
                let status = statuses.get(index).copied().unwrap_or(204);
                let keep = |body| keeps.lock().unwrap_or_else(PoisonError::into_inner).push((status, body));
                // What is no request is nothing heard.
                if let Err(error) = stream.and_then(|stream| answer(stream, status, keep)) {
                    eprintln!("a webhook: {error}");
                }
            }
        });
        Self { address, heard }
    }

    /// Its address and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A URL of it.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// All bodies that it was sent, with the status that it answered.
    pub fn heard(&self) -> Vec<(u16, Value)> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The reasons of the events that it was sent, with the status that it answered.
    pub fn reasons(&self) -> Vec<(u16, String)> {
        let reason = |event: &Value| event["reason"].as_str().unwrap_or_default().to_owned();
        self.heard().iter().map(|(status, event)| (*status, reason(event))).collect()
    }
}

fn answer(mut stream: TcpStream, status: u16, keep: impl FnOnce(Value)) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    keep(serde_json::from_slice(&body)?);
    write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}
