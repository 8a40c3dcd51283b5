//! Records of the ring: what the kernel side writes, or whatever else stands there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer_core::{Config, Engine, record::Record};

fuzz_target!(|bytes: &[u8]| {
    let mut engine = Engine::new(Config::default());
    let mut rest = bytes;
    while let Some((&[high, low], behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(behind.len());
        let (record, behind) = behind.split_at(length);
        rest = behind;
        if let Ok(record) = Record::parse(record) {
            if let Record::Data(data) = &record {
                assert!(data.bytes.len() <= data.length as usize && data.start <= data.end);
            }
            engine.handle_record(record);
            while engine.poll_output().is_some() {}
        }
    }
});
