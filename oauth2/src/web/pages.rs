//! The pages: HTML without scripts, with one style sheet, that cannot be framed.

pub(crate) mod authorize;
pub(crate) mod device;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod password;
pub(crate) mod texts;

use std::fmt::Write as _;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::base::error::OAuthError;
use crate::base::scope::{EMAIL, GROUPS, OFFLINE_ACCESS, OPENID, PROFILE, Scope};
use crate::clients::client::Client;
use crate::web::pages::texts::{Lang, Texts};

/// The address of the page where users change their own password.
pub(super) const PASSWORD_PAGE: &str = "/oauth2/password";

/// A page to be sent.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: StatusCode,
    lang: Lang,
    title: String,
    body: String,
    /// Whether its form may end at a client.
    leads_away: bool,
}

/// The contents of the sign-in page.
#[derive(Debug, Default)]
pub(super) struct SignIn<'a> {
    pub(super) csrf: &'a str,
    /// The page to continue to.
    pub(super) go_on: &'a str,
    pub(super) username: &'a str,
    pub(super) client: Option<&'a str>,
    pub(super) alarm: Option<String>,
}

/// A hidden field of a form: name and value.
type Hidden<'a> = (&'a str, &'a str);

impl Page {
    fn new(lang: Lang, title: &str, body: String) -> Self {
        Self { status: StatusCode::OK, lang, title: title.to_owned(), body, leads_away: false }
    }

    pub(super) fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The form of this page may end at a client. Then no `form-action` is set: browsers apply it to every redirect
    /// that follows a form, and the client may send the browser on, to another origin or to an app's scheme.
    pub(super) fn leads_away(self, leads_away: bool) -> Self {
        Self { leads_away, ..self }
    }

    pub(super) fn sign_in(lang: Lang, shown: &SignIn<'_>) -> Self {
        let texts = lang.texts();
        let mut body = alarm(shown.alarm.as_deref());
        if let Some(client) = shown.client {
            write!(body, "<p>{} <strong>{}</strong></p>", texts.sign_in_for, escape(client)).ok();
        }
        let (described, invalid) = match &shown.alarm {
            Some(_) => (r#" aria-describedby="alarm""#, r#" aria-invalid="true""#),
            None => ("", ""),
        };
        // with a user name filled in the user continues with the password
        let (first, second) = if shown.username.is_empty() { (" autofocus", "") } else { ("", " autofocus") };
        let name = escape(shown.username);
        let fields = format!(
            r#"<label for="username">{}</label><input id="username" name="username" value="{name}" autocomplete="username" autocapitalize="none" spellcheck="false" required maxlength="64"{described}{invalid}{first}><label for="password">{}</label><input id="password" name="password" type="password" autocomplete="current-password" required maxlength="256"{described}{invalid}{second}>"#,
            texts.username, texts.password,
        );
        let hidden = [("csrf", shown.csrf), ("continue", shown.go_on)];
        body += &form("/oauth2/login", &hidden, &fields, &[("", "", texts.sign_in)]);
        Self::new(lang, texts.sign_in, body)
    }

    pub(super) fn consent(
        lang: Lang,
        client: &Client,
        scope: &Scope,
        user: &str,
        target: &str,
        hidden: &[Hidden<'_>],
    ) -> Self {
        let texts = lang.texts();
        let title = format!("{} {}", client.name, texts.wants);
        let mut body = scopes(texts, scope);
        write!(body, r#"<p class="quiet">{}: {}</p>"#, texts.signed_in_as, escape(user)).ok();
        write!(body, r#"<p class="quiet">{}: {}</p>"#, texts.sent_to, escape(target)).ok();
        let buttons = [("decision", "deny", texts.deny), ("decision", "allow", texts.allow)];
        body += &form("/oauth2/authorize", hidden, "", &buttons);
        Self::new(lang, &title, body)
    }

    pub(super) fn device(lang: Lang, code: &str, csrf: &str, wrong: Option<&str>) -> Self {
        let texts = lang.texts();
        let invalid = if wrong.is_some() { r#" aria-invalid="true""# } else { "" };
        let mut body = alarm(wrong);
        let fields = format!(
            r#"<label for="user_code">{}</label><input id="user_code" class="code" name="user_code" value="{}" autocomplete="off" autocapitalize="characters" spellcheck="false" required maxlength="16" aria-describedby="hint"{invalid} autofocus><p id="hint" class="quiet">{}</p>"#,
            texts.code,
            escape(code),
            texts.code_hint,
        );
        body += &form("/oauth2/device", &[("csrf", csrf)], &fields, &[("", "", texts.go_on)]);
        Self::new(lang, texts.device, body)
    }

    pub(super) fn device_consent(
        lang: Lang,
        client: &Client,
        scope: &Scope,
        user: &str,
        code: &str,
        csrf: &str,
    ) -> Self {
        let texts = lang.texts();
        let mut body = format!("<p>{} <strong>{}</strong></p>", texts.is_it_yours, escape(code));
        body += &scopes(texts, scope);
        write!(body, r#"<p class="quiet">{}: {}</p>"#, texts.signed_in_as, escape(user)).ok();
        let buttons = [("decision", "deny", texts.deny), ("decision", "allow", texts.allow)];
        body += &form("/oauth2/device", &[("csrf", csrf), ("user_code", code)], "", &buttons);
        Self::new(lang, &format!("{} {}", client.name, texts.wants), body)
    }

    pub(super) fn device_done(lang: Lang, allowed: bool) -> Self {
        let texts = lang.texts();
        let said = if allowed { texts.device_allowed } else { texts.device_denied };
        Self::new(lang, texts.device, format!(r#"<p role="status">{said}</p>"#))
    }

    pub(super) fn sign_out(lang: Lang, hidden: &[Hidden<'_>]) -> Self {
        let texts = lang.texts();
        let mut body = format!("<p>{}</p>", texts.sign_out_question);
        body += &form("/oauth2/logout", hidden, "", &[("", "", texts.sign_out)]);
        Self::new(lang, texts.sign_out, body)
    }

    pub(super) fn signed_out(lang: Lang) -> Self {
        let texts = lang.texts();
        Self::new(lang, texts.sign_out, format!(r#"<p role="status">{}</p>"#, texts.signed_out))
    }

    pub(super) fn error(lang: Lang, error: &OAuthError) -> Self {
        let texts = lang.texts();
        let (code, detail) = (error.code.name(), escape(&error.detail));
        let body = format!("<p>{}</p><p><code>{code}: {detail}</code></p>", texts.cannot_hint);
        Self::new(lang, texts.cannot, body).status(error.code.status())
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let (tag, title) = (self.lang.tag(), escape(&self.title));
        let html = format!(
            r#"<!doctype html><html lang="{tag}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title><link rel="stylesheet" href="/oauth2/style.css"></head><body><main><h1>{title}</h1>{}</main></body></html>"#,
            self.body,
        );
        let fixed = HeaderValue::from_static;
        let policy = fixed(if self.leads_away {
            "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'"
        } else {
            "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        });
        let headers = [
            (header::CONTENT_TYPE, fixed("text/html; charset=utf-8")),
            (header::CONTENT_SECURITY_POLICY, policy),
            (header::CACHE_CONTROL, fixed("no-store")),
            (header::VARY, fixed("Accept-Language, Cookie")),
            (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
            (header::X_FRAME_OPTIONS, fixed("DENY")),
            // not `no-referrer`, with which browsers send `Origin: null` even to the same origin
            (header::REFERRER_POLICY, fixed("same-origin")),
            (HeaderName::from_static("cross-origin-opener-policy"), fixed("same-origin")),
            (HeaderName::from_static("cross-origin-resource-policy"), fixed("same-origin")),
        ];
        (self.status, headers, html).into_response()
    }
}

/// A redirect to `location` with GET (303), not to be cached.
pub(super) fn redirect(location: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        return OAuthError::invalid_request("a parameter has an invalid character").into_response();
    };
    let headers = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}

fn alarm(text: Option<&str>) -> String {
    text.map(|text| format!(r#"<p id="alarm" class="alarm" role="alert">{}</p>"#, escape(text)))
        .unwrap_or_default()
}

fn scopes(texts: &Texts, scope: &Scope) -> String {
    let mut list = format!("<p>{}</p><ul>", texts.will_learn);
    for word in scope.words() {
        let text = match word {
            OPENID => texts.scope_openid.to_owned(),
            PROFILE => texts.scope_profile.to_owned(),
            EMAIL => texts.scope_email.to_owned(),
            GROUPS => texts.scope_groups.to_owned(),
            OFFLINE_ACCESS => texts.scope_offline_access.to_owned(),
            other => format!("<code>{}</code>", escape(other)),
        };
        write!(list, "<li>{text}</li>").ok();
    }
    list + "</ul>"
}

/// A form; each button has a name, a value and a text.
fn form(action: &str, hidden: &[Hidden<'_>], fields: &str, buttons: &[(&str, &str, &str)]) -> String {
    let mut html = format!(r#"<form method="post" action="{action}">"#);
    for (name, value) in hidden {
        write!(html, r#"<input type="hidden" name="{name}" value="{}">"#, escape(value)).ok();
    }
    html += fields;
    html += r#"<div class="actions">"#;
    for (name, value, text) in buttons {
        let class = if *value == "deny" { r#" class="other""# } else { "" };
        let name = if name.is_empty() { String::new() } else { format!(r#" name="{name}" value="{value}""#) };
        write!(html, r#"<button type="submit"{class}{name}>{text}</button>"#).ok();
    }
    html + "</div></form>"
}

/// Escapes a text for an element or an attribute in double quotes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}
