//! Send headers as each client writes them (§11): the same send, the same span.

use insta::assert_snapshot;
use tracer_core::model::{Span, attribute::*};

use super::support::*;

/// Who writes so, and what.
fn dialects() -> [(&'static str, String); 10] {
    let properties = format!(r"UNIQ_KEY\u0001{K1}\u0002TAGS\u0001a\u0002");
    let long = |more: &str| {
        format!(
            r#""producerGroup":"pg","topic":"orders","defaultTopic":"TBW102","bornTimestamp":"1758272400123","properties":"{properties}",{more}"#
        )
    };
    let letters = |more: &str| {
        format!(
            r#""a":"pg","b":"orders","c":"TBW102","g":"1758272400123","i":"{properties}","n":"broker-a",{more}"#
        )
    };
    let strings = r#""queueId":"2","sysFlag":"0","flag":"0","batch":"false""#;
    [
        (
            "Go: long names, texts",
            format!(
                r#"{{"code":10,"language":"GO","version":317,"opaque":1,"flag":0,"remark":"","extFields":{{{}}}}}"#,
                long(strings)
            ),
        ),
        (
            "C++: numbers, booleans as digits, credentials always, a line feed behind",
            format!(
                "{}\n",
                format_args!(
                    r#"{{"code":10,"extFields":{{"AccessKey":"","OnsChannel":"ALIYUN","Signature":"",{}}},"flag":0,"language":"CPP","opaque":1,"remark":"","serializeTypeCurrentRPC":"JSON","version":63}}"#,
                    long(
                        r#""queueId":2,"sysFlag":0,"flag":0,"defaultTopicQueueNums":4,"batch":"0","unitMode":"0""#
                    )
                )
            ),
        ),
        (
            "C++: a batch that is none to the broker",
            format!(
                r#"{{"code":10,"extFields":{{{}}},"flag":0,"language":"CPP","opaque":1,"version":63}}"#,
                long(r#""queueId":2,"sysFlag":0,"batch":"1""#)
            ),
        ),
        (
            "ali-ons: numbers and booleans",
            format!(
                r#"{{"code":310,"language":"JAVA","version":121,"opaque":1,"flag":0,"extFields":{{{}}}}}"#,
                letters(r#""d":4,"e":2,"f":0,"h":0,"j":0,"k":false,"m":false"#)
            ),
        ),
        (
            "pyrocketmq: the language as a number",
            format!(
                r#"{{"code":10,"language":3,"version":1,"opaque":1,"flag":0,"extFields":{{{}}}}}"#,
                long(strings)
            ),
        ),
        (
            "lua: the language in lower case",
            format!(
                r#"{{"language":"other","opaque":1,"flag":0,"version":373,"code":310,"extFields":{{{}}}}}"#,
                letters(r#""e":"2","f":"0","m":"false""#)
            ),
        ),
        (
            ".NET",
            format!(
                r#"{{"code":310,"extFields":{{{}}},"flag":0,"language":"DOTNET","opaque":1,"version":"373"}}"#,
                letters(r#""e":"2","f":"0""#)
            ),
        ),
        (
            "letters within 10",
            format!(
                r#"{{"code":10,"language":"JAVA","version":401,"opaque":1,"flag":0,"extFields":{{{}}}}}"#,
                letters(r#""e":"2""#)
            ),
        ),
        (
            "long names within 310, fields unknown, repeated and of other types",
            format!(
                r#"{{"code":310,"language":"JAVA","version":513,"opaque":1,"flag":0,"extFields":{{"topic":"wrong","new":{{"x":[1]}},{},"bname":"broker-a"}},"newer":[{{}}]}}"#,
                long(r#""queueId":2,"sysFlag":null,"batch":false"#)
            ),
        ),
        (
            "fields missing",
            format!(
                r#"{{"code":310,"opaque":1,"flag":0,"extFields":{{"a":"pg","b":"orders","i":"{properties}"}}}}"#
            ),
        ),
    ]
}

fn span(header: &str) -> Span {
    let mut script = Script::new();
    let conn = script.connect();
    script.write(conn, raw(header).body("hello"));
    script.at(10).read(conn, sent(1, 0));
    let (mut spans, totals) = (script.spans(), script.totals());
    assert_eq!((spans.len(), totals.malformed), (1, 0), "{header}");
    spans.remove(0)
}

#[test]
fn sends() {
    let mut lines = Vec::new();
    for (who, header) in dialects() {
        let span = span(&header);
        let shown = |key| {
            let value = span.attribute(key)?.as_str().unwrap_or("number");
            Some(value.to_owned())
        };
        assert_eq!(shown(MESSAGING_MESSAGE_ID).as_deref(), Some(K1), "{who}");
        assert_eq!(
            shown(MESSAGING_ROCKETMQ_MESSAGE_TAG).as_deref(),
            Some("a"),
            "{who}"
        );
        assert_eq!(
            shown(MESSAGING_DESTINATION_PARTITION_ID).as_deref(),
            Some("2"),
            "{who}"
        );
        assert_eq!(
            shown(MESSAGING_ROCKETMQ_PRODUCER_GROUP).as_deref(),
            Some("pg"),
            "{who}"
        );
        assert_eq!(span.attribute(MESSAGING_BATCH_MESSAGE_COUNT), None, "{who}");
        lines.push(format!(
            "{who}: {} {:?} {:?} {}",
            brief(std::slice::from_ref(&span)).trim_end(),
            shown(RMQTRACE_CLIENT_LANGUAGE),
            shown(RMQTRACE_CLIENT_VERSION),
            span.attribute(MESSAGING_ROCKETMQ_BORN_TIMESTAMP).is_some(),
        ));
    }
    assert_snapshot!(lines.join("\n"));
}

/// Namespaces in every place that they are written to.
#[test]
fn namespaces() {
    for (topic, more, namespace) in [
        ("orders", "", ""),
        ("MQ_INST_123_abc%orders", "", "MQ_INST_123_abc"),
        ("orders", r#","ns":"shop","nsd":"true""#, "shop"),
        ("orders", r#","ns":"shop","nsd":true"#, "shop"),
        ("orders", r#","ns":"shop""#, ""),
        ("own%orders", r#","ns":"shop","nsd":"true""#, "own"),
    ] {
        let header = format!(
            r#"{{"code":310,"opaque":1,"flag":0,"language":"JAVA","version":513,"extFields":{{"a":"ns%pg","b":"{topic}","e":"2","i":"UNIQ_KEY\u0001{K1}\u0002"{more}}}}}"#
        );
        let span = span(&header);
        let text = |key| span.attribute(key).and_then(|value| value.as_str());
        assert_eq!(text(MESSAGING_ROCKETMQ_NAMESPACE), Some(namespace), "{header}");
        assert_eq!(text(MESSAGING_DESTINATION_NAME), Some("orders"), "{header}");
        assert_eq!(text(MESSAGING_ROCKETMQ_PRODUCER_GROUP), Some("pg"), "{header}");
    }
}
