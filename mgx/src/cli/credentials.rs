//! The tokens of `mgx login`, one for each server, in a file that only its owner can read.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mgx_client::Address;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::private_file;

/// The tokens of this user.
#[derive(Debug)]
pub(crate) struct Credentials {
    path: PathBuf,
    servers: BTreeMap<Address, Login>,
}

/// A token for one server.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Login {
    /// The user who signed in.
    pub(crate) user: String,
    /// The id of the API token, to revoke it.
    pub(crate) id: Uuid,
    /// The API token.
    pub(crate) token: SecretString,
}

/// A login in the form of the file.
#[derive(Serialize)]
struct StoredLogin<'a> {
    user: &'a str,
    id: Uuid,
    token: &'a str,
}

impl Credentials {
    /// Reads the file of this user: `mgx/credentials.json` in `XDG_CONFIG_HOME` or `~/.config`. `None` if there is no
    /// such directory, because the environment names none.
    ///
    /// # Errors
    /// The file cannot be read, or others can read it.
    pub(crate) fn of_this_user() -> io::Result<Option<Self>> {
        let named = |name| std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let dir = named("XDG_CONFIG_HOME").or_else(|| named("HOME").map(|home| home.join(".config")));
        dir.map(|dir| Self::open(&dir.join("mgx/credentials.json"))).transpose()
    }

    fn open(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, servers: BTreeMap::new() });
            }
            Err(error) => return Err(wrong(&path, &format!("cannot be read: {error}"))),
        };
        if let Some(why) = private_file::exposure(&path.metadata()?) {
            return Err(wrong(&path, &why));
        }
        let servers = serde_json::from_str::<BTreeMap<String, Login>>(&text);
        let servers = servers.map_err(|_| wrong(&path, "is not what `mgx login` wrote; delete it"))?;
        let servers = servers
            .into_iter()
            .filter_map(|(url, login)| Some((Address::parse(&url).ok()?, login)))
            .collect();
        Ok(Self { path, servers })
    }

    /// The path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The login at the server at `address`.
    pub(crate) fn of(&self, address: &Address) -> Option<&Login> {
        self.servers.get(address)
    }

    /// Keeps `login` for the server at `address`, or forgets the one that is there.
    ///
    /// # Errors
    /// The file cannot be written; it stays as it was.
    pub(crate) fn keep(&mut self, address: &Address, login: Option<Login>) -> io::Result<()> {
        match login {
            Some(login) => self.servers.insert(address.clone(), login),
            None => self.servers.remove(address),
        };
        let written: BTreeMap<&str, StoredLogin<'_>> = self
            .servers
            .iter()
            .map(|(url, login)| {
                let Login { user, id, token } = login;
                (url.as_str(), StoredLogin { user, id: *id, token: token.expose_secret() })
            })
            .collect();
        let dir = self.path.parent().unwrap_or(Path::new("."));
        let unwritable = |error: io::Error| wrong(&self.path, &format!("cannot be written: {error}"));
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unwritable)?;
        let staged = self.path.with_extension(format!("{}", std::process::id()));
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged);
        let mut file = opened.map_err(unwritable)?;
        let text = serde_json::to_vec_pretty(&written)?;
        let kept = file.write_all(&text).and_then(|()| file.sync_all());
        let kept = kept.and_then(|()| fs::rename(&staged, &self.path));
        if kept.is_err() {
            fs::remove_file(&staged).ok();
        }
        kept.map_err(unwritable)
    }
}

fn wrong(path: &Path, why: &str) -> io::Error {
    io::Error::other(format!("{} {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn a_login_is_kept_for_its_server_in_a_file_of_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mgx/credentials.json");
        let mut kept = Credentials::open(&path).unwrap();
        let a = Address::parse("http://a").unwrap();
        assert!(kept.of(&a).is_none());
        let login = Login { user: "anna".into(), id: Uuid::nil(), token: "mgx_pat_x".to_owned().into() };
        kept.keep(&a, Some(login)).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        let mut kept = Credentials::open(&path).unwrap();
        assert_eq!(kept.of(&a).unwrap().token.expose_secret(), "mgx_pat_x");
        assert!(kept.of(&Address::parse("http://b").unwrap()).is_none());
        assert!(!format!("{kept:?}").contains("mgx_pat_x"));
        kept.keep(&a, None).unwrap();
        assert!(Credentials::open(&path).unwrap().of(&a).is_none());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Credentials::open(&path).unwrap_err().to_string().contains("chmod 600"));
    }
}
