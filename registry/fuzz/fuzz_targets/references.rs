#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wharf_registry::properties::references(input));
