//! A warning that is the same again and again is logged once a minute, with the number of times that it came.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// How long a line stands for all that are equal to it.
const PERIOD: Duration = Duration::from_mins(1);

/// How many different lines are known at the same time; a further one is logged in any case.
const MAX_LINES: usize = 1024;

/// Formats lines as `inner` does, without those that were logged already within the last minute. Lines of the levels `INFO`
/// and below are no repetitions, whatever they say.
#[derive(Debug)]
pub(super) struct WithoutRepeats<F> {
    inner: F,
    repeats: Mutex<Repeats>,
}

/// The lines of the last minute.
#[derive(Debug, Default)]
struct Repeats(HashMap<u64, Repeat>);

/// A line that was logged.
#[derive(Debug)]
struct Repeat {
    at: Instant,
    /// How often it has come again since then.
    again: u64,
}

impl<F> WithoutRepeats<F> {
    pub(super) fn new(inner: F) -> Self {
        Self { inner, repeats: Mutex::default() }
    }
}

impl<S, N, F> FormatEvent<S, N> for WithoutRepeats<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if *event.metadata().level() > Level::WARN {
            return self.inner.format_event(context, writer, event);
        }
        let mut line = Content(DefaultHasher::new());
        event.metadata().callsite().hash(&mut line.0);
        event.record(&mut line);
        let admitted = {
            let mut repeats = self.repeats.lock().unwrap_or_else(PoisonError::into_inner);
            repeats.admit(line.0.finish(), Instant::now())
        };
        match admitted {
            None => Ok(()),
            Some(0) => self.inner.format_event(context, writer, event),
            Some(again) => {
                let mut text = String::new();
                self.inner.format_event(context, Writer::new(&mut text), event)?;
                writer.write_str(&with_count(&text, again))
            }
        }
    }
}

impl Repeats {
    /// Whether a line is logged now, and how often it was left out since it was logged before.
    fn admit(&mut self, line: u64, now: Instant) -> Option<u64> {
        match self.0.get_mut(&line) {
            Some(known) if now.duration_since(known.at) < PERIOD => {
                known.again += 1;
                None
            }
            Some(known) => {
                known.at = now;
                Some(std::mem::take(&mut known.again))
            }
            None => {
                if self.0.len() >= MAX_LINES {
                    self.0.retain(|_, known| now.duration_since(known.at) < PERIOD);
                }
                if self.0.len() < MAX_LINES {
                    self.0.insert(line, Repeat { at: now, again: 0 });
                }
                Some(0)
            }
        }
    }
}

/// What a line says, without its time.
struct Content(DefaultHasher);

impl Visit for Content {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        field.name().hash(&mut self.0);
        format!("{value:?}").hash(&mut self.0);
    }
}

/// A line of text or JSON with the number of times that it was left out.
fn with_count(line: &str, again: u64) -> String {
    let line = line.trim_end_matches('\n');
    let mut counted = String::with_capacity(line.len() + 24);
    let written = match line.strip_suffix('}').filter(|_| line.starts_with('{')) {
        Some(object) => writeln!(counted, "{object},\"left_out\":{again}}}"),
        None => writeln!(counted, "{line} left_out={again}"),
    };
    // writing into a string never fails
    written.map(|()| counted).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Arc;

    #[test]
    fn a_line_is_logged_once_a_minute_and_says_how_often_it_came() {
        let (mut repeats, begin) = (Repeats::default(), Instant::now());
        let mut at = |line, second| repeats.admit(line, begin + Duration::from_secs(second));
        assert_eq!([at(1, 0), at(1, 1), at(2, 2), at(1, 59)], [Some(0), None, Some(0), None]);
        assert_eq!([at(1, 60), at(1, 61), at(1, 120), at(1, 600)], [Some(2), None, Some(1), Some(0)]);
    }

    #[test]
    fn lines_beyond_those_that_are_known_are_logged() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        for line in 0..5000 {
            assert_eq!(repeats.admit(line, now), Some(0));
        }
        assert!(repeats.0.len() <= MAX_LINES);
        assert_eq!(repeats.admit(9999, now + PERIOD), Some(0));
        assert_eq!(repeats.0.len(), 1, "what is over is forgotten");
    }

    #[test]
    fn only_equal_warnings_are_left_out() {
        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .map_event_format(WithoutRepeats::new)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            for cause in ["refused", "refused", "timed out", "refused"] {
                tracing::warn!(cause, "the container engine does not answer");
                tracing::info!("a request");
            }
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches("refused").count(), 1, "{text}");
        assert_eq!(text.matches("timed out").count(), 1, "{text}");
        assert_eq!(text.matches("a request").count(), 4, "{text}");
    }

    #[test]
    fn the_count_stands_at_the_end_of_a_line() {
        assert_eq!(with_count("WARN away cause=x\n", 3), "WARN away cause=x left_out=3\n");
        assert_eq!(with_count("{\"level\":\"WARN\"}\n", 3), "{\"level\":\"WARN\",\"left_out\":3}\n");
    }
}
