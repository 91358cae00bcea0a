//! The judge of a web server's answers on arbitrary heads; see `larder::testing::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| larder::testing::fuzz::answer(data));
