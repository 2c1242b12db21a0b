//! One operation under callgrind: this program again, and what callgrind wrote.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::operations::{COUNTED, Operation};

/// What one run says.
pub struct Counted {
    /// Instructions for one of what the operation counts.
    pub instructions: f64,
    /// What the processor can do as far as the program could see: it chooses code by that.
    pub processor: String,
}

/// Where callgrind's files go; `callgrind_annotate` reads them.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/instructions")
}

pub fn count(operation: &Operation) -> Result<Counted, String> {
    let program = env::current_exe().map_err(|error| format!("this program cannot be found: {error}"))?;
    let file = folder().join(format!("{}.out", operation.name));
    let output = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--dump-line=yes"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args(["--run", operation.name])
        // Whatever is said about logs or backtraces must not change what is executed.
        .env_clear()
        .output()
        .map_err(|error| format!("valgrind did not start: {error}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} failed under valgrind ({}):\n{words}", operation.name, output.status));
    }
    let written = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let total = total(&written).filter(|total| *total > 0);
    let total = total.ok_or_else(|| format!("{}: nothing was counted", file.display()))?;
    Ok(Counted {
        instructions: total as f64 / operation.count() as f64,
        processor: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    })
}

/// The line of the file format that sums up all that was collected.
fn total(written: &str) -> Option<u64> {
    written.lines().find_map(|line| line.strip_prefix("totals:"))?.trim().parse().ok()
}

/// The features of this processor by which code is chosen here: in aws-lc, memchr, simdutf8, httparse and glibc. Under
/// valgrind, those of the processor that it shows.
pub fn processor() -> String {
    let mut features = Vec::new();
    #[cfg(target_arch = "x86_64")]
    macro_rules! look {
        ($($feature:tt)*) => {
            $(if std::arch::is_x86_feature_detected!($feature) {
                features.push($feature);
            })*
        };
    }
    #[cfg(target_arch = "x86_64")]
    look!("ssse3" "sse4.2" "avx" "avx2" "bmi2" "aes" "pclmulqdq" "sha" "adx" "avx512f" "vaes");
    features.insert(0, env::consts::ARCH);
    features.join(" ")
}
