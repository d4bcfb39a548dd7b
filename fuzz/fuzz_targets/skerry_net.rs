#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| hypervisor_core::fuzz::skerry_net(data));
