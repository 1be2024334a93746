//! How an engine of the Docker API maps the users of containers to users of the host.

use bollard::models::SystemInfo;

/// The users of the host that an engine's containers run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserMapping {
    /// The same ones as in the container.
    Same,
    /// Shifted by these numbers (`userns-remap` in `daemon.json`).
    Shifted {
        /// Added to a user id.
        uid: u32,
        /// Added to a group id.
        gid: u32,
    },
    /// Shifted, and the engine does not say how far.
    Unknown,
    /// Those that the user of a rootless engine may use; only root in a container is that user.
    Rootless,
}

impl UserMapping {
    /// The mapping of the engine that describes itself with `info`.
    pub fn of(info: &SystemInfo) -> Self {
        let options = info.security_options.as_deref().unwrap_or_default();
        let has = |name: &str| options.iter().any(|option| option.split(',').any(|part| part == name));
        match (has("name=rootless"), has("name=userns")) {
            (true, _) => Self::Rootless,
            (false, false) => Self::Same,
            (false, true) => shift(info.docker_root_dir.as_deref().unwrap_or_default()),
        }
    }

    /// The user and group of the host that these are in a container; `None` if that is not known.
    pub fn on_host(self, (user, group): (u32, u32)) -> Option<(u32, u32)> {
        match self {
            Self::Same => Some((user, group)),
            Self::Shifted { uid, gid } => Some((user.checked_add(uid)?, group.checked_add(gid)?)),
            Self::Unknown | Self::Rootless => None,
        }
    }

    /// Why containers of the user `inside` cannot write to workspaces of the user `owner`, and what to do; `None` if they can.
    /// `is_root` tells whether the platform runs as root, and can give workspaces to another user.
    pub fn obstacle(self, inside: (u32, u32), owner: (u32, u32), is_root: bool) -> Option<UserObstacle> {
        let (uid, gid) = inside;
        let (what, remedy) = match (self, self.on_host(inside)) {
            (_, Some(on_host)) if on_host == owner => return None,
            // the operator has named the user
            (Self::Unknown | Self::Rootless, _) if owner != inside => return None,
            (Self::Rootless, _) => (
                "the engine is rootless: jobs could not write to their workspaces".to_owned(),
                "use Docker run by root, or rootless Podman with runtime = \"podman\"".to_owned(),
            ),
            (_, None) => (
                "the engine maps users (userns-remap) and does not say how".to_owned(),
                format!(
                    "look up its range in /etc/subuid and /etc/subgid, and write under [workspaces]: owner = \"UID:GID\", the \
                     beginnings of the ranges plus {uid} and plus {gid}"
                ),
            ),
            (_, Some((on_host, _))) if !is_root => (
                format!(
                    "the engine maps user {uid} of containers to {on_host} of the host: jobs could not write to workspaces"
                ),
                "run the platform as root, so that it can give workspaces to that user".to_owned(),
            ),
            (_, Some((on_host, group))) => (
                format!(
                    "the engine maps user {uid} of containers to {on_host} of the host, and workspaces belong to {}: jobs \
                     could not write to them",
                    owner.0
                ),
                format!(
                    "write under [workspaces]: owner = \"{on_host}:{group}\", or leave it empty, and start the server again"
                ),
            ),
        };
        Some(UserObstacle { what, remedy })
    }
}

/// Why containers cannot write to workspaces, and what the operator can do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserObstacle {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// The shift, which ends the name of the engine's directory: `/var/lib/docker/165536.165536`.
fn shift(directory: &str) -> UserMapping {
    let name = directory.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let numbers = name.split_once('.').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
    numbers.map_or(UserMapping::Unknown, |(uid, gid)| UserMapping::Shifted { uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(options: &[&str], directory: &str) -> UserMapping {
        UserMapping::of(&SystemInfo {
            security_options: Some(options.iter().map(|&option| option.to_owned()).collect()),
            docker_root_dir: Some(directory.to_owned()),
            ..SystemInfo::default()
        })
    }

    #[test]
    fn the_mapping_is_read_from_the_engines_description() {
        let seccomp = "name=seccomp,profile=default";
        assert_eq!(mapping(&[seccomp], "/var/lib/docker"), UserMapping::Same);
        assert_eq!(
            mapping(&[seccomp, "name=userns"], "/var/lib/docker/165536.231072"),
            UserMapping::Shifted { uid: 165_536, gid: 231_072 }
        );
        assert_eq!(mapping(&["name=userns"], "/srv/docker"), UserMapping::Unknown);
        assert_eq!(
            mapping(&[seccomp, "name=rootless"], "/home/a/.local/share/docker"),
            UserMapping::Rootless
        );
    }

    #[test]
    fn jobs_that_could_not_write_are_refused_with_the_line_to_write() {
        let user = (10_001, 10_001);
        let shifted = UserMapping::Shifted { uid: 165_536, gid: 165_536 };
        assert_eq!(UserMapping::Same.obstacle(user, user, true), None);
        assert_eq!(shifted.obstacle(user, (175_537, 175_537), true), None);
        assert_eq!(
            UserMapping::Unknown.obstacle(user, (175_537, 175_537), true),
            None,
            "the operator has said it"
        );
        let said = |mapping: UserMapping, owner| {
            let UserObstacle { what, remedy } = mapping.obstacle(user, owner, true).unwrap();
            format!("{what}; {remedy}")
        };
        insta::assert_snapshot!(said(shifted, user));
        insta::assert_snapshot!(said(UserMapping::Same, (175_537, 175_537)));
        insta::assert_snapshot!(said(UserMapping::Unknown, user));
        insta::assert_snapshot!(said(UserMapping::Rootless, user));
        let obstacle = shifted.obstacle((1000, 1000), (1000, 1000), false).unwrap();
        assert!(obstacle.remedy.starts_with("run the platform as root"), "{obstacle:?}");
    }
}
