//! `/oauth2/password`: the page where users change their own password.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::SignedDuration;

use super::login;
use super::texts::{Lang, Texts};
use super::{PASSWORD_PAGE, Page, alarm, escape, form, redirect};
use crate::accounts::password_rules::WeakPassword;
use crate::base::error::OAuthError;
use crate::provider::Provider;
use crate::sessions::password_change::{PasswordChange, PasswordChangeError};
use crate::web::answer::retry_after;
use crate::web::caller::Caller;
use crate::web::cookies::Cookie;
use crate::web::form::Form;

/// Shows the form.
pub(crate) async fn show(State(provider): State<Arc<Provider>>, caller: Caller) -> Response {
    match caller.signed_in(&provider).await {
        Ok(Some(signed_in)) => {
            let csrf = caller.csrf(&provider).unwrap_or_default();
            Page::password(caller.lang, signed_in.user.name.as_str(), &csrf, None).into_response()
        }
        Ok(None) => redirect(&login::address(PASSWORD_PAGE)),
        Err(error) => Page::error(caller.lang, &error).into_response(),
    }
}

/// Sends a password manager to the form (W3C, A Well-Known URL for Changing Passwords).
pub(crate) async fn well_known() -> Response {
    redirect(PASSWORD_PAGE)
}

/// Handles the form.
pub(crate) async fn submit(
    State(provider): State<Arc<Provider>>,
    caller: Caller,
    Form(form): Form,
) -> Response {
    let answered = async {
        let form = form?;
        let Some(signed_in) = caller.signed_in(&provider).await? else {
            return Ok(redirect(&login::address(PASSWORD_PAGE)));
        };
        let (texts, user) = (caller.lang.texts(), signed_in.user);
        let csrf = caller.csrf(&provider).unwrap_or_default();
        let again = |status, alarm: &str| {
            Page::password(caller.lang, user.name.as_str(), &csrf, Some(alarm)).status(status).into_response()
        };
        if !caller.is_genuine(&provider, Cookie::Session, form.get("csrf")) {
            return Ok(again(StatusCode::FORBIDDEN, texts.stale));
        }
        let given = |name| form.get(name).unwrap_or("");
        if given("new_password") != given("repeated_password") {
            return Ok(again(StatusCode::UNPROCESSABLE_ENTITY, texts.passwords_differ));
        }
        let change = PasswordChange {
            current: given("password").into(),
            new: given("new_password").into(),
            session: Some(signed_in.session.id),
        };
        let wait = |wait: SignedDuration, mut response: Response| {
            let error = OAuthError { retry_after: Some(wait), ..OAuthError::unavailable("") };
            retry_after(response.headers_mut(), &error);
            response
        };
        Ok(match provider.change_password(&user, change, caller.peer).await {
            Ok(()) => Page::password_changed(caller.lang).into_response(),
            Err(PasswordChangeError::Wrong) => again(StatusCode::UNPROCESSABLE_ENTITY, texts.wrong_password),
            Err(PasswordChangeError::Weak(weakness)) => {
                again(StatusCode::UNPROCESSABLE_ENTITY, &texts.weak(weakness))
            }
            Err(PasswordChangeError::Throttled(time)) => {
                let alarm = format!("{} {}", texts.throttled, time.as_secs() + 1);
                wait(time, again(StatusCode::TOO_MANY_REQUESTS, &alarm))
            }
            Err(PasswordChangeError::Unavailable(error)) => {
                let response = again(error.code.status(), texts.unavailable);
                wait(error.retry_after.unwrap_or(SignedDuration::from_secs(1)), response)
            }
        })
    };
    answered.await.unwrap_or_else(|error: OAuthError| Page::error(caller.lang, &error).into_response())
}

impl Page {
    fn password(lang: Lang, user: &str, csrf: &str, wrong: Option<&str>) -> Self {
        let texts = lang.texts();
        let mut body = alarm(wrong);
        let (described, invalid) = match wrong {
            Some(_) => (r#" aria-describedby="alarm""#, r#" aria-invalid="true""#),
            None => ("", ""),
        };
        // the name is for the password manager of the browser
        let mut fields = format!(
            r#"<label for="username">{}</label><input id="username" name="username" value="{}" autocomplete="username" readonly>"#,
            texts.username,
            escape(user),
        );
        for (name, label, kind, focus) in [
            ("password", texts.current_password, "current-password", " autofocus"),
            ("new_password", texts.new_password, "new-password", ""),
            ("repeated_password", texts.repeated_password, "new-password", ""),
        ] {
            write!(
                fields,
                r#"<label for="{name}">{label}</label><input id="{name}" name="{name}" type="password" autocomplete="{kind}" required maxlength="256"{described}{invalid}{focus}>"#,
            )
            .ok();
        }
        write!(fields, r#"<p class="quiet">{}</p>"#, texts.password_hint).ok();
        body += &form(PASSWORD_PAGE, &[("csrf", csrf)], &fields, &[("", "", texts.change_password)]);
        Self::new(lang, texts.change_password, body)
    }

    fn password_changed(lang: Lang) -> Self {
        let texts = lang.texts();
        Self::new(lang, texts.change_password, format!(r#"<p role="status">{}</p>"#, texts.password_changed))
    }
}

impl Texts {
    /// Why a new password is refused.
    fn weak(&self, weakness: WeakPassword) -> String {
        match weakness {
            WeakPassword::Short(least) => format!("{} {least}", self.password_short),
            WeakPassword::Long(most) => format!("{} {most}", self.password_long),
            WeakPassword::Common => self.password_common.to_owned(),
            WeakPassword::Pattern => self.password_pattern.to_owned(),
            WeakPassword::Name => self.password_name.to_owned(),
        }
    }
}
