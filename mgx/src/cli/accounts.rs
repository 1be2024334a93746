//! Commands about accounts: `mgx login`, `mgx logout`, `mgx user`, `mgx client` and `mgx token`.

pub(crate) mod client;
pub(crate) mod login;
pub(crate) mod token;
pub(crate) mod user;

use std::fmt::Display;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::out::{self, harmless};

/// A column of a table: its title, and the cell of a row.
type Column<T> = (&'static str, fn(&T) -> String);

/// Prints rows as a table, or each as one line of JSON.
fn show<T: Serialize>(rows: &[T], json: bool, columns: &[Column<T>]) {
    if json {
        for row in rows {
            out::json(row);
        }
        return;
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(columns.iter().map(|(title, _)| *title));
    for row in rows {
        table.add_row(columns.iter().map(|(_, cell)| harmless(&cell(row))));
    }
    out::line(table);
}

/// A cell for a yes or a no.
fn yes_or_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

/// A cell for a list.
fn joined(values: &[String]) -> String {
    values.join(" ")
}

/// A cell for a value that may be absent.
fn or_dash<T: Display>(value: Option<&T>) -> String {
    value.map_or_else(|| "-".to_owned(), T::to_string)
}

/// `; the password is …`, for a secret that is shown once.
fn shown_once(name: &str, secret: Option<&SecretString>) -> String {
    let text = secret.map(|secret| harmless(secret.expose_secret()));
    text.map(|text| format!("; the {name} is {text}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_what_people_read() {
        let cells =
            [or_dash::<u8>(None), yes_or_no(true), yes_or_no(false), or_dash(Some(&7)), or_dash(Some(&"a"))];
        assert_eq!(cells, ["-", "yes", "no", "7", "a"]);
        assert_eq!(joined(&["a".to_owned(), "b".to_owned()]), "a b");
        assert_eq!(joined(&[]), "");
    }
}
