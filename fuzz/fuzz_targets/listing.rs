//! The parsers of web servers' listings on arbitrary bytes; see `larder::testing::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| larder::testing::fuzz::listing(data));
