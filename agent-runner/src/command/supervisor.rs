//! Ends the command at its deadline or when the platform asks for it: SIGTERM, grace time, SIGKILL.

use std::time::Duration;

use mgx_protocol::ExitCause;
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::processes::Processes;

/// The platform's request to end the command: when SIGKILL is due. A further request can only bring it nearer.
#[derive(Clone, Debug)]
pub(crate) struct StopRequest(watch::Sender<Option<Instant>>);

impl StopRequest {
    /// No request yet.
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Requests the end: SIGTERM now, SIGKILL after `grace`.
    pub(crate) fn request(&self, grace: Duration) {
        let kill_at = after(Instant::now(), grace);
        self.0.send_if_modified(|current| {
            let nearer = current.is_none_or(|current| kill_at < current);
            if nearer {
                *current = Some(kill_at);
            }
            nearer
        });
    }
}

/// The instant `wait` after `start`, which is at most a year away: the clock cannot express every sum.
pub(crate) fn after(start: Instant, wait: Duration) -> Instant {
    const FAR: Duration = Duration::from_hours(365 * 24);
    start + wait.min(FAR)
}

/// Waits for the end of the command, or ends it: at the `deadline` with `grace`, or when `stop` is requested.
/// Afterwards none of its processes is left.
///
/// # Errors
/// A text for people: a process could not be killed. The cause is returned all the same.
pub(crate) async fn supervise(
    processes: &mut Processes,
    deadline: Instant,
    grace: Duration,
    stop: &StopRequest,
) -> (ExitCause, Result<(), String>) {
    let mut requests = stop.0.subscribe();
    let cause = tokio::select! {
        biased;
        _ = processes.ended() => ExitCause::Ended,
        // `stop` keeps the sender, so this cannot fail
        () = async { drop(requests.wait_for(Option::is_some).await) } => ExitCause::Stopped,
        () = sleep_until(deadline) => {
            stop.request(grace);
            ExitCause::Deadline
        }
    };
    if cause != ExitCause::Ended {
        processes.signal(Signal::TERM);
        tokio::select! {
            _ = processes.ended() => {}
            () = kill_time(requests) => {}
        }
    }
    (cause, processes.kill_rest().await)
}

/// Waits for the instant in `requests`, which a further request may bring nearer.
async fn kill_time(mut requests: watch::Receiver<Option<Instant>>) {
    loop {
        let kill_at = requests.borrow_and_update().unwrap_or_else(Instant::now);
        tokio::select! {
            () = sleep_until(kill_at) => return,
            _ = requests.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_stop_can_only_bring_the_kill_nearer() {
        let start = Instant::now();
        let seconds = Duration::from_secs;
        let (stop, requests) = (StopRequest::new(), StopRequest::new());
        for grace in [10, 20, 3, 7] {
            stop.request(seconds(grace));
        }
        kill_time(stop.0.subscribe()).await;
        assert_eq!(start.elapsed(), seconds(3));

        requests.request(seconds(60));
        let waiting = tokio::spawn(kill_time(requests.0.subscribe()));
        tokio::time::sleep(seconds(1)).await;
        requests.request(seconds(1));
        waiting.await.unwrap();
        assert_eq!(start.elapsed(), seconds(5));

        requests.request(Duration::MAX);
    }
}
