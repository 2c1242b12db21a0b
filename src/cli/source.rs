//! The configuration that a verb reads.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tidegate::gateway::config::FILE_DEFAULT;

/// The variable that names the file. Not read by clap: an argument in either form must override it, not conflict with
/// it.
const VARIABLE: &str = "TIDEGATE_CONFIG";

/// A file, with or without the name of the argument: `check` and `serve` accept both.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigSource {
    /// The configuration file [default: tidegate.toml, if it exists] [env: TIDEGATE_CONFIG]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The same as FILE
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
}

impl ConfigSource {
    /// The file, if one is named.
    pub fn file(&self) -> Option<PathBuf> {
        let named = self.file.as_ref().or(self.config.as_ref()).cloned();
        named.or_else(|| std::env::var_os(VARIABLE).filter(|path: &OsString| !path.is_empty()).map(PathBuf::from))
    }

    /// The name for messages.
    pub fn name(&self) -> PathBuf {
        self.file().unwrap_or_else(|| Path::new(FILE_DEFAULT).to_owned())
    }
}
