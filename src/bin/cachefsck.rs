//! The command `cachefsck`.

fn main() -> std::process::ExitCode {
    larder::cli::cachefsck()
}
