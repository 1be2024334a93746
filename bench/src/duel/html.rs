//! A duel as an HTML page: plots and tables, without scripts and external resources.

use std::fmt::Write;

use mgx_runtimes::pool::report::Report;

use super::figures::{Figures, ModeFigures, Which};
use super::plot;
use super::table::name;

const STYLE: &str = include_str!("report.css");

/// The page. `compared` are the lines of the comparison with another program.
pub(super) fn page(figures: &Figures, compared: &[String]) -> String {
    let mut page = String::new();
    let names: Vec<_> = figures.runtimes.iter().map(|runtime| runtime.name).collect();
    let title = escape(&names.join(", "));
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Duel: {title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>Duel: {title}</h1>\n\
         <p>The same jobs at the same times on each runtime: from the request over HTTP, through the queue and the \
         store, to the first event of an agent on the stream. Seed {}; by chance, {} jobs a second come on \
         average.</p>\n",
        figures.seed, figures.rate
    )
    .ok();
    for mode in figures.modes() {
        let rows: Vec<_> = figures.rows(mode).collect();
        let whole: Vec<_> = rows.iter().filter(|(_, row)| row.which == Which::All).copied().collect();
        writeln!(page, "<section>\n<h2>{}</h2>", mode.name()).ok();
        writeln!(page, "<h3>Time to the first event</h3>\n{}", series(&whole)).ok();
        page.push_str(&plot::distribution(&whole));
        writeln!(page, "<h3>Stages, by the median of each beginning</h3>\n{}", stages()).ok();
        page.push_str(&plot::waterfall(&rows));
        page.push_str(&latencies(&rows));
        page.push_str("</section>\n");
    }
    page.push_str(&slots(figures));
    if !compared.is_empty() {
        page.push_str("<section>\n<h2>beside</h2>\n<ul>\n");
        for line in compared {
            writeln!(page, "<li>{}</li>", escape(line)).ok();
        }
        page.push_str("</ul>\n</section>\n");
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn series(rows: &[(&str, &ModeFigures)]) -> String {
    let items = rows.iter().enumerate().map(|(series, (runtime, _))| key(&format!("s{series}"), runtime));
    format!("<ul class=\"keys\">{}</ul>", items.collect::<String>())
}

fn stages() -> String {
    let items = plot::stages().map(|stage| key(stage.name(), &stage.name().replace('_', " ")));
    format!("<ul class=\"keys\">{}</ul>", items.collect::<String>())
}

fn key(class: &str, name: &str) -> String {
    format!("<li><span class=\"{class}\"></span>{}</li>", escape(name))
}

fn latencies(rows: &[(&str, &ModeFigures)]) -> String {
    let mut table = String::from(
        "<table>\n<thead><tr><th>runtime</th><th>jobs</th><th>errors</th><th>p50</th><th>p90</th><th>p99</th>\
         <th>until gone</th></tr></thead>\n<tbody>\n",
    );
    for (runtime, row) in rows {
        let [p50, p90, p99] = [50, 90, 99].map(|percent| row.percentile(percent));
        writeln!(
            table,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{p50:.1} ms</td><td>{p90:.1} ms</td><td>{p99:.1} ms</td>\
             <td>{:.1} ms</td></tr>",
            escape(&name(runtime, row)),
            row.tti_ms.len(),
            row.errors,
            row.total_ms()
        )
        .ok();
    }
    table.push_str("</tbody>\n</table>\n");
    table
}

fn slots(figures: &Figures) -> String {
    let mut table = String::from(
        "<section>\n<h2>slots</h2>\n<table>\n<thead><tr><th>runtime</th><th>in a container that waits</th>\
         <th>kept by the engine for it</th><th>hit rate</th><th>claim p50</th><th>claim p99</th></tr></thead>\n<tbody>\n",
    );
    let cell = |number: Option<f64>, unit: &str, digits: usize| {
        number.map_or_else(|| "–".to_owned(), |number| format!("{number:.digits$}{unit}"))
    };
    for runtime in &figures.runtimes {
        let (memory, pool) = (runtime.memory, runtime.pool.as_ref());
        let cells = [
            cell(memory.map(|memory| memory.container_mib), " MiB", 1),
            cell(memory.map(|memory| memory.keeper_mib), " MiB", 1),
            cell(pool.and_then(Report::hit_rate), "", 3),
            cell(pool.map(|pool| pool.claim_ms.p50), " ms", 2),
            cell(pool.map(|pool| pool.claim_ms.p99), " ms", 2),
        ];
        let cells = cells.map(|cell| format!("<td>{cell}</td>")).concat();
        writeln!(table, "<tr><th>{}</th>{cells}</tr>", escape(runtime.name)).ok();
    }
    table.push_str("</tbody>\n</table>\n</section>\n");
    table
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::figures::fixed;
    use super::*;

    #[test]
    fn a_page_needs_nothing_but_itself() {
        let page = page(&fixed(), &["a 1.0, beside <b> 2.0: 2.0 times as good".to_owned()]);
        for foreign in ["<script", "http:", "https:", "@import", "url(", "<link", "<img"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        // without the style sheet, which may change
        insta::assert_snapshot!(page.replace(STYLE, ""));
    }
}
