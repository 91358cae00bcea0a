//! The checker on a real cache directory that the input damages; see `larder::testing::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| larder::testing::fuzz::directory(data));
