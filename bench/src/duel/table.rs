//! A duel as text for a terminal: tables with bars.

use mgx_runtimes::pool::report::Report;

use super::figures::{Figures, ModeFigures, RuntimeFigures, Which};
use super::stages::Stage;

/// The width of the longest bar, in characters.
const WIDTH: f64 = 40.0;

/// All tables.
pub(super) fn text(figures: &Figures) -> String {
    let mut lines = Vec::new();
    for mode in figures.modes() {
        let rows: Vec<_> = figures.rows(mode).collect();
        let slowest = rows.iter().map(|(_, row)| row.percentile(50)).fold(0.0, f64::max);
        lines.push(format!(
            "{:<17}    jobs errors      p50      p90      p99   ms from the request to the first event",
            mode.name()
        ));
        lines.extend(rows.iter().map(|(runtime, row)| latency(runtime, row, slowest)));
        lines.push(String::new());
        let longest = rows.iter().map(|(_, row)| row.total_ms()).fold(0.0, f64::max);
        lines.push(format!("{:<17}   until gone   {}", "stages", legend()));
        lines.extend(rows.iter().map(|(runtime, row)| waterfall(runtime, row, longest)));
        lines.push(String::new());
    }
    lines.push(format!("{:<17}  MiB in a slot   kept by the engine   hit rate   claim p50, p99", "slots"));
    lines.extend(figures.runtimes.iter().map(slots));
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

fn latency(runtime: &str, row: &ModeFigures, slowest: f64) -> String {
    let [p50, p90, p99] = [50, 90, 99].map(|percent| row.percentile(percent));
    let (jobs, errors) = (row.tti_ms.len(), row.errors);
    let bar = repeat('█', p50, slowest);
    format!("{:<17}{jobs:>8}{errors:>7}{p50:>9.1}{p90:>9.1}{p99:>9.1}   {bar}", name(runtime, row))
}

/// Each stage as a bar of its letter.
fn waterfall(runtime: &str, row: &ModeFigures, longest: f64) -> String {
    let mut bar = String::new();
    let mut until = 0.0;
    for (stage, lasts) in row.stages() {
        until += lasts;
        let wanted = repeat(' ', until, longest).chars().count();
        while bar.chars().count() < wanted {
            bar.push(letter(stage));
        }
    }
    format!("{:<17}{:>10.1} ms   {bar}", name(runtime, row), row.total_ms())
}

fn slots(runtime: &RuntimeFigures) -> String {
    let or = |number: Option<f64>, digits: usize| {
        number.map_or_else(|| "–".to_owned(), |number| format!("{number:.digits$}"))
    };
    let (container, keeper) =
        (runtime.memory.map(|memory| memory.container_mib), runtime.memory.map(|memory| memory.keeper_mib));
    let rate = runtime.pool.as_ref().and_then(Report::hit_rate);
    let claims = runtime
        .pool
        .as_ref()
        .map(|pool| format!("{:.2}, {:.2} ms", pool.claim_ms.p50, pool.claim_ms.p99))
        .unwrap_or_default();
    format!("{:<17}{:>15}{:>21}{:>11}   {claims}", runtime.name, or(container, 1), or(keeper, 1), or(rate, 3))
}

/// The name of the runtime, with `hit` or `miss`.
pub(super) fn name(runtime: &str, row: &ModeFigures) -> String {
    match row.which {
        Which::All => runtime.to_owned(),
        Which::Hit | Which::Miss => format!("{runtime} {}", row.which.name()),
    }
}

fn legend() -> String {
    let named: Vec<_> = Stage::ALL[..Stage::ALL.len() - 1]
        .iter()
        .map(|&stage| format!("{} {}", letter(stage), stage.name().replace('_', " ")))
        .collect();
    named.join(", ")
}

fn letter(stage: Stage) -> char {
    match stage {
        Stage::Queued => '·',
        Stage::Admitted => 'a',
        Stage::Create => 'c',
        Stage::Ready => 'r',
        Stage::Invoke => 'i',
        Stage::FirstEvent => 'e',
        Stage::Finish => 'x',
        Stage::Removed => ' ',
    }
}

/// A bar of `c` whose length is `value` in proportion to `most`; at least one character if there is a value.
fn repeat(c: char, value: f64, most: f64) -> String {
    if value <= 0.0 || most <= 0.0 {
        return String::new();
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and the width")]
    let count = (value / most * WIDTH).round().clamp(1.0, WIDTH) as usize;
    std::iter::repeat_n(c, count).collect()
}

#[cfg(test)]
mod tests {
    use super::super::figures::fixed;

    #[test]
    fn a_duel_is_shown_as_bars() {
        insta::assert_snapshot!(super::text(&fixed()));
    }
}
