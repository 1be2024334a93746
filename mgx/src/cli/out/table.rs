//! Lists: as a table for people, as ids alone for scripts, or as lines of JSON.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, Table};
use jiff::Timestamp;
use serde::Serialize;

use super::{ago, harmless, json, line};

/// The form of a list.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct Form {
    /// Print the ids alone, one a line.
    #[arg(long, short, conflicts_with_all = ["wide", "json"])]
    quiet: bool,
    /// Print whole ids, whole times, and further columns.
    #[arg(long, short, conflicts_with = "json")]
    wide: bool,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
}

/// A column of a table.
pub(crate) struct Column<T> {
    title: &'static str,
    cell: fn(&T, &Look) -> String,
    is_further: bool,
}

/// How the cells of a table are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// Whether ids and times are written out.
    wide: bool,
    now: Timestamp,
}

impl<T> Column<T> {
    /// A column that every table has.
    pub(crate) const fn new(title: &'static str, cell: fn(&T, &Look) -> String) -> Self {
        Self { title, cell, is_further: false }
    }

    /// A column of the wide form alone.
    pub(crate) const fn further(title: &'static str, cell: fn(&T, &Look) -> String) -> Self {
        Self { title, cell, is_further: true }
    }
}

impl Look {
    /// A time: how long ago, or in the wide form as it is, to the second.
    pub(crate) fn time(&self, at: Timestamp) -> String {
        if self.wide { format!("{at:.0}") } else { ago::relative(at, self.now) }
    }

    /// How old something is.
    pub(crate) fn age(&self, since: Timestamp) -> String {
        if self.wide { self.time(since) } else { ago::age(self.now.duration_since(since).as_secs()) }
    }

    /// An id: the end of it, if it is a UUID, which every command understands too.
    pub(crate) fn id(&self, id: &str) -> String {
        if self.wide { id.to_owned() } else { short_id(id).to_owned() }
    }
}

/// How many digits at the end of a UUID are shown. The beginning of ids that were made one after the other is the same.
const SHOWN_DIGITS: usize = 8;

/// The end of a UUID; another id as it is.
pub(crate) fn short_id(id: &str) -> &str {
    let is_uuid = id.len() == 36 && uuid::Uuid::try_parse(id).is_ok();
    if is_uuid { &id[id.len() - SHOWN_DIGITS..] } else { id }
}

impl Form {
    /// The wide form.
    #[cfg(test)]
    pub(crate) const WIDE: Self = Self { quiet: false, wide: true, json: false };

    /// Whether the list is for people.
    pub(crate) fn is_table(self) -> bool {
        !self.quiet && !self.json
    }

    /// Prints the rows. `id` is what stands for a row by itself.
    pub(crate) fn show<T: Serialize>(self, rows: &[T], id: fn(&T) -> String, columns: &[Column<T>]) {
        if self.quiet {
            for row in rows {
                line(harmless(&id(row)));
            }
        } else if self.json {
            rows.iter().for_each(json);
        } else {
            line(self.table(rows, columns, Timestamp::now()));
        }
    }

    /// The rows as a table.
    pub(crate) fn table<T>(self, rows: &[T], columns: &[Column<T>], now: Timestamp) -> String {
        let look = Look { wide: self.wide, now };
        let shown: Vec<_> = columns.iter().filter(|column| self.wide || !column.is_further).collect();
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(shown.iter().map(|column| column.title));
        for row in rows {
            table.add_row(shown.iter().map(|column| Cell::new(harmless(&(column.cell)(row, &look)))));
        }
        // each cell has a space on both sides
        let lines = table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_short_or_wide() {
        let columns = [
            Column::new("ID", |row: &(String, i64), look| look.id(&row.0)),
            Column::new("MADE", |row, look| look.time(Timestamp::from_second(row.1).unwrap())),
            Column::further("SECOND", |row, _| row.1.to_string()),
        ];
        let rows = [("0193a5b0-0000-7000-8000-0123456789ab".to_owned(), 0), ("bakery".to_owned(), 7_300)];
        let now = Timestamp::from_second(7_500).unwrap();
        let show = |form: Form| form.table(&rows, &columns, now);
        insta::assert_snapshot!(format!("{}\n\n{}", show(Form::default()), show(Form::WIDE)), @r"
        ID        MADE
        456789ab  2 h ago
        bakery    3 min ago

        ID                                    MADE                  SECOND
        0193a5b0-0000-7000-8000-0123456789ab  1970-01-01T00:00:00Z  0
        bakery                                1970-01-01T02:01:40Z  7300
        ");
    }
}
