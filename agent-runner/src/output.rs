//! What the command prints: each line of its stdout and stderr becomes a `log` event.

use mgx_protocol::EventKind;
use serde_json::{Map, Value};
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;

use crate::drain::until_quiet;
use crate::lines::Lines;
use crate::spool::Spool;

/// The longest text of one event in bytes; a longer line becomes several. Six times as long, which is what
/// escaping can make of it, it still fits into an event.
const LINE: usize = 10 * 1024;

/// Turns `stream` into events until its end.
pub(crate) async fn forward(
    stream: impl AsyncRead + Unpin,
    name: &'static str,
    spool: Spool,
    ended: CancellationToken,
) {
    let mut lines = Lines::new(stream, LINE);
    while let Some(Ok(Some(piece))) = until_quiet(&ended, lines.next()).await {
        log(&spool, name, &String::from_utf8_lossy(&piece.bytes)).await;
    }
}

/// Adds one line to the log of the attempt. `stream` is `stdout`, `stderr`, or `runner` for its own remarks.
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
        let worst =
            [vec![1; 3 * LINE], vec![0xFF; 3 * LINE], "é\u{1b}[0m".repeat(LINE).into_bytes()].concat();
        forward(&worst[..], "stdout", spool.clone(), ended).await;
        let mut seq = 0;
        while let Some((last, wire)) = spool.after(seq, 1) {
            assert!(wire.len() < MAX_EVENT_BYTES + 200, "{}", wire.len());
            seq = last;
        }
        assert!(seq >= 9, "{seq} events");
    }
}
