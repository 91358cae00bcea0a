//! The command `larder`.

fn main() -> std::process::ExitCode {
    larder::cli::main()
}
