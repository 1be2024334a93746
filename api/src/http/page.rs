//! A page of text for people: for what a browser meets outside the pages of the OAuth 2 provider.

/// A page with its heading and what stands below it, which is HTML; the texts in it are [`escaped`].
pub(crate) fn page(heading: &str, below: &str) -> String {
    let heading = escaped(heading);
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{heading}</title>\n<h1>{heading}</h1>\n{below}</html>\n"
    )
}

/// A text as HTML shows it.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
