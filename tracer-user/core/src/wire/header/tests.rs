use super::*;

fn json(text: &str) -> Result<Header, Malformed> {
    Header::parse(Codec::Json, text.as_bytes())
}

/// A binary header with the given entries, keys and values as they are.
fn binary(code: i16, flag: i32, remark: &str, entries: &[(&str, &str)]) -> Vec<u8> {
    let mut ext = Vec::new();
    for (key, value) in entries {
        ext.extend_from_slice(&(key.len() as u16).to_be_bytes());
        ext.extend_from_slice(key.as_bytes());
        ext.extend_from_slice(&(value.len() as u32).to_be_bytes());
        ext.extend_from_slice(value.as_bytes());
    }
    let mut out = code.to_be_bytes().to_vec();
    out.extend_from_slice(&[9, 1, 0x3d]);
    out.extend_from_slice(&77i32.to_be_bytes());
    out.extend_from_slice(&flag.to_be_bytes());
    for part in [remark.as_bytes(), &ext] {
        out.extend_from_slice(&(part.len() as u32).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

fn parse_binary(raw: Vec<u8>) -> Result<Header, Malformed> {
    Header::parse(Codec::Binary, raw)
}

#[test]
fn json_in_any_shape() {
    // order, unknown keys with nested values, numbers and booleans, null, white space, a trailing line feed
    let header = json(concat!(
        " {\"opaque\" : -5,\"x\":[{\"y\":[1,{\"z\":\"}\\\"\"}]},[]], \"extFields\":{\"a\":\"b\\\"c\",\"n\":-1,",
        "\"t\":true,\"none\":null,\"deep\":{\"k\":1},\"\\u0061\":\"again\"},\"flag\":\"3\",\"language\":3,",
        "\"version\":\"479\",\"remark\":null,\"code\":200050}\n"
    ))
    .unwrap();
    assert_eq!(
        (header.code, header.opaque, header.flag, header.version),
        (200050, -5, 3, 479)
    );
    assert_eq!(header.language, Language::PYTHON);
    assert_eq!(header.remark(), None);
    assert_eq!(
        header.field("a").as_deref(),
        Some("again"),
        "the last of two, its key escaped"
    );
    assert_eq!(header.int("n"), Some(-1));
    assert_eq!(header.bool("t"), Some(true));
    assert_eq!(header.field("none"), None);
    assert_eq!(header.field("deep"), None);
    assert_eq!(header.fields().count(), 4);
}

#[test]
fn json_without_ext_fields() {
    for ext in [
        "",
        ",\"extFields\":null",
        ",\"extFields\":{}",
        ",\"extFields\":{ }",
    ] {
        let header = json(&format!("{{\"code\":0,\"opaque\":1,\"flag\":1{ext}}}")).unwrap();
        assert_eq!(header.fields().count(), 0, "{ext}");
        assert!(header.is_response() && !header.is_one_way());
    }
}

#[test]
fn json_that_is_no_header() {
    for text in [
        "",
        "{",
        "{}",
        "[]",
        "{\"code\":0,\"opaque\":1}",
        "{\"code\":0,\"flag\":1}",
        "{\"opaque\":0,\"flag\":1}",
        "{\"code\":0,\"opaque\":1,\"flag\":1",
        "{\"code\":0,\"opaque\":1,\"flag\":1,}",
        "{\"code\":0,\"opaque\":1,\"flag\":1} x",
        "{\"code\":0,\"opaque\":99999999999,\"flag\":1}",
        "{\"code\":0,\"opaque\":\"x\",\"flag\":1}",
        "{\"code\":0 \"opaque\":1,\"flag\":1}",
        "{\"code\":0,\"opaque\":1,\"flag\":1,\"r\":\"\\",
        "{\"code\":0,\"opaque\":1,\"flag\":1,\"r\":}",
    ] {
        assert!(json(text).is_err(), "{text}");
    }
}

#[test]
fn limits_of_json() {
    let nested = |n: usize| {
        format!(
            "{{\"x\":{}{},\"code\":0,\"opaque\":1,\"flag\":1}}",
            "[".repeat(n),
            "]".repeat(n)
        )
    };
    assert!(json(&nested(32)).is_ok());
    assert_eq!(json(&nested(33)).unwrap_err().what, "nesting");
    assert!(json(&nested(100_000)).is_err());

    let many = |n: usize| {
        let fields: Vec<_> = (0..n).map(|i| format!("\"k{i}\":\"{i}\"")).collect();
        format!(
            "{{\"code\":0,\"opaque\":1,\"flag\":1,\"extFields\":{{{}}}}}",
            fields.join(",")
        )
    };
    assert_eq!(json(&many(256)).unwrap().field("k255").as_deref(), Some("255"));
    assert_eq!(json(&many(257)).unwrap_err().what, "number of extFields");
}

#[test]
fn errors_say_where() {
    let error = json("{\"code\":0,\"opaque\"1}").unwrap_err();
    assert_eq!(error.to_string(), "malformed colon at byte 18");
}

#[test]
fn not_utf8() {
    let raw = &b"{\"code\":0,\"opaque\":1,\"flag\":1,\"extFields\":{\"a\":\"\xff\"}}"[..];
    let header = Header::parse(Codec::Json, raw).unwrap();
    assert_eq!(header.field("a").as_deref(), Some("\u{fffd}"));
}

#[test]
fn binary_fields() {
    let entries = [("topic", "T"), ("empty", ""), ("", "no key"), ("topic", "last")];
    let header = parse_binary(binary(11, 2, "why", &entries)).unwrap();
    assert_eq!((header.code, header.opaque, header.version), (11, 77, 317));
    assert_eq!(header.language, Language::GO);
    assert!(header.is_one_way());
    assert_eq!(header.remark().as_deref(), Some("why"));
    assert_eq!(header.field("topic").as_deref(), Some("last"));
    assert_eq!(header.field("empty").as_deref(), Some(""));
    assert_eq!(header.fields().count(), 3);
    assert_eq!(parse_binary(binary(11, 0, "", &[])).unwrap().remark(), None);
}

#[test]
fn binary_pop_codes_are_restored_for_requests() {
    for (wire, code) in [
        (3442, 200050),
        (3448, 200056),
        (3465, 200073),
        (3545, 200153),
        (310, 310),
    ] {
        assert_eq!(parse_binary(binary(wire, 0, "", &[])).unwrap().code, code);
        assert_eq!(
            parse_binary(binary(wire, 1, "", &[])).unwrap().code,
            i32::from(wire)
        );
    }
    assert_eq!(
        parse_binary(binary(-1006, 1, "", &[])).unwrap().response_code(),
        ResponseCode::RPC_TIME_OUT
    );
}

#[test]
fn binary_identity() {
    let whole = binary(11, 0, "why", &[("topic", "T")]);
    for end in 0..whole.len() {
        assert!(parse_binary(whole[..end].to_vec()).is_err(), "{end}");
    }
    assert!(parse_binary([&whole[..], b"x"].concat()).is_err());
    assert_eq!(
        parse_binary(binary(11, 0, "", &[("a key", "v")]))
            .unwrap_err()
            .what,
        "extFields key"
    );
    let many: Vec<_> = (0..257).map(|_| ("k", "v")).collect();
    assert!(parse_binary(binary(11, 0, "", &many[..256])).is_ok());
    assert_eq!(
        parse_binary(binary(11, 0, "", &many)).unwrap_err().what,
        "number of extFields"
    );
}

#[test]
fn properties_of_a_send() {
    let header = json(
        "{\"code\":310,\"opaque\":1,\"flag\":0,\"extFields\":{\"i\":\"UNIQ_KEY\\u0001A\\u0002TAGS\\u0001t\"}}",
    )
    .unwrap();
    assert_eq!(header.properties().unwrap().get("TAGS"), Some("t"));
    let header = parse_binary(binary(10, 0, "", &[("properties", "UNIQ_KEY\u{1}B\u{2}")])).unwrap();
    assert_eq!(header.properties().unwrap().get("UNIQ_KEY"), Some("B"));
}

#[test]
fn credentials_are_not_shown() {
    let entries = [
        ("AccessKey", "secret-a"),
        ("Signature", "secret-b"),
        ("SecurityToken", "secret-c"),
        ("t", "v"),
    ];
    let shown = format!("{:?}", parse_binary(binary(10, 0, "", &entries)).unwrap());
    assert!(
        !shown.contains("secret") && shown.contains("\"t\": \"v\""),
        "{shown}"
    );
}
