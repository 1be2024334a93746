//! The scheduler through its public interface, on a simulated engine and a paused clock.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod clock;
mod failures;
mod provider;
mod recovery;
mod room;
mod support;
