//! One HTTP request over a unix socket: enough to ask a daemon or a plugin something.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// GETs `path` from the server behind `socket`: status and body.
pub fn get(socket: &Path, path: &str) -> io::Result<(u16, String)> {
    request(socket, "GET", path, "")
}

/// One request with a JSON body to the server behind `socket`: status and body. It speaks HTTP/1.0,
/// so that the answer ends with the connection and needs no decoding.
pub fn request(socket: &Path, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer"))
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn answers_are_parsed() {
        let answer = "HTTP/1.0 503 Service Unavailable\r\nA: b\r\n\r\nnot yet";
        assert_eq!(parse(answer), Some((503, "not yet".to_owned())));
        assert_eq!(parse("garbage"), None);
    }
}
