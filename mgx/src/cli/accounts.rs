//! Commands about accounts: `mgx login`, `mgx logout`, `mgx user`, `mgx client` and `mgx token`.

pub(crate) mod client;
pub(crate) mod login;
pub(crate) mod token;
pub(crate) mod user;

use secrecy::{ExposeSecret, SecretString};

use super::out::harmless;

/// A cell for a yes or a no.
fn yes_or_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

/// A cell for a list.
fn joined(values: &[String]) -> String {
    values.join(" ")
}

/// A cell for a text that may be absent.
fn or_dash(value: Option<String>) -> String {
    value.filter(|value| !value.is_empty()).unwrap_or_else(|| "-".to_owned())
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
        let cells = [or_dash(None), or_dash(Some(String::new())), or_dash(Some("a".to_owned()))];
        assert_eq!(cells, ["-", "-", "a"]);
        assert_eq!((yes_or_no(true), yes_or_no(false)), ("yes".to_owned(), "no".to_owned()));
        assert_eq!(joined(&["a".to_owned(), "b".to_owned()]), "a b");
        assert_eq!(joined(&[]), "");
    }
}
