//! A model provider that streams tokens at a steady pace; each token is the time at which it was written.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::ListenerExt;
use futures_util::stream;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// A provider on a port of its own; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) address: SocketAddr,
    /// Its base URL.
    pub(super) url: String,
    serving: JoinHandle<()>,
}

/// The replies that it gives.
#[derive(Clone, Copy, Debug)]
struct Replies {
    tokens: u32,
    pace: Duration,
}

impl Provider {
    /// Starts one whose replies have this many tokens, one every `pace`.
    pub(super) async fn start(tokens: u32, pace: Duration) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        // small writes must not wait for each other
        let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
        let replies = Replies { tokens, pace };
        let router = Router::new().route("/v1/chat/completions", post(reply)).with_state(replies);
        let serving = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, url: format!("http://{address}/v1"), serving })
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The time on the clock that provider and agents share, in microseconds.
pub(super) fn now_micros() -> u128 {
    use std::sync::LazyLock;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_micros()
}

async fn reply(State(Replies { tokens, pace }): State<Replies>, _: Bytes) -> Response {
    let start = Instant::now();
    let events = stream::unfold(0, move |number| async move {
        let event = match number {
            number if number < tokens => {
                sleep_until(start + pace * number).await;
                let now = now_micros();
                format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{now} \"}}}}]}}\n\n")
            }
            number if number == tokens => {
                format!(
                    "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":{tokens}}}}}\n\ndata: [DONE]\n\n"
                )
            }
            _ => return None,
        };
        Some((Ok::<_, Infallible>(event), number + 1))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}
