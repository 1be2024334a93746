//! Plots of a duel as SVG. Their colours are set by the page that contains them.

use std::fmt::Write;

use super::figures::ModeFigures;
use super::stages::Stage;
use super::table::name;

/// Width of a plot, in user units, as all lengths here.
const WIDTH: f64 = 720.0;

/// Left margin.
const LEFT: f64 = 130.0;

/// Right margin.
const RIGHT: f64 = 20.0;

/// Height of the distribution, without its axis.
const HEIGHT: f64 = 220.0;

/// Height of one bar and its gap.
const BAR: f64 = 26.0;

/// Height of the axis below a plot.
const AXIS: f64 = 34.0;

/// A logarithmic axis over whole powers of ten, at least one, that contain every time.
struct Axis {
    first: f64,
    last: f64,
}

/// A mark of an axis.
struct Tick {
    x: f64,
    /// Which part of the label stands at the mark.
    anchor: &'static str,
    label: String,
}

impl Axis {
    /// The axis for times from `low` to `high`, in milliseconds above 0.
    fn of(low: f64, high: f64) -> Self {
        let (first, last) = (low.log10().floor(), high.log10().ceil());
        Self { first, last: last.max(first + 1.0) }
    }

    /// Where a time stands. A time that the axis does not reach stands at its beginning.
    fn x(&self, ms: f64) -> f64 {
        let power = ms.max(10f64.powf(self.first)).log10();
        LEFT + (power - self.first) / (self.last - self.first) * (WIDTH - LEFT - RIGHT)
    }

    /// A tick for each power of ten.
    fn ticks(&self) -> Vec<Tick> {
        let powers = std::iter::successors(Some(self.first), |power| Some(power + 1.0));
        let powers = powers.take_while(|power| *power <= self.last);
        powers
            .map(|power| Tick {
                x: self.x(10f64.powf(power)),
                // the last label would not fit beside the edge
                anchor: if power < self.last { "middle" } else { "end" },
                label: time(10f64.powf(power)),
            })
            .collect()
    }
}

/// The share of jobs by the time to their first event: a line for each row, on a logarithmic axis.
pub(super) fn distribution(rows: &[(&str, &ModeFigures)]) -> String {
    let all = || rows.iter().flat_map(|(_, row)| row.tti_ms.iter().copied()).filter(|ms| *ms > 0.0);
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    if low > high {
        return String::new();
    }
    let axis = Axis::of(low, high);
    let x = |ms: f64| axis.x(ms);
    let y = |share: f64| 10.0 + (1.0 - share) * HEIGHT;
    let mut svg = open(HEIGHT + 10.0 + AXIS, "Share of jobs by time to the first event");
    for percent in [0, 50, 90, 100] {
        let at = y(f64::from(percent) / 100.0);
        line(&mut svg, (LEFT, at), (WIDTH - RIGHT, at));
        text(&mut svg, (LEFT - 8.0, at + 4.0), "end", &format!("{percent} %"));
    }
    for tick in axis.ticks() {
        line(&mut svg, (tick.x, 10.0), (tick.x, y(0.0)));
        text(&mut svg, (tick.x, y(0.0) + 18.0), tick.anchor, &tick.label);
    }
    for (series, (_, row)) in rows.iter().enumerate().filter(|(_, (_, row))| !row.tti_ms.is_empty()) {
        let count = row.tti_ms.iter().map(|_| 1.0).sum::<f64>();
        let mut path = String::new();
        let mut share = 0.0;
        for ms in &row.tti_ms {
            let step = if path.is_empty() { 'M' } else { 'H' };
            if step == 'M' {
                write!(path, "M{:.1} {:.1}", x(*ms), y(0.0)).ok();
            } else {
                write!(path, "H{:.1}", x(*ms)).ok();
            }
            share += 1.0 / count;
            write!(path, "V{:.1}", y(share)).ok();
        }
        write!(path, "H{:.1}", WIDTH - RIGHT).ok();
        writeln!(svg, r#"<path class="line s{series}" d="{path}"/>"#).ok();
    }
    svg.push_str("</svg>\n");
    svg
}

/// How long each stage lasts, by the medians of their beginnings: a bar for each row.
pub(super) fn waterfall(rows: &[(&str, &ModeFigures)]) -> String {
    let longest = rows.iter().map(|(_, row)| row.total_ms()).fold(0.0, f64::max);
    if longest <= 0.0 {
        return String::new();
    }
    let x = |ms: f64| LEFT + ms / longest * (WIDTH - LEFT - RIGHT);
    let bars = rows.iter().map(|_| BAR).sum::<f64>();
    let mut svg = open(bars + AXIS, "Stages of a job");
    let mut top = 0.0;
    for (runtime, row) in rows {
        text(&mut svg, (LEFT - 8.0, top + 17.0), "end", &name(runtime, row));
        let mut at = 0.0;
        for (stage, lasts) in row.stages().filter(|(_, lasts)| *lasts > 0.0) {
            let (from, wide) = (x(at), x(at + lasts) - x(at));
            let (kind, label) = (stage.name(), stage.name().replace('_', " "));
            writeln!(
                svg,
                r#"<rect class="{kind}" x="{from:.1}" y="{:.1}" width="{wide:.1}" height="{:.1}"><title>{label}: {lasts:.1} ms</title></rect>"#,
                top + 4.0,
                BAR - 8.0
            )
            .ok();
            at += lasts;
        }
        top += BAR;
    }
    for quarter in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let at = x(longest * quarter);
        line(&mut svg, (at, 0.0), (at, top));
        text(
            &mut svg,
            (at, top + 18.0),
            if quarter < 1.0 { "middle" } else { "end" },
            &time(longest * quarter),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// The stages that have a length.
pub(super) fn stages() -> impl Iterator<Item = Stage> {
    Stage::ALL.into_iter().take(Stage::ALL.len() - 1)
}

fn open(height: f64, label: &str) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{label}\">\n")
}

fn line(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    writeln!(svg, r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#).ok();
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    writeln!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#).ok();
}

fn time(ms: f64) -> String {
    match ms {
        ms if ms >= 10_000.0 => format!("{:.0} s", ms / 1000.0),
        ms if ms >= 1000.0 => format!("{:.1} s", ms / 1000.0),
        ms if ms >= 10.0 || ms <= 0.0 => format!("{ms:.0} ms"),
        ms if ms >= 0.1 => format!("{ms:.1} ms"),
        ms => format!("{:.0} µs", ms * 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_stand_where_their_times_stand() {
        for (low, high, labels) in [
            (3.3, 87.0, &["1.0 ms", "10 ms", "100 ms"][..]),
            (0.004, 0.02, &["1 µs", "10 µs", "0.1 ms"]),
            (0.3, 0.9, &["0.1 ms", "1.0 ms"]),
            (10.0, 10.0, &["10 ms", "100 ms"]),
            (1.0, 1000.0, &["1.0 ms", "10 ms", "100 ms", "1.0 s"]),
            (999.0, 61_000.0, &["100 ms", "1.0 s", "10 s", "100 s"]),
        ] {
            let axis = Axis::of(low, high);
            let ticks = axis.ticks();
            let shown: Vec<&str> = ticks.iter().map(|tick| tick.label.as_str()).collect();
            assert_eq!(shown, labels, "{low} to {high}");
            let gaps = ticks.iter().skip(1).map(|_| 1.0).sum::<f64>();
            let mut at = LEFT;
            for tick in &ticks {
                assert!((tick.x - at).abs() < 1e-6, "{low} to {high}: {}", tick.x);
                at += (WIDTH - LEFT - RIGHT) / gaps;
            }
            assert!(axis.x(low) >= LEFT && axis.x(high) <= WIDTH - RIGHT + 1e-6, "{low} to {high}");
            assert!((axis.x(0.0) - LEFT).abs() < 1e-6, "a time of 0 stands at the beginning");
            assert_eq!(ticks.last().map(|tick| tick.anchor), Some("end"), "its label is inside of the plot");
        }
        // between two ticks, at the same share of the logarithm
        let axis = Axis::of(3.3, 87.0);
        let (one, ten) = (axis.ticks()[0].x, axis.ticks()[1].x);
        assert!((axis.x(3.3) - one - (ten - one) * 3.3f64.log10()).abs() < 1e-6);
    }
}
