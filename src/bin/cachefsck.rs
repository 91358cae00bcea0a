//! The command `cachefsck`.

fn main() {}
