//! `mgx user`, `mgx client` and `mgx token`: who may use the platform, and with what.

pub(crate) mod client;
pub(crate) mod token;
pub(crate) mod user;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;

use super::out::{self, harmless};

/// Shows rows as a table, or each as one line of JSON.
fn show(rows: &[Value], json: bool, columns: &[(&str, &str)]) {
    if json {
        for row in rows {
            out::line(row);
        }
        return;
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(columns.iter().map(|(title, _)| *title));
    for row in rows {
        table.add_row(columns.iter().map(|(_, key)| harmless(&cell(&row[*key]))));
    }
    out::line(table);
}

/// A value for people.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(cell).collect::<Vec<_>>().join(" "),
        Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cell_is_what_people_read() {
        let cells =
            [json!(null), json!(true), json!(7), json!("a"), json!(["a", "b"])].map(|value| cell(&value));
        assert_eq!(cells, ["-", "yes", "7", "a", "a b"]);
    }
}
