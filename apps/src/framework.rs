//! The frameworks that an app can be built with, and the starter files of each, built into the binary.

use std::fmt;
use std::str::FromStr;

use include_dir::include_dir;
use mgx_workspaces::StarterFiles;
use serde::{Deserialize, Serialize};

static NEXTJS: StarterFiles = include_dir!("$CARGO_MANIFEST_DIR/../templates/nextjs");
static FASTAPI_VITE: StarterFiles = include_dir!("$CARGO_MANIFEST_DIR/../templates/fastapi-vite");

/// What an app is built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Framework {
    /// Next.js, one container.
    Nextjs,
    /// FastAPI, and a React single-page app built with Vite. Some clients of the original platform write it with `_`.
    #[serde(alias = "fastapi_vite")]
    FastapiVite,
}

impl Framework {
    /// Every framework.
    pub const ALL: [Self; 2] = [Self::Nextjs, Self::FastapiVite];

    /// Its name, as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nextjs => "nextjs",
            Self::FastapiVite => "fastapi-vite",
        }
    }

    /// The files that a new workspace begins with.
    pub(crate) fn starter_files(self) -> &'static StarterFiles {
        match self {
            Self::Nextjs => &NEXTJS,
            Self::FastapiVite => &FASTAPI_VITE,
        }
    }
}

impl fmt::Display for Framework {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Framework {
    type Err = UnknownFramework;
    fn from_str(text: &str) -> Result<Self, UnknownFramework> {
        let text = text.replace('_', "-");
        Self::ALL.into_iter().find(|framework| framework.name() == text).ok_or(UnknownFramework)
    }
}

/// The text names no framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a framework is nextjs or fastapi-vite")]
pub struct UnknownFramework;
