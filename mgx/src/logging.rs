//! What nobody is to read: the secrets of the platform, and a log without them.

use std::io::{self, IsTerminal, Write};

use mgx_scheduler::Redactor;
use secrecy::{ExposeSecret, SecretString};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// Knows what no job is to tell and no line of the log to show: the secrets of the configuration, and the administrator's
/// `token`.
pub(crate) fn redactor(config: &Config, token: Option<&SecretString>) -> Redactor {
    let chosen =
        [config.llm.api_key.get(), config.oauth2.admin_password.get(), config.store.url.get(), token];
    let secrets = chosen.into_iter().flatten().map(ExposeSecret::expose_secret);
    Redactor::new(secrets, config.history.redact_patterns)
}

/// Writes what happens to standard error.
pub(crate) fn start(config: &Config) {
    let redactor = redactor(config, None);
    let filter = EnvFilter::builder().parse_lossy(&config.log.level);
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || Clean(redactor.clone()));
    let started = match config.log.format {
        LogFormat::Json => lines.json().try_init(),
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
    };
    // Fails only if somebody logs already.
    started.ok();
}

/// Standard error, which is written to line by line.
struct Clean(Redactor);

impl Write for Clean {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(self.0.text(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
