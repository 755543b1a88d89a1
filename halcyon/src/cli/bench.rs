//! `halcyon bench`: becomes `halcyon-bench`, which carries the plotting and statistics that the
//! VM process must not.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::args::BenchArgs;
use crate::error::{Doing as _, Failure};

/// Replaces this process by `halcyon-bench`; returns only if that cannot be done.
pub fn run(args: BenchArgs) -> Result<(), Failure> {
    let own = std::env::current_exe().doing(|| "find the halcyon binary".into())?;
    let program = beside(&own)?;
    let error = Command::new(&program).args(args.rest).exec();
    Err(error).doing(|| format!("execute {}", program.display()))
}

fn beside(own: &Path) -> Result<PathBuf, Failure> {
    let program = own.with_file_name("halcyon-bench");
    if program.exists() {
        return Ok(program);
    }
    Err(Failure::failed(format!(
        "{} is missing: build it with `cargo build --release -p benches`",
        program.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_benchmark_binary_says_how_to_build_it() {
        let failure = beside(Path::new("/nonexistent/halcyon")).unwrap_err();
        assert!(
            failure
                .to_string()
                .contains("cargo build --release -p benches")
        );
    }
}
