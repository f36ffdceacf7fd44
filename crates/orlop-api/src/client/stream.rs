//! Reads `text/event-stream`: bytes in, messages out. Pure; who reconnects and why is in `watch`.

/// A message longer than this is not one of ours.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// One message. One that has an id and nothing else says how far the stream has got.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// The value of `id`.
    pub id: Option<String>,
    /// The value of `event`; empty where none was given.
    pub event: String,
    /// The lines of `data`.
    pub data: String,
}

/// The stream holds something that is no message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Collects bytes until messages are whole.
#[derive(Debug, Default)]
pub(super) struct Reader {
    line: Vec<u8>,
    message: Message,
    after_return: bool,
}

impl Reader {
    /// Takes the next bytes, and adds the messages that they complete.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        messages: &mut impl Extend<Message>,
    ) -> Result<(), Malformed> {
        for byte in bytes {
            let second_of_pair = *byte == b'\n' && self.after_return;
            self.after_return = *byte == b'\r';
            match byte {
                b'\n' if second_of_pair => {}
                b'\n' | b'\r' => messages.extend(self.end_line()?),
                byte => self.line.push(*byte),
            }
            if self.line.len() + self.message.data.len() > MAX_MESSAGE_BYTES {
                return Err(Malformed);
            }
        }
        Ok(())
    }

    fn end_line(&mut self) -> Result<Option<Message>, Malformed> {
        let line = std::mem::take(&mut self.line);
        let line = std::str::from_utf8(&line).map_err(|_| Malformed)?;
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            return Ok((message != Message::default()).then_some(message));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.message.id = Some(value.to_owned()),
            "event" => self.message.event = value.to_owned(),
            "data" => {
                if !self.message.data.is_empty() {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            // A comment, or a field of a newer daemon: the format asks to pass over both.
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&str]) -> Result<Vec<Message>, Malformed> {
        let mut reader = Reader::default();
        let mut messages = Vec::new();
        for chunk in chunks {
            reader.push(chunk.as_bytes(), &mut messages)?;
        }
        Ok(messages)
    }

    fn message(id: Option<&str>, event: &str, data: &str) -> Message {
        Message { id: id.map(str::to_owned), event: event.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn messages_are_found_however_the_bytes_are_cut() {
        let text = ": hello\n\nid: 1\ndata: a\ndata:b\n\nid:2\r\nevent: expired\r\ndata: x: y\r\n\r\nid: 3\r\rnews: 1\n\n";
        let expected = vec![
            message(Some("1"), "", "a\nb"),
            message(Some("2"), "expired", "x: y"),
            message(Some("3"), "", ""),
        ];
        assert_eq!(read(&[text]).as_ref(), Ok(&expected));
        for cut in 0..text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(read(&[a, b]).as_ref(), Ok(&expected), "cut at {cut}");
        }
    }

    #[test]
    fn an_endless_message_is_refused() {
        let mebibyte = "x".repeat(MAX_MESSAGE_BYTES);
        assert_eq!(read(&["data: ", &mebibyte]), Err(Malformed));
        let mut reader = Reader::default();
        assert_eq!(reader.push(b"data: \xff\n", &mut Vec::new()), Err(Malformed));
    }
}
