//! The header in both codecs: what is read of it, and that binary and JSON do not read beyond it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer_core::wire::{Header, header::Codec};

fuzz_target!(|bytes: &[u8]| {
    for codec in [Codec::Json, Codec::Binary] {
        let Ok(header) = Header::parse(codec, bytes) else {
            continue;
        };
        let _ = (
            header.remark(),
            header.request_code().name(),
            header.response_code().name(),
        );
        for (name, _) in header.fields() {
            // the last of a repeated name counts; a null is no field
            let _ = (header.int(&name), header.bool(&name));
        }
        if let Some(properties) = header.properties() {
            for (name, value) in properties.iter() {
                assert!(properties.0.len() >= name.len() + value.len());
            }
        }
        // nothing secret is shown, unless it stands elsewhere too
        let shown = format!("{header:?}");
        let texts = header.fields().flat_map(|(name, value)| [name, value]);
        let texts: Vec<_> = texts.map(|text| format!("{text:?}")).collect();
        for secret in ["AccessKey", "Signature", "SecurityToken"] {
            let value = header.field(secret).filter(|value| value.len() > 24);
            let Some(value) = value.filter(|value| value.bytes().all(|byte| byte.is_ascii_alphanumeric()))
            else {
                continue;
            };
            let remark = format!("{:?}", header.remark()).contains(&*value);
            let elsewhere = remark || texts.iter().filter(|text| text.contains(&*value)).count() > 1;
            assert!(elsewhere || !shown.contains(&*value), "{secret} is shown");
        }
    }
});
