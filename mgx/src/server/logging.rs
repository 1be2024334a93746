//! The log of the server, without secrets.

mod repeats;

use std::io::{self, IsTerminal, Write};

use mgx_llm::ProviderConfig;
use mgx_scheduler::Redactor;
use secrecy::{ExposeSecret, SecretString};
use tracing_subscriber::EnvFilter;

use self::repeats::WithoutRepeats;
use crate::config::{Config, LogFormat};
use crate::settings;

/// Replaces the secrets of the configuration, and the admin `token`, in events and in the log.
pub(crate) fn redactor(config: &Config, token: Option<&SecretString>) -> Redactor {
    let chosen =
        [config.llm.api_key.get(), config.oauth2.admin_password.get(), config.store.url.get(), token];
    let llm = settings::llm_config(config);
    let of_providers = llm.provider.iter().chain(llm.providers.values()).flat_map(ProviderConfig::secrets);
    let secrets = chosen.into_iter().flatten().map(ExposeSecret::expose_secret).chain(of_providers);
    Redactor::new(secrets, config.history.redact_patterns)
}

/// Writes the log to standard error from now on.
pub(crate) fn start(config: &Config) {
    let redactor = redactor(config, None);
    let filter = EnvFilter::builder().parse_lossy(&config.log.level);
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || RedactedStderr(redactor.clone()));
    let started = match config.log.format {
        LogFormat::Json => lines.json().map_event_format(WithoutRepeats::new).try_init(),
        LogFormat::Text => {
            let lines = lines.with_ansi(io::stderr().is_terminal());
            lines.map_event_format(WithoutRepeats::new).try_init()
        }
    };
    // fails only if a log is installed already
    started.ok();
}

/// Standard error, to which redacted lines are written.
struct RedactedStderr(Redactor);

impl Write for RedactedStderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(self.0.text(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
