//! How long a call to an engine may take, by what is asked of it.

use std::time::Duration;

pub(crate) const PING: Duration = Duration::from_secs(2);
pub(crate) const INSPECT: Duration = Duration::from_secs(5);
/// Podman's description of itself: it asks the package manager for the versions of its parts, which takes seconds on
/// a busy machine.
pub(crate) const INFO: Duration = Duration::from_secs(30);
pub(crate) const CREATE: Duration = Duration::from_secs(30);
pub(crate) const REMOVE: Duration = Duration::from_secs(10);
pub(crate) const IMPORT: Duration = Duration::from_mins(2);
