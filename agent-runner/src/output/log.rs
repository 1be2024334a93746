//! Turns each line of the command's stdout and stderr into a `log` event.

use mgx_protocol::EventKind;
use serde_json::{Map, Value};
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;

use super::drain::until_quiet;
use super::lines::Lines;
use crate::link::spool::Spool;

/// The longest text of one event, in bytes; a longer line becomes several events. JSON escapes make a text at most six
/// times as long, which still fits into an event.
const MAX_LINE_BYTES: usize = 10 * 1024;

/// Turns `stream` into events until its end.
pub(crate) async fn forward(
    stream: impl AsyncRead + Unpin,
    name: &'static str,
    spool: Spool,
    ended: CancellationToken,
) {
    let mut lines = Lines::new(stream, MAX_LINE_BYTES);
    while let Some(Ok(Some(piece))) = until_quiet(&ended, lines.next()).await {
        log(&spool, name, &String::from_utf8_lossy(&piece.bytes)).await;
    }
}

/// Adds one line to the log of the attempt. `stream` is `stdout`, `stderr`, or `runner` for the runner's own messages.
pub(crate) async fn log(spool: &Spool, stream: &'static str, text: &str) {
    let data = [("stream", stream), ("text", text)];
    let data: Map<_, _> = data.map(|(key, text)| (key.to_owned(), Value::from(text))).into_iter().collect();
    spool.push(EventKind::Log, None, data).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use mgx_protocol::MAX_EVENT_BYTES;

    #[tokio::test]
    async fn the_worst_output_still_fits_into_events() {
        let spool = Spool::new();
        let ended = CancellationToken::new();
        let worst = [
            vec![1; 3 * MAX_LINE_BYTES],
            vec![0xFF; 3 * MAX_LINE_BYTES],
            "é\u{1b}[0m".repeat(MAX_LINE_BYTES).into_bytes(),
        ]
        .concat();
        forward(&worst[..], "stdout", spool.clone(), ended).await;
        let mut seq = 0;
        while let Some((last, wire)) = spool.after(seq, 1) {
            assert!(wire.len() < MAX_EVENT_BYTES + 200, "{}", wire.len());
            seq = last;
        }
        assert!(seq >= 9, "{seq} events");
    }
}
