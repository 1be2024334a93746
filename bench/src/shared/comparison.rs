//! The comparison with another program on the same machine, which is measured in turns with this one.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use super::output;
use super::statistics::tenths;

/// How long the other program may take.
const TIMEOUT: Duration = Duration::from_mins(10);

/// Endings of the names of figures of which more is better; of all others, less is.
const MORE_IS_BETTER: [&str; 3] = ["_per_s", "_rate", "_index"];

/// The program to compare with.
#[derive(Debug, clap::Args)]
pub(crate) struct Comparison {
    /// A program to run on the same machine, in turns with this one. It prints JSON objects, each on a line; their
    /// numbers are compared with ours of the same name.
    #[arg(long = "beside", id = "beside", value_name = "COMMAND")]
    command: Option<String>,
    /// Two numbers to compare whose names differ, such as `tti_ms.p50=first_event.p50`.
    #[arg(long = "beside-key", value_name = "OURS=THEIRS", requires = "beside")]
    keys: Vec<Pair>,
    /// How often each of the two is measured.
    #[arg(long = "beside-rounds", value_name = "ROUNDS", default_value_t = 3, requires = "beside")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=100))]
    rounds: u8,
}

/// The name of one of our figures, and of the one of the other program that it is compared with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    ours: String,
    theirs: String,
}

/// Figures by name; in nested objects, the name is the path: `outer.inner.name`.
type Numbers = BTreeMap<String, f64>;

impl Comparison {
    /// Measures once, or in turns with the other program, and prints the report.
    ///
    /// # Errors
    /// A measurement failed, or the two have no figure in common.
    pub(crate) async fn measure(
        &self,
        json: bool,
        once: impl AsyncFn() -> anyhow::Result<Value>,
    ) -> anyhow::Result<()> {
        let mut report = once().await?;
        self.compare(&mut report, once).await?;
        output::report(&report, json);
        Ok(())
    }

    /// Adds the comparison to `report`, if there is a program to compare with. The two are measured in turns, so that
    /// what changes on the machine meanwhile changes for both: `report` is our first round, then the other program
    /// runs, then `again`, and so on.
    ///
    /// # Errors
    /// The other program failed, or has none of the figures.
    pub(crate) async fn compare(
        &self,
        report: &mut Value,
        again: impl AsyncFn() -> anyhow::Result<Value>,
    ) -> anyhow::Result<()> {
        let Some(command) = &self.command else { return Ok(()) };
        let mut rounds = Vec::new();
        for round in 1..=self.rounds {
            let ours = if round == 1 { numbers(report) } else { numbers(&again().await?) };
            output::note(format_args!("round {round} of {}, beside: {command}", self.rounds));
            rounds.push((ours, run_other(command).await?));
        }
        report["beside"] = self.report(&rounds)?;
        Ok(())
    }

    /// The medians of all rounds, pair by pair.
    fn report(&self, rounds: &[(Numbers, Numbers)]) -> anyhow::Result<Value> {
        let Some((ours, theirs)) = rounds.first() else { bail!("there was no round") };
        let mut pairs = self.keys.clone();
        let same = |name: &String| Pair { ours: name.clone(), theirs: name.clone() };
        pairs.extend(ours.keys().filter(|name| theirs.contains_key(*name)).map(same));
        pairs.sort();
        pairs.dedup();
        let names = |numbers: &Numbers| numbers.keys().cloned().collect::<Vec<_>>().join(", ");
        ensure!(
            !pairs.is_empty(),
            "it printed no number that is called like one of ours; pair them with --beside-key OURS=THEIRS: ours are \
             {}; theirs are {}",
            names(ours),
            names(theirs)
        );
        let mut compared = serde_json::Map::new();
        for pair in pairs {
            let of = |pick: fn(&(Numbers, Numbers)) -> &Numbers, whose: &str, name: &str| {
                let samples: Option<Vec<f64>> =
                    rounds.iter().map(|round| pick(round).get(name).copied()).collect();
                let there = || names(pick(&rounds[0]));
                samples.as_deref().map(median).with_context(|| {
                    format!("{whose} number {name} is not there in every round; there are {}", there())
                })
            };
            let ours = of(|(ours, _)| ours, "our", &pair.ours)?;
            let theirs = of(|(_, theirs)| theirs, "their", &pair.theirs)?;
            compared.insert(
                pair.ours.clone(),
                json!({ "ours": ours, "theirs": theirs, "key": pair.theirs, "times": times(&pair.ours, ours, theirs) }),
            );
        }
        Ok(json!({ "rounds": rounds.len(), "keys": compared }))
    }
}

/// The comparison in `report` for people, one line for each figure.
pub(crate) fn lines(report: &Value) -> Vec<String> {
    let keys = report["beside"]["keys"].as_object().into_iter().flatten();
    keys.map(|(ours, pair)| {
        let number = |key: &str| pair[key].as_f64().unwrap_or(f64::NAN);
        let theirs = pair["key"].as_str().unwrap_or_default();
        format!(
            "{ours} {:.1}, beside {theirs} {:.1}: {:.1} times as good",
            number("ours"),
            number("theirs"),
            number("times")
        )
    })
    .collect()
}

/// How many times better our figure is; `None` if one of the two is zero.
fn times(name: &str, ours: f64, theirs: f64) -> Option<f64> {
    let more = name.split('.').any(|part| MORE_IS_BETTER.iter().any(|end| part.ends_with(end)));
    let (better, worse) = if more { (ours, theirs) } else { (theirs, ours) };
    (better > 0.0 && worse > 0.0).then(|| tenths(better / worse))
}

impl FromStr for Pair {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((ours, theirs)) if !ours.is_empty() && !theirs.is_empty() => {
                Ok(Self { ours: ours.to_owned(), theirs: theirs.to_owned() })
            }
            Some(_) | None => Err("two names with = between them, such as tti_ms.p50=first_event.p50"),
        }
    }
}

/// Every figure in `report`.
fn numbers(report: &Value) -> Numbers {
    fn collect(name: &str, value: &Value, into: &mut Numbers) {
        let below = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
        match value {
            Value::Number(number) => into.extend(number.as_f64().map(|number| (name.to_owned(), number))),
            Value::Object(fields) => fields.iter().for_each(|(key, value)| collect(&below(key), value, into)),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(at, item)| collect(&below(&at.to_string()), item, into));
            }
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }
    let mut found = Numbers::new();
    collect("", report, &mut found);
    found
}

/// The middle one; of an even number, the mean of the two in the middle.
fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(low), sorted.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        (_, None) | (None, _) => f64::NAN,
    }
}

/// Runs `command`, and reads the figures that it prints; other lines are ignored.
async fn run_other(command: &str) -> anyhow::Result<Numbers> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = tokio::time::timeout(TIMEOUT, shell.output()).await.context("it took too long")??;
    ensure!(output.status.success(), "{command} ended with {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let objects = text.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object);
    let found: Numbers = objects.flat_map(|object| numbers(&object)).collect();
    ensure!(!found.is_empty(), "{command} printed no line that is a JSON object with a number in it");
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(command: &str, keys: &[&str]) -> Comparison {
        let keys = keys.iter().map(|key| key.parse().unwrap()).collect();
        Comparison { command: Some(command.to_owned()), keys, rounds: 3 }
    }

    #[tokio::test]
    async fn both_are_measured_in_turns_and_their_medians_compared() {
        let directory = tempfile::tempdir().unwrap();
        let order = directory.path().join("order");
        let ours = async || {
            use std::io::Write;
            std::fs::OpenOptions::new().append(true).create(true).open(&order)?.write_all(b"ours ")?;
            Ok(json!({ "end_to_end_per_s": 1000, "tti_ms": { "p50": 8 }, "name": "ours" }))
        };
        let command = format!(
            "printf 'theirs ' >> {}; echo '{{\"rss\": 7}}'; echo noise; \
             echo '{{\"end_to_end_per_s\": 250, \"first_event\": {{\"p50\": 400}}}}'",
            order.display()
        );
        let mut report = ours().await.unwrap();
        beside(&command, &["tti_ms.p50=first_event.p50"]).compare(&mut report, ours).await.unwrap();
        assert_eq!(std::fs::read_to_string(&order).unwrap(), "ours theirs ours theirs ours theirs ");
        insta::assert_snapshot!(lines(&report).join("\n"), @r"
        end_to_end_per_s 1000.0, beside end_to_end_per_s 250.0: 4.0 times as good
        tti_ms.p50 8.0, beside first_event.p50 400.0: 50.0 times as good
        ");
        assert_eq!(report["beside"]["rounds"], 3);
    }

    #[tokio::test]
    async fn what_cannot_be_compared_is_an_error_that_lists_the_numbers() {
        let error_of = async |command: &str, keys: &[&str]| {
            let mut report = json!({ "a": 1, "b": { "c": 2 } });
            let again = async || Ok(json!({ "a": 1, "b": { "c": 2 } }));
            let result = beside(command, keys).compare(&mut report, again).await;
            result.map_or_else(|error| format!("{error:#}"), |()| String::new())
        };
        assert!(error_of("echo nothing", &[]).await.contains("no line that is a JSON object"));
        assert!(error_of("echo '{\"a\": 1}'; exit 3", &[]).await.contains("ended with exit status: 3"));
        let nothing = error_of("echo '{\"x\": 1}'", &[]).await;
        assert!(nothing.contains("ours are a, b.c; theirs are x"), "{nothing}");
        let missing = error_of("echo '{\"x\": 1}'", &["a=y"]).await;
        assert!(missing.contains("their number y is not there in every round; there are x"), "{missing}");
        assert_eq!(error_of("echo '{\"x\": 1}'", &["a=x"]).await, "");
        assert!("a=".parse::<Pair>().is_err() && "a".parse::<Pair>().is_err());
    }

    #[test]
    fn less_is_better_unless_the_name_says_otherwise() {
        let all =
            [times("tti_ms.p50", 2.0, 8.0), times("drain_per_s", 2.0, 8.0), times("hit_rate", 0.0, 1.0)];
        assert_eq!(all, [Some(4.0), Some(0.3), None]);
    }

    #[test]
    fn a_median_is_in_the_middle() {
        let medians = [median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0, 2.0, 3.0])];
        assert_eq!(json!(medians), json!([2.0, 2.5]));
    }
}
