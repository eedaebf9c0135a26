//! What a process may be told to run.

use std::fmt;

/// What a process runs.
///
/// | target | jobs over HTTP | tasks | statistics over HTTP | queries over HTTP | may embed |
/// | --- | --- | --- | --- | --- | --- |
/// | up | yes | yes | yes | yes | yes |
/// | api | yes | | | | |
/// | worker | | yes | | | |
/// | stats | | | yes | | |
/// | tables | | | | yes | yes |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Up,
    Api,
    Worker,
    Stats,
    /// Queries over HTTP.
    #[cfg(feature = "tables")]
    Tables,
}

impl Target {
    /// Separate services share their parts, and an embedded part cannot be shared.
    pub(crate) fn may_embed(self) -> bool {
        match self {
            Self::Up => true,
            // Of a folder that nobody else has open.
            #[cfg(feature = "tables")]
            Self::Tables => true,
            _ => false,
        }
    }

    /// Whether it plans and runs tasks.
    pub(crate) fn works(self) -> bool {
        matches!(self, Self::Up | Self::Worker)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Api => "api",
            Self::Worker => "worker",
            Self::Stats => "stats",
            #[cfg(feature = "tables")]
            Self::Tables => "tables",
        })
    }
}
