//! The rules for new passwords (NIST SP 800-63B-4 section 3.1.1): length, and a blocklist. No rules of composition.

/// The permitted length of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordRules {
    /// The fewest characters. NIST asks for 15 where the password is the only factor.
    pub min_chars: usize,
    /// The most characters.
    pub max_chars: usize,
}

impl Default for PasswordRules {
    fn default() -> Self {
        Self { min_chars: 15, max_chars: 128 }
    }
}

/// The rule that a password breaks. The user chooses another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// Too short.
    #[error("a password has at least {0} characters")]
    Short(usize),
    /// Too long.
    #[error("a password has at most {0} characters")]
    Long(usize),
    /// It is one of the passwords that are guessed first.
    #[error("this password is among those that are guessed first")]
    Common,
    /// It repeats a short piece, or follows a row of keys or of the alphabet.
    #[error("this password is a repetition or a row of keys")]
    Pattern,
    /// It is the user's name with fewer than 8 more characters.
    #[error("this password is made of the user's name")]
    Name,
}

/// Common passwords, one a line, in lower case.
const COMMON: &str = include_str!("common_passwords.txt");

/// Rows of keyboards and of the alphabet.
const ROWS: [&str; 6] = [
    "0123456789012345678901234567890",
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnmqwertyuiop",
    "qwertzuiopasdfghjklyxcvbnmqwertzuiop",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "azertyuiopqsdfghjklmwxcvbnazertyuiop",
];

impl PasswordRules {
    /// Checks a new password of the user `name`.
    ///
    /// # Errors
    /// [`WeakPassword`] names the first rule that it breaks.
    pub fn check(&self, password: &str, name: &str) -> Result<(), WeakPassword> {
        let length = password.chars().count();
        if length < self.min_chars {
            return Err(WeakPassword::Short(self.min_chars));
        }
        if length > self.max_chars {
            return Err(WeakPassword::Long(self.max_chars));
        }
        let small = password.to_lowercase();
        let bare = small.trim_end_matches(|c: char| !c.is_alphabetic());
        if COMMON.lines().any(|common| common == small || common == bare) {
            return Err(WeakPassword::Common);
        }
        if is_repeated(&small) || is_row(&small) {
            return Err(WeakPassword::Pattern);
        }
        let rest = small.replace(&name.to_lowercase(), "");
        if name.len() >= 3 && rest.len() < small.len() && rest.chars().count() < 8 {
            return Err(WeakPassword::Name);
        }
        Ok(())
    }
}

/// Whether the text is a repetition of its first characters, at most a third of it.
fn is_repeated(text: &str) -> bool {
    let letters: Vec<char> = text.chars().collect();
    (1..=letters.len() / 3)
        .any(|piece| letters.iter().skip(piece).zip(&letters).all(|(one, before)| one == before))
}

fn is_row(text: &str) -> bool {
    let back: String = text.chars().rev().collect();
    ROWS.iter().any(|row| row.contains(text) || row.contains(&back))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_passwords_are_refused() {
        let check = |password: &str| PasswordRules::default().check(password, "annabel");
        for good in [
            "seven grey herons wade",
            "aaaaaaaaaaaaaab1!zQ",
            "我喜欢在周末去公园里散步和读书呀",
            "annabel likes the rain",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("short", WeakPassword::Short(15)),
            ("vierzehn Zeich", WeakPassword::Short(15)),
            (&"x1".repeat(65), WeakPassword::Long(128)),
            ("PasswordPassword", WeakPassword::Common),
            ("Correct Horse Battery Staple", WeakPassword::Common),
            ("letmeinletmein1234!", WeakPassword::Common),
            ("aaaaaaaaaaaaaaaa", WeakPassword::Pattern),
            ("abcabcabcabcabcab", WeakPassword::Pattern),
            ("123456789012345", WeakPassword::Pattern),
            ("QWERTYUIOPASDFGH", WeakPassword::Pattern),
            ("ponmlkjihgfedcba", WeakPassword::Pattern),
            ("Annabel-annabel1", WeakPassword::Name),
        ] {
            assert_eq!(check(bad), Err(why), "{bad}");
        }
        let shorter = PasswordRules { min_chars: 8, ..PasswordRules::default() };
        assert_eq!(shorter.check("password1", "ann"), Err(WeakPassword::Common));
        assert_eq!(shorter.check("\0\0\0\0 x y z", "ann"), Ok(()), "no rule says of what it is made");
    }
}
