//! A job as a client submits it, and the checks that make a [`JobSpec`] of it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use jiff::Timestamp;
use mgx_policies::TimeLimit;
use mgx_protocol::{ByteSize, WORKSPACE_DIR};
use mgx_runtimes::Limits;
use mgx_scheduler::{JobSpec, Kind};
use serde::Deserialize;
use utoipa::ToSchema;

use super::terms::{NewGroup, NewRetry, NewTerms};
use crate::http::problem::{FieldError, Problem, Slug};
use crate::http::seconds::{Seconds, SecondsSchema, SizeSchema};
use crate::state::JobRules;

/// The longest prompt, in bytes: it travels as one environment variable.
const MAX_PROMPT: usize = 64 * 1024;
/// The longest command, in bytes with all its arguments.
const MAX_COMMAND: usize = 64 * 1024;
/// The most arguments of a command, the program included.
const MAX_ARGUMENTS: usize = 1024;
/// The most variables a caller may set.
const MAX_ENV: usize = 128;
/// The longest environment, in bytes of names and values.
const MAX_ENV_BYTES: usize = 64 * 1024;
/// The longest working directory, in bytes.
const MAX_WORKDIR: usize = 4096;

/// The lowest limits with which a container works.
const LEAST: Limits = Limits { memory_bytes: 16 * 1024 * 1024, cpu_quota: 1000, pids: 8 };

/// The variables that the platform sets in every container.
const PLATFORM_VARIABLES: [&str; 6] =
    ["SESSION_ID", "WORKSPACE_ID", "FRAMEWORK", "PROMPT", "OPENAI_API_KEY", "OPENAI_BASE_URL"];

/// A job to run. It needs a prompt or a command.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewJob {
    /// The kind of work: `agent`.
    #[serde(default = "agent")]
    #[schema(value_type = String, example = "agent")]
    kind: Kind,
    /// What the agents are to do. At most 64 KiB.
    #[serde(default)]
    #[schema(example = "build a todo list")]
    prompt: String,
    /// The command to run instead of the agent team: program and arguments, passed on unchanged.
    #[serde(default)]
    command: Vec<String>,
    /// Variables for the command. `PATH`, `LD_*`, `MGX_*` and those that the platform sets are refused.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// The working directory: `/workspace` or below.
    workdir: Option<String>,
    /// How long the command may run: seconds, or a text such as `30m`.
    #[schema(value_type = Option<SecondsSchema>, example = 1800)]
    timeout_s: Option<Seconds>,
    /// What its container may use.
    #[serde(default)]
    resources: Resources,
    /// 0 to 9; of one user's jobs, those with the highest go first. It rises while the job waits.
    #[schema(example = 5)]
    priority: Option<u8>,
    /// Jobs of a group run one at a time.
    group: Option<NewGroup>,
    /// When the job joins the queue at the earliest (RFC 3339).
    start_at: Option<Timestamp>,
    /// How long it may wait in the queue before it expires: seconds, or a text such as `2h`. The default is `queue.ttl`
    /// of the configuration.
    #[schema(value_type = Option<SecondsSchema>, example = 7200)]
    queue_ttl_s: Option<Seconds>,
    /// How often and when it is run again after its command failed.
    #[serde(default)]
    retry: NewRetry,
}

/// What a job's container may use.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resources {
    /// Memory: bytes, or a text such as `512MiB` or `2g`.
    #[schema(value_type = Option<SizeSchema>, example = "2g")]
    memory: Option<ByteSize>,
    /// Microseconds of processor time in each 100 ms: 100000 is one CPU.
    #[schema(example = 100_000)]
    cpu_quota: Option<u64>,
    /// Processes and threads.
    pids: Option<u32>,
}

impl NewJob {
    /// A job of the agent team for `prompt`, with every default.
    pub(crate) fn of_prompt(prompt: String) -> Self {
        Self {
            kind: Kind::Agent,
            prompt,
            command: Vec::new(),
            env: BTreeMap::new(),
            workdir: None,
            timeout_s: None,
            resources: Resources::default(),
            priority: None,
            group: None,
            start_at: None,
            queue_ttl_s: None,
            retry: NewRetry::default(),
        }
    }

    /// Checks every value and fills in the defaults.
    ///
    /// # Errors
    /// `quota-exceeded` if it asks for more than `rules` allow, else `validation` with every invalid field.
    pub(crate) fn checked(self, rules: &JobRules) -> Result<JobSpec, Problem> {
        let limits = self.resources.limits(rules)?;
        let timeout_s = self.timeout_s.map_or(rules.times.run_s, Seconds::get);
        let workdir = self.workdir.unwrap_or_else(|| WORKSPACE_DIR.to_owned());

        let mut errors = Vec::new();
        check_kind(self.kind, &mut errors);
        check_task(&self.prompt, &self.command, &mut errors);
        check_env(&self.env, &mut errors);
        if !is_inside_workspace(&workdir) {
            errors.push(FieldError::at(
                "/workdir",
                "an absolute path: /workspace or below, without `.` or `..`",
            ));
        }
        if !rules.times.allow(TimeLimit::Run, timeout_s) {
            errors.push(FieldError::too_long(TimeLimit::Run, rules.times.max(TimeLimit::Run)));
        }
        let Self { kind, prompt, command, env, priority, group, start_at, queue_ttl_s, retry, .. } = self;
        let options =
            NewTerms { priority, group, start_at, queue_ttl_s, retry }.checked(&rules.times, &mut errors);
        if !errors.is_empty() {
            return Err(Problem::validation(errors));
        }
        Ok(JobSpec { kind, prompt, command, env, workdir, limits, timeout_s, options, continues: Vec::new() })
    }
}

impl Resources {
    fn limits(&self, rules: &JobRules) -> Result<Limits, Problem> {
        let JobRules { default_limits: default, max_limits: max, .. } = rules;
        let memory = self.memory.map_or(default.memory_bytes, ByteSize::bytes);
        let quota = self.cpu_quota.unwrap_or(default.cpu_quota);
        let pids = u64::from(self.pids.unwrap_or(default.pids));
        Ok(Limits {
            memory_bytes: within(
                "memory",
                "agent.max_memory",
                memory,
                LEAST.memory_bytes..=max.memory_bytes,
            )?,
            cpu_quota: within("cpu_quota", "agent.max_cpu_quota", quota, LEAST.cpu_quota..=max.cpu_quota)?,
            pids: u32::try_from(within("pids", "agent.pids", pids, LEAST.pids.into()..=max.pids.into())?)
                .unwrap_or(max.pids),
        })
    }
}

/// `asked`, if it is in `range`, whose end is the setting `key` of the configuration.
fn within(name: &str, key: &'static str, asked: u64, range: RangeInclusive<u64>) -> Result<u64, Problem> {
    let pointer = format!("/resources/{name}");
    let (least, max) = range.into_inner();
    if asked > max {
        let detail = format!("{name} {asked} is more than {key} allows, {max}");
        return Err(Problem::new(Slug::QuotaExceeded, detail).at(pointer).limit(key, asked, max));
    }
    if asked < least {
        return Err(Problem::invalid(pointer, format!("at least {least}")));
    }
    Ok(asked)
}

fn check_kind(kind: Kind, errors: &mut Vec<FieldError>) {
    match kind {
        Kind::Agent => {}
        Kind::Dev | Kind::Build => {
            errors.push(FieldError::at(
                "/kind",
                format!("{kind} jobs cannot be submitted; agent is the kind that can"),
            ));
        }
    }
}

fn check_task(prompt: &str, command: &[String], errors: &mut Vec<FieldError>) {
    if prompt.len() > MAX_PROMPT {
        errors.push(FieldError::at("/prompt", format!("at most {MAX_PROMPT} bytes")));
    }
    if prompt.contains('\0') {
        errors.push(FieldError::at("/prompt", "no NUL"));
    }
    if prompt.trim().is_empty() && command.is_empty() {
        errors.push(FieldError::at("/prompt", "a job needs a prompt or a command"));
    }
    if command.first().is_some_and(String::is_empty) {
        errors.push(FieldError::at("/command/0", "the program has no name"));
    }
    if command.len() > MAX_ARGUMENTS || command.iter().map(String::len).sum::<usize>() > MAX_COMMAND {
        let detail = format!("at most {MAX_ARGUMENTS} arguments of {MAX_COMMAND} bytes together");
        errors.push(FieldError::at("/command", detail));
    }
    if let Some(index) = command.iter().position(|argument| argument.contains('\0')) {
        errors.push(FieldError::at(format!("/command/{index}"), "no NUL"));
    }
}

fn check_env(env: &BTreeMap<String, String>, errors: &mut Vec<FieldError>) {
    let bytes: usize = env.iter().map(|(name, value)| name.len() + value.len()).sum();
    if env.len() > MAX_ENV || bytes > MAX_ENV_BYTES {
        let detail = format!("at most {MAX_ENV} variables of {MAX_ENV_BYTES} bytes together");
        return errors.push(FieldError::at("/env", detail));
    }
    for (name, value) in env {
        let wrong = match name.as_str() {
            name if !is_variable(name) => {
                "a name is 1 to 128 of A-Z a-z 0-9 _, and does not start with a digit"
            }
            "PATH" => "PATH is the image's own",
            name if name.starts_with("LD_") => "the loader's variables cannot be set",
            name if name.starts_with("MGX_") || PLATFORM_VARIABLES.contains(&name) => "set by the platform",
            _ if value.contains('\0') => "no NUL",
            _ => continue,
        };
        let pointer = format!("/env/{}", name.replace('~', "~0").replace('/', "~1"));
        errors.push(FieldError::at(pointer, wrong));
    }
}

fn is_variable(name: &str) -> bool {
    let bytes = name.as_bytes();
    (1..=128).contains(&bytes.len())
        && !bytes[0].is_ascii_digit()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

fn is_inside_workspace(dir: &str) -> bool {
    let Some(below) = dir.strip_prefix(WORKSPACE_DIR) else { return false };
    dir.len() <= MAX_WORKDIR
        && !dir.contains(char::is_control)
        && (below.is_empty() || below.starts_with('/'))
        && below.split('/').skip(1).all(|name| !matches!(name, "" | "." | ".."))
}

fn agent() -> Kind {
    Kind::Agent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::strict_json;
    use crate::testing::show;
    use axum::response::IntoResponse;
    use mgx_policies::TimeLimits;

    const RULES: JobRules = JobRules {
        default_limits: Limits { memory_bytes: 2 << 30, cpu_quota: 100_000, pids: 256 },
        max_limits: Limits { memory_bytes: 4 << 30, cpu_quota: 200_000, pids: 512 },
        times: TimeLimits { run_s: 1800, max_run_s: 3600, wait_s: None, max_wait_s: 86_400 },
    };

    fn ask(json: &str) -> Result<JobSpec, Problem> {
        strict_json::parse::<NewJob>(json.as_bytes())?.checked(&RULES)
    }

    #[test]
    fn a_prompt_alone_gets_the_defaults() {
        let spec = ask(r#"{"prompt":"build a todo list"}"#).unwrap();
        assert_eq!(spec, NewJob::of_prompt("build a todo list".into()).checked(&RULES).unwrap());
        assert_eq!(
            (spec.workdir.as_str(), spec.limits, spec.timeout_s),
            ("/workspace", RULES.default_limits, 1800)
        );
    }

    #[test]
    fn a_command_is_passed_on_unchanged() {
        let spec =
            ask(r#"{"command":["sh","-c","echo '$HOME'\n"],"env":{"A_1":"x=y"},"workdir":"/workspace/app",
                "timeout_s":"1s","resources":{"memory":"512MiB","cpu_quota":50000,"pids":64}}"#)
            .unwrap();
        assert_eq!(spec.command, ["sh", "-c", "echo '$HOME'\n"]);
        assert_eq!(spec.limits, Limits { memory_bytes: 512 << 20, cpu_quota: 50_000, pids: 64 });
    }

    #[tokio::test]
    async fn every_invalid_field_is_named_in_one_answer() {
        let problem = ask(
            r#"{"kind":"build","prompt":"a\u0000","command":[""],"workdir":"/proc/self/fd/8","timeout_s":0,
                "env":{"LD_PRELOAD":"x","PATH":"x","MGX_TOKEN":"x","OPENAI_API_KEY":"x","1A":"x","A B":"x","OK":"\u0000"}}"#,
        )
        .unwrap_err();
        insta::assert_snapshot!(show(problem.into_response()).await);
    }

    #[tokio::test]
    async fn a_value_over_a_limit_is_answered_with_the_limit() {
        let problem = ask(r#"{"prompt":"x","resources":{"memory":"5g"}}"#).unwrap_err();
        insta::assert_snapshot!(show(problem.into_response()).await);
    }

    #[test]
    fn bad_values_are_refused_one_by_one() {
        let long = format!(r#"{{"prompt":"{}"}}"#, "x".repeat(MAX_PROMPT + 1));
        for (json, slug) in [
            ("{}", "validation"),
            (r#"{"prompt":"  "}"#, "validation"),
            (&long, "validation"),
            (r#"{"prompt":"x","kind":"dev"}"#, "validation"),
            (r#"{"prompt":"x","kind":"other"}"#, "validation"),
            (r#"{"prompt":"x","promt":"y"}"#, "validation"),
            (r#"{"prompt":"x","timeout_s":3601}"#, "validation"),
            (r#"{"prompt":"x","timeout_s":-1}"#, "validation"),
            (r#"{"prompt":"x","timeout_s":"250ms"}"#, "validation"),
            (r#"{"prompt":"x","timeout_s":"61m"}"#, "validation"),
            (r#"{"prompt":"x","timeout_s":1e99}"#, "validation"),
            (r#"{"prompt":"x","resources":{"memory":1}}"#, "validation"),
            (r#"{"prompt":"x","resources":{"memory":"2x"}}"#, "validation"),
            (r#"{"prompt":"x","resources":{"memory":18446744073709551615}}"#, "quota-exceeded"),
            (r#"{"prompt":"x","resources":{"cpu_quota":200001}}"#, "quota-exceeded"),
            (r#"{"prompt":"x","resources":{"pids":513}}"#, "quota-exceeded"),
            (r#"{"prompt":"x","resources":{"pids":0}}"#, "validation"),
        ] {
            assert_eq!(ask(json).unwrap_err().slug().as_str(), slug, "{json:.80}");
        }
    }

    #[test]
    fn a_workdir_is_inside_the_workspace() {
        for good in ["/workspace", "/workspace/a", "/workspace/a b/..c"] {
            assert!(is_inside_workspace(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "workspace",
            "/workspace2",
            "/workspace/",
            "/workspace//a",
            "/workspace/../etc",
            "/workspace/.",
            "/proc",
            "/workspace/a\0",
        ] {
            assert!(!is_inside_workspace(bad), "{bad:?}");
        }
    }
}
