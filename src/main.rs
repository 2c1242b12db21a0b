//! The binary: everything is in the library, so that another program can embed it.

fn main() -> std::process::ExitCode {
    tidegate::cli::main()
}
