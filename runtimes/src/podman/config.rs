//! Where Podman's service is, and how its containers are marked and run.

use std::path::PathBuf;

/// Where Podman's service is, and how its containers are marked and run.
#[derive(Clone, Debug)]
pub struct PodmanConfig {
    /// The service's socket: `unix:///run/podman/podman.sock`, or the path alone.
    pub host: String,
    /// The OCI runtime that containers must run in, such as `runc`; empty: the service's own.
    pub oci_runtime: String,
    /// The name of this instance of the platform; containers of other instances are never touched.
    pub instance: String,
    /// `uid:gid` of every process in a container; not root.
    pub user: String,
    /// Where the system-call profile is written: libpod takes a path and not the text.
    pub profile: PathBuf,
}
