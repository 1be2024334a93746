//! The texts of the pages, in each language.

use http::{HeaderMap, header};

/// A language of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lang {
    En,
    Zh,
}

/// The texts of the pages.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) sign_in: &'static str,
    pub(super) sign_in_for: &'static str,
    pub(super) username: &'static str,
    pub(super) password: &'static str,
    pub(super) wrong: &'static str,
    pub(super) throttled: &'static str,
    pub(super) unavailable: &'static str,
    pub(super) stale: &'static str,
    pub(super) wants: &'static str,
    pub(super) will_learn: &'static str,
    pub(super) signed_in_as: &'static str,
    pub(super) sent_to: &'static str,
    pub(super) allow: &'static str,
    pub(super) deny: &'static str,
    pub(super) device: &'static str,
    pub(super) code: &'static str,
    pub(super) code_hint: &'static str,
    pub(super) go_on: &'static str,
    pub(super) bad_code: &'static str,
    pub(super) is_it_yours: &'static str,
    pub(super) device_allowed: &'static str,
    pub(super) device_denied: &'static str,
    pub(super) sign_out: &'static str,
    pub(super) sign_out_question: &'static str,
    pub(super) signed_out: &'static str,
    pub(super) change_password: &'static str,
    pub(super) current_password: &'static str,
    pub(super) new_password: &'static str,
    pub(super) repeated_password: &'static str,
    pub(super) password_hint: &'static str,
    pub(super) password_changed: &'static str,
    pub(super) passwords_differ: &'static str,
    pub(super) wrong_password: &'static str,
    pub(super) password_short: &'static str,
    pub(super) password_long: &'static str,
    pub(super) password_common: &'static str,
    pub(super) password_pattern: &'static str,
    pub(super) password_name: &'static str,
    pub(super) cannot: &'static str,
    pub(super) cannot_hint: &'static str,
    pub(super) scope_openid: &'static str,
    pub(super) scope_profile: &'static str,
    pub(super) scope_email: &'static str,
    pub(super) scope_groups: &'static str,
    pub(super) scope_offline_access: &'static str,
}

const EN: Texts = Texts {
    sign_in: "Sign in",
    sign_in_for: "Sign in to go on to",
    username: "User name",
    password: "Password",
    wrong: "User name or password is wrong.",
    throttled: "Too many attempts. Seconds to wait:",
    unavailable: "The server is busy. Try again in a moment.",
    stale: "This page was too old. Try again.",
    wants: "wants access",
    will_learn: "It will be allowed:",
    signed_in_as: "Signed in as",
    sent_to: "You will be sent to",
    allow: "Allow",
    deny: "Deny",
    device: "Connect a device",
    code: "Code",
    code_hint: "The eight letters that the device shows.",
    go_on: "Go on",
    bad_code: "No device waits under this code.",
    is_it_yours: "Allow this only if you have started it yourself, and the device shows this code:",
    device_allowed: "The device is connected. You may close this page.",
    device_denied: "The device was not connected. You may close this page.",
    sign_out: "Sign out",
    sign_out_question: "Do you want to sign out?",
    signed_out: "You are signed out.",
    change_password: "Change password",
    current_password: "Current password",
    new_password: "New password",
    repeated_password: "New password, once more",
    password_hint: "You are signed out everywhere else. Applications and devices ask you to sign in again.",
    password_changed: "Your password is changed.",
    passwords_differ: "The two new passwords differ.",
    wrong_password: "The current password is wrong.",
    password_short: "The new password is too short. Fewest characters:",
    password_long: "The new password is too long. Most characters:",
    password_common: "The new password is among those that are guessed first.",
    password_pattern: "The new password is a repetition or a row of keys.",
    password_name: "The new password is made of your user name.",
    cannot: "This does not work",
    cannot_hint: "The application that sent you here made a mistake. Tell the people who run it:",
    scope_openid: "to know that it is you",
    scope_profile: "to see your name",
    scope_email: "to see your e-mail address",
    scope_groups: "to see your groups",
    scope_offline_access: "to keep this access while you are away",
};

const ZH: Texts = Texts {
    sign_in: "登录",
    sign_in_for: "登录后继续访问",
    username: "用户名",
    password: "密码",
    wrong: "用户名或密码错误。",
    throttled: "尝试次数过多。请等待(秒):",
    unavailable: "服务器繁忙,请稍后再试。",
    stale: "页面已过期,请重试。",
    wants: "请求访问权限",
    will_learn: "将获得以下权限:",
    signed_in_as: "当前登录用户",
    sent_to: "随后将跳转到",
    allow: "允许",
    deny: "拒绝",
    device: "连接设备",
    code: "代码",
    code_hint: "设备上显示的八个字母。",
    go_on: "继续",
    bad_code: "没有设备在等待此代码。",
    is_it_yours: "仅当这是您本人发起、且设备显示以下代码时才允许:",
    device_allowed: "设备已连接,可以关闭此页面。",
    device_denied: "设备未连接,可以关闭此页面。",
    sign_out: "退出登录",
    sign_out_question: "确定要退出登录吗?",
    signed_out: "您已退出登录。",
    change_password: "修改密码",
    current_password: "当前密码",
    new_password: "新密码",
    repeated_password: "再次输入新密码",
    password_hint: "您将在其他所有地方退出登录,应用和设备会要求您重新登录。",
    password_changed: "密码已修改。",
    passwords_differ: "两次输入的新密码不一致。",
    wrong_password: "当前密码错误。",
    password_short: "新密码太短,最少字符数:",
    password_long: "新密码太长,最多字符数:",
    password_common: "新密码属于最容易被猜到的密码。",
    password_pattern: "新密码是重复内容或键盘上的连续按键。",
    password_name: "新密码由您的用户名构成。",
    cannot: "无法继续",
    cannot_hint: "将您带到此处的应用出现错误。请告知其维护者:",
    scope_openid: "确认您的身份",
    scope_profile: "查看您的姓名",
    scope_email: "查看您的电子邮件地址",
    scope_groups: "查看您所属的组",
    scope_offline_access: "在您离开期间保持此访问权限",
};

impl Lang {
    /// The supported language that `Accept-Language` prefers (RFC 9110 section 12.5.4).
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let liked = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let mut best = (Self::En, 0.0);
        for range in liked.split(',').take(32) {
            let (tag, weight) = range.split_once(';').unwrap_or((range, ""));
            let weight = weight.trim().strip_prefix("q=").map_or(Some(1.0), |text| text.parse::<f32>().ok());
            let lang = match tag.trim().split('-').next().unwrap_or("").to_ascii_lowercase().as_str() {
                "en" => Self::En,
                "zh" => Self::Zh,
                _ => continue,
            };
            if let Some(weight) = weight.filter(|weight| *weight > best.1) {
                best = (lang, weight);
            }
        }
        best.0
    }

    pub(super) fn texts(self) -> &'static Texts {
        match self {
            Self::En => &EN,
            Self::Zh => &ZH,
        }
    }

    /// The language tag (RFC 5646).
    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh-Hans",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_preferred_language_is_chosen() {
        for (liked, lang) in [
            ("", Lang::En),
            ("de", Lang::En),
            ("zh-CN,zh;q=0.9,en;q=0.8", Lang::Zh),
            ("en,zh;q=0.9", Lang::En),
            ("fr, zh-TW;q=0.3, en;q=0.2", Lang::Zh),
            ("zh;q=0", Lang::En),
            ("zh;q=x", Lang::En),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, HeaderValue::from_static(liked))]);
            assert_eq!(Lang::of(&headers), lang, "{liked}");
        }
    }
}
