//! How far long work is, on standard error: a bar on a terminal, now and then a line elsewhere.
//! Ctrl-C stops the work and waits until what it had begun is taken back.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::{Timestamp, Unit};
use orlop_api::Client;
use orlop_model::{Error, ErrorKind, OperationId, Result, resource::Operation};
use tokio::signal::unix::{SignalKind, signal};

use super::{Console, quantity};

/// What takes less time is not worth a word.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often the daemon is asked.
const PERIOD: Duration = Duration::from_millis(200);
/// How often a line is written where there is no terminal.
const LINES: Duration = Duration::from_secs(5);
/// How long a daemon that is slow to hear is told to stop, once its user wants to leave.
const TELLING: Duration = Duration::from_secs(3);

/// Waits for `request`, which may be long work on `object` (such as `volume public/data`), and shows
/// how far it is.
///
/// # Errors
/// Those of the request; [`ErrorKind::Interrupted`] at Ctrl-C.
pub(crate) async fn follow<T>(
    client: &Client,
    console: &mut Console,
    object: &str,
    request: impl Future<Output = Result<T>>,
) -> Result<T> {
    // Where Ctrl-C can't be caught it ends the program as ever.
    let Ok(mut pressed) = signal(SignalKind::interrupt()) else { return request.await };
    let mut shown = Shown::new(object);
    let mut request = std::pin::pin!(request);
    let mut next = PATIENCE;
    let mut stopped = None;
    loop {
        tokio::select! {
            // An answer that is there goes before everything else.
            biased;
            answer = &mut request => {
                shown.clear();
                return answer;
            }
            _ = pressed.recv() => {
                let Some(id) = shown.operation else { return Err(left(object, Daemon::Unasked)) };
                if let Some(known) = stopped {
                    return Err(left(object, known));
                }
                shown.clear();
                console.note("stopping: what was begun is taken back; Ctrl-C again leaves that to the daemon");
                let mut telling = std::pin::pin!(client.stop_operation(id));
                let (told, pressed_again) = tokio::select! {
                    told = &mut telling => (told, false),
                    // Who leaves now must not take the message along.
                    _ = pressed.recv() => match tokio::time::timeout(TELLING, telling).await {
                        Ok(told) => (told, true),
                        Err(_) => return Err(left(object, Daemon::Silent(id))),
                    },
                };
                let known = match told {
                    Ok(_) => Daemon::Told,
                    Err(error) if error.kind == ErrorKind::NotFound => Daemon::Past,
                    Err(error) => return Err(error),
                };
                if pressed_again {
                    return Err(left(object, known));
                }
                stopped = Some(known);
            }
            operations = look(client, next) => {
                next = PERIOD;
                // What can't be asked is not shown; the request itself says what is wrong.
                if let Ok(operations) = operations {
                    shown.update(&operations, console);
                }
            }
        }
    }
}

/// What is under way, asked for after a while.
async fn look(client: &Client, after: Duration) -> Result<Vec<Operation>> {
    tokio::time::sleep(after).await;
    client.operations().await
}

/// What the daemon knows of the wish to stop.
#[derive(Clone, Copy)]
enum Daemon {
    Unasked,
    Told,
    /// What could be stopped had ended; the answer was on its way.
    Past,
    Silent(OperationId),
}

fn left(object: &str, daemon: Daemon) -> Error {
    let (what, hint) = match daemon {
        Daemon::Unasked => ("the daemon may bring it to its end", None),
        Daemon::Told => {
            ("the daemon was asked to stop, and takes back what it had begun unless it was done", None)
        }
        Daemon::Past => (
            "it was too late to stop it, and the daemon brings it to its end",
            Some("see what became of it: orlop log, or orlop get".to_owned()),
        ),
        Daemon::Silent(id) => (
            "the daemon did not answer, and may bring it to its end",
            Some(format!("orlop operation stop {id} stops it, once the daemon answers")),
        ),
    };
    Error::new(ErrorKind::Interrupted, format!("no longer waiting for {object}: {what}"))
        .object(object)
        .hint(hint.unwrap_or_else(|| "orlop operation list shows what is under way".to_owned()))
}

/// What is on the screen.
struct Shown<'a> {
    object: &'a str,
    since: Timestamp,
    operation: Option<OperationId>,
    phase: String,
    bar: Option<ProgressBar>,
    line: Option<tokio::time::Instant>,
}

impl<'a> Shown<'a> {
    fn new(object: &'a str) -> Self {
        let since = Timestamp::now();
        Self { object, since, operation: None, phase: String::new(), bar: None, line: None }
    }

    fn update(&mut self, operations: &[Operation], console: &mut Console) {
        // Work that began before this request is somebody else's: it is waited for, and not ours to stop.
        let of_it = operations.iter().filter(|operation| operation.object == self.object);
        let Some(operation) = of_it.max_by_key(|operation| operation.started_at) else { return };
        if operation.started_at >= self.since {
            self.operation = Some(operation.id);
        }
        if console.is_attended() { self.draw(operation) } else { self.tell(operation, console) }
    }

    fn draw(&mut self, operation: &Operation) {
        if self.phase != operation.phase {
            self.clear();
            self.phase.clone_from(&operation.phase);
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(operation.total_bytes, ProgressDrawTarget::stderr());
            let template = match operation.total_bytes {
                Some(_) => "{prefix} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}, {eta} left",
                None => "{prefix} {spinner} {binary_bytes} {binary_bytes_per_sec}",
            };
            // A template of ours is either right always or never; without it the bar is plain.
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(format!("{}: {}", operation.object, operation.phase));
            bar
        });
        bar.set_position(operation.done_bytes);
    }

    fn tell(&mut self, operation: &Operation, console: &mut Console) {
        let fresh = self.phase != operation.phase;
        if fresh || self.line.is_none_or(|line| line.elapsed() >= LINES) {
            self.phase.clone_from(&operation.phase);
            self.line = Some(tokio::time::Instant::now());
            console.note(&format!("{}: {}", operation.object, describe(operation, Timestamp::now())));
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// `copying 1.2Gi of 10Gi, 210Mi/s, 42s left`.
pub(crate) fn describe(operation: &Operation, now: Timestamp) -> String {
    let mut text = format!("{} {}", operation.phase, quantity::bytes(operation.done_bytes));
    if let Some(total) = operation.total_bytes {
        text.push_str(&format!(" of {}", quantity::bytes(total)));
    }
    let seconds =
        now.since(operation.phase_started_at).and_then(|span| span.total(Unit::Second)).unwrap_or_default();
    if seconds < 1.0 || operation.done_bytes == 0 {
        return text;
    }
    let rate = operation.done_bytes as f64 / seconds;
    text.push_str(&format!(", {}/s", quantity::bytes(rate as u64)));
    if let Some(left) = operation.total_bytes.and_then(|total| total.checked_sub(operation.done_bytes)) {
        text.push_str(&format!(", {:.0}s left", left as f64 / rate));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_it_is_in_words() {
        let operation = |done, total| Operation {
            id: "019a0000-0000-7000-8000-000000000000".parse().unwrap(),
            kind: "migrate".to_owned(),
            object: "volume public/a".to_owned(),
            phase: "copying".to_owned(),
            done_bytes: done,
            total_bytes: total,
            stopping: false,
            started_at: "2026-11-22T12:00:00Z".parse().unwrap(),
            phase_started_at: "2026-11-22T12:00:00Z".parse().unwrap(),
            actor_uid: None,
        };
        let after = |seconds: i64| {
            "2026-11-22T12:00:00Z".parse::<Timestamp>().unwrap() + jiff::Span::new().seconds(seconds)
        };
        for (done, total, seconds, text) in [
            (0, None, 10, "copying 0"),
            (0, Some(1 << 30), 10, "copying 0 of 1Gi"),
            (1 << 30, Some(3 << 30), 10, "copying 1Gi of 3Gi, 102Mi/s, 20s left"),
            (1 << 30, None, 10, "copying 1Gi, 102Mi/s"),
            // More than was expected, as when a volume grows meanwhile.
            (2 << 30, Some(1 << 30), 10, "copying 2Gi of 1Gi, 204Mi/s"),
        ] {
            assert_eq!(describe(&operation(done, total), after(seconds)), text);
        }
    }
}
