//! Records in, finished spans and verdicts out.

use std::process::{Child, Command, Stdio};

use tracer_abi::{self as abi, Direction, Kind, Role};
use zerocopy::IntoBytes;

use super::*;
use crate::clock::boot_now;

const COOKIE: u64 = 7;

fn header(kind: Kind, pid: u32) -> abi::Header {
    abi::Header {
        kind,
        direction: Direction::SEND,
        flags: 0,
        captured: 0,
        cookie: COOKIE,
        time_ns: boot_now().0,
        offset: 0,
        original: 0,
        elapsed_ns: 0,
        tgid: pid,
        tid: pid,
    }
}

fn address(last: u8) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&[10, 0, 0, last]);
    bytes
}

fn open(pid: u32) -> Vec<u8> {
    let open = abi::Open {
        header: header(Kind::OPEN, pid),
        local_addr: address(1),
        remote_addr: address(2),
        netns: 1,
        family: 2,
        local_port: 40_000,
        remote_port: 10_911,
        role: Role::CLIENT,
        from_start: 1,
        reserved: 0,
    };
    open.as_bytes().to_vec()
}

/// A one-way send to this topic: the one exchange that is a single frame.
fn sent(pid: u32, topic: &str) -> Vec<u8> {
    let json = format!(
        r#"{{"code":10,"extFields":{{"producerGroup":"g","topic":"{topic}","defaultTopic":"TBW102","defaultTopicQueueNums":"4","queueId":"0","sysFlag":"0","bornTimestamp":"1","flag":"0","properties":"UNIQ_KEY\u00017F0000010A1B18B4AAC2012345670000\u0002","reconsumeTimes":"0","unitMode":"false"}},"flag":2,"language":"JAVA","opaque":1,"serializeTypeCurrentRPC":"JSON","version":401}}"#
    );
    let mut frame = u32::try_from(4 + json.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(u32::try_from(json.len()).unwrap().to_be_bytes());
    frame.extend(json.as_bytes());
    let length = u32::try_from(frame.len()).unwrap();
    let header = abi::Header {
        captured: length,
        original: length,
        ..header(Kind::DATA, pid)
    };
    [header.as_bytes(), &frame].concat()
}

fn ended(pid: u32) -> Vec<u8> {
    abi::Process {
        header: header(Kind::PROCESS, pid),
        ended: 1,
        reserved: 0,
    }
    .as_bytes()
    .to_vec()
}

struct World {
    pipeline: Pipeline,
    spans: Vec<Finished>,
    child: Child,
}

impl World {
    fn new(settings: &str) -> World {
        let config = serde_saphyr::from_str(settings).unwrap();
        let pipeline = Pipeline::new(&config, 1).unwrap();
        let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        World {
            pipeline,
            spans: Vec::new(),
            child,
        }
    }

    fn record(&mut self, bytes: &[u8]) {
        self.pipeline
            .record(bytes, &mut |finished| self.spans.push(finished));
    }

    fn verdicts(&mut self) -> Vec<(u32, Verdict)> {
        self.pipeline.verdicts().collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
fn a_span_has_its_process_and_wall_clock_times() {
    let mut world = World::new("{}");
    let pid = world.child.id();
    let before = std::time::SystemTime::now();
    world.record(&open(pid));
    world.record(&sent(pid, "a"));
    let after = std::time::SystemTime::now();
    assert_eq!(world.verdicts(), [(pid, Verdict::Allow)]);
    let [finished] = &world.spans[..] else {
        panic!("one span: {:?}", world.spans)
    };
    assert_eq!(&*finished.process.resource.service, "cat");
    assert_eq!((&*finished.span.topic, finished.span.process.0), ("a", pid));
    let slack = Duration::from_millis(5);
    assert!(
        before - slack <= std::time::SystemTime::from(finished.start)
            && std::time::SystemTime::from(finished.end) <= after + slack
    );
    assert_eq!(world.pipeline.totals().messages_sent, 1);
}

#[test]
fn a_denied_process_goes_no_further_and_the_kernel_is_told() {
    let mut world = World::new("{filter: {exclude_exe: [cat]}}");
    let pid = world.child.id();
    world.record(&open(pid));
    world.record(&sent(pid, "a"));
    assert_eq!(world.verdicts(), [(pid, Verdict::Deny)]);
    assert!(world.spans.is_empty());
    assert_eq!(world.pipeline.totals().frames, 0);
    assert_eq!(world.pipeline.counts().filtered_records, 2);
}

/// The kernel forgets a verdict when a process runs another program; so must this.
#[test]
fn a_verdict_ends_with_the_program() {
    let mut world = World::new("{filter: {exclude_exe: [cat]}}");
    let (pid, own) = (world.child.id(), std::process::id());
    world.record(&open(pid));
    world.record(&ended(pid));
    world.record(&open(own));
    world.record(&sent(own, "a"));
    // one of a process that has ended would meet whoever gets its id next
    assert_eq!(world.verdicts(), [(own, Verdict::Allow)]);
    assert_eq!(world.spans.len(), 1);
}

/// The announcement of a connection may be lost, with a full ring.
#[test]
fn a_process_is_judged_also_by_its_data() {
    let mut world = World::new("{filter: {exclude_exe: [cat]}}");
    let pid = world.child.id();
    world.record(&sent(pid, "a"));
    world.record(&sent(pid, "a"));
    assert_eq!(world.verdicts(), [(pid, Verdict::Deny)]);
    assert!(world.spans.is_empty());
    world.record(&sent(std::process::id(), "a"));
    assert_eq!(world.spans.len(), 1);
}

#[test]
fn verdicts_of_processes_that_are_gone_are_forgotten() {
    let mut world = World::new("{filter: {exclude_exe: [cat]}}");
    let pid = world.child.id();
    world.record(&open(pid));
    world.pipeline.sweep(boot_now());
    assert_eq!(world.pipeline.decided.len(), 1);
    drop(world.child.stdin.take());
    world.child.wait().unwrap();
    world.pipeline.sweep(boot_now());
    assert!(world.pipeline.decided.is_empty());
}

#[test]
fn topics_that_are_not_wanted_are_left_out_and_counted() {
    let mut world = World::new("{filter: {topics: ['b*']}}");
    let pid = world.child.id();
    world.record(&open(pid));
    world.record(&sent(pid, "a"));
    assert!(world.spans.is_empty());
    assert_eq!(world.pipeline.counts().filtered_spans, 1);
}

#[test]
fn records_of_another_build_are_counted_and_do_no_harm() {
    let mut world = World::new("{}");
    for bytes in [&[][..], &[9; 48], &[1; 60], &[2; 10]] {
        world.record(bytes);
    }
    assert!(world.pipeline.counts().bad_records >= 3);
    assert!(world.spans.is_empty());
}

/// Settings, whether the span leaves, and the counter of those that do not.
#[test]
fn what_is_not_kept_is_counted() {
    let (ratio, rate) = (
        "sampler: traceidratio, ratio: 0",
        "max_messages_per_second: {a: 0}",
    );
    for (sampling, kept, unsampled, limited) in [
        ("", 1, 0, 0),
        ("sampler: always_off", 0, 1, 0),
        (ratio, 0, 1, 0),
        ("sampler: parentbased_always_off", 0, 1, 0),
        (rate, 0, 0, 1),
        ("max_messages_per_second: {b: 0}", 1, 0, 0),
    ] {
        let mut world = World::new(&format!("{{sampling: {{{sampling}}}}}"));
        let pid = world.child.id();
        world.record(&open(pid));
        world.record(&sent(pid, "a"));
        let counts = world.pipeline.counts();
        let got = (
            world.spans.len(),
            counts.unsampled_spans,
            counts.rate_limited_spans,
        );
        assert_eq!(got, (kept, unsampled, limited), "{sampling}");
        // left out, but seen
        assert_eq!(world.pipeline.totals().messages_sent, 1);
    }
}

#[test]
fn names_and_bounds_are_applied() {
    let mut world = World::new("{semconv: dup, attributes: {max_value_length: 3, max_per_span: 30}}");
    let pid = world.child.id();
    world.record(&open(pid));
    world.record(&sent(pid, "orders"));
    let [finished] = &world.spans[..] else {
        panic!("one span: {:?}", world.spans)
    };
    let text = |key: &str| {
        let found = finished.span.attributes.iter().find(|a| a.key == key);
        found.and_then(|a| a.value.as_str())
    };
    assert_eq!(text("messaging.destination.name"), Some("ord"));
    assert_eq!(text("messaging.destination"), Some("ord"));
    assert_eq!(finished.naming, Naming::Dup);
    assert_eq!(&*finished.span.topic, "orders", "the span's name is whole");
    assert!(world.pipeline.counts().cut_values > 2);
    assert_eq!(world.pipeline.counts().dropped_attributes, 0);
}

fn foreign(pid: u32, protocol: abi::Protocol) -> Vec<u8> {
    let mut record = open(pid);
    record[..2].copy_from_slice(&[Kind::FOREIGN.0, 0]);
    record[2..4].copy_from_slice(&protocol.0.to_ne_bytes());
    record
}

/// TLS to an address to which remoting is spoken as well.
#[test]
fn connections_to_known_servers_that_cannot_be_read_are_counted() {
    let mut world = World::new("{}");
    let pid = world.child.id();
    world.record(&foreign(pid, abi::Protocol::TLS));
    assert_eq!(world.pipeline.counts().tls_connections, 0);
    world.record(&open(pid));
    world.record(&foreign(pid, abi::Protocol::TLS));
    world.record(&foreign(pid, abi::Protocol::HTTP2));
    let counts = world.pipeline.counts();
    assert_eq!((counts.tls_connections, counts.grpc_connections), (1, 1));
    assert_eq!((counts.bad_records, world.spans.len()), (0, 0));
}
