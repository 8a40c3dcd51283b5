//! Capture files: every form, several as one, and damaged ones.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use tracer_core::Config;
use tracer_pcap::{Input, Replay};

use crate::{
    capture::*,
    support::{K1, Script, send, sent},
};

/// A send and its answer, within the second 1,700,000,000.
fn packets() -> Vec<Packet> {
    let mut script = Script::new();
    let conn = script.connect();
    script.at(10).write(conn, send(1, "t", &format!("UNIQ_KEY={K1}")));
    script.at(20).read(conn, sent(1, 0));
    let mut packets = ethernet(&segments(&script.events, 1460));
    packets
        .iter_mut()
        .for_each(|packet| packet.time += 1_700_000_000_000_000_123);
    packets
}

/// A pcap file in each form.
fn pcap_as(magic: u32, big_endian: bool, fraction: u64, old_linux: bool) -> Vec<u8> {
    let word = |word: u32| {
        if big_endian {
            word.to_be_bytes()
        } else {
            word.to_le_bytes()
        }
    };
    let version = if big_endian { [0, 2, 0, 4] } else { [2, 0, 4, 0] };
    let mut file = [word(magic), version, word(0), word(0), word(65_535), word(1)].concat();
    for packet in packets() {
        file.extend(word((packet.time / 1_000_000_000) as u32));
        file.extend(word((packet.time % 1_000_000_000 / fraction) as u32));
        file.extend(word(packet.bytes.len() as u32));
        file.extend(word(packet.length));
        file.extend(vec![0; if old_linux { 8 } else { 0 }]);
        file.extend(packet.bytes);
    }
    file
}

/// A pcapng file in the making.
struct Ng {
    bytes: Vec<u8>,
    big_endian: bool,
}

impl Ng {
    fn new(big_endian: bool) -> Ng {
        let mut ng = Ng {
            bytes: Vec::new(),
            big_endian,
        };
        let version = if big_endian { [0, 1, 0, 0] } else { [1, 0, 0, 0] };
        let content = [ng.word(0x1a2b_3c4d), version, [0xff; 4], [0xff; 4]].concat();
        ng.block(0x0a0d_0d0a, &content);
        ng
    }

    fn word(&self, word: u32) -> [u8; 4] {
        if self.big_endian {
            word.to_be_bytes()
        } else {
            word.to_le_bytes()
        }
    }

    fn half(&self, half: u16) -> [u8; 2] {
        if self.big_endian {
            half.to_be_bytes()
        } else {
            half.to_le_bytes()
        }
    }

    fn block(&mut self, kind: u32, content: &[u8]) {
        let length = self.word((12 + content.len().next_multiple_of(4)) as u32);
        let kind = self.word(kind);
        self.bytes.extend([kind, length].concat());
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes.extend(length);
    }

    /// Link type, resolution and offset in seconds.
    fn interface(&mut self, link: u16, resolution: u8, offset: i64) {
        let offset = if self.big_endian {
            offset.to_be_bytes()
        } else {
            offset.to_le_bytes()
        };
        let content = [
            &self.half(link)[..],
            &[0; 6],
            &self.half(9),
            &self.half(1),
            &[resolution, 0, 0, 0],
            &self.half(14),
            &self.half(8),
            &offset,
            &[0; 4],
        ]
        .concat();
        self.block(1, &content);
    }

    fn packet(&mut self, interface: u32, stamp: u64, bytes: &[u8]) {
        let length = self.word(bytes.len() as u32);
        let content = [
            &self.word(interface)[..],
            &self.word((stamp >> 32) as u32),
            &self.word(stamp as u32),
            &length,
            &length,
            bytes,
        ]
        .concat();
        self.block(6, &content);
    }
}

/// Packets in blocks of the old form.
fn old_pcapng(big_endian: bool) -> Vec<u8> {
    let mut ng = Ng::new(big_endian);
    ng.interface(101, 6, 0);
    ng.interface(1, 9, 0);
    for packet in packets() {
        let length = ng.word(packet.bytes.len() as u32);
        let content = [
            &ng.half(1)[..],
            &ng.half(0xffff),
            &ng.word((packet.time >> 32) as u32),
            &ng.word(packet.time as u32),
            &length,
            &length,
            &packet.bytes,
        ]
        .concat();
        ng.block(2, &content);
    }
    ng.bytes
}

/// Several interfaces with link types and clocks of their own, and blocks that nobody knows.
fn pcapng(big_endian: bool) -> Vec<u8> {
    let mut ng = Ng::new(big_endian);
    ng.interface(1, 9, 0);
    ng.block(0x77, b"something");
    ng.interface(101, 0x80 | 30, 1_000_000_000);
    for (index, packet) in packets().iter().enumerate() {
        if index % 2 == 0 {
            ng.packet(0, packet.time, &packet.bytes);
        } else {
            let ns = u128::from(packet.time - 1_000_000_000_000_000_000);
            let stamp = (ns << 30).div_ceil(1_000_000_000);
            ng.packet(1, stamp as u64, &packet.bytes[14..]);
        }
    }
    ng.bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

/// Name, file, and what is left of 123 nanoseconds.
#[test]
fn every_form() {
    for (name, file, rest) in [
        (
            "microseconds, little-endian",
            pcap_as(0xa1b2_c3d4, false, 1_000, false),
            0,
        ),
        (
            "microseconds, big-endian",
            pcap_as(0xa1b2_c3d4, true, 1_000, false),
            0,
        ),
        (
            "nanoseconds, little-endian",
            pcap_as(0xa1b2_3c4d, false, 1, false),
            123,
        ),
        (
            "nanoseconds, big-endian",
            pcap_as(0xa1b2_3c4d, true, 1, false),
            123,
        ),
        ("old Linux", pcap_as(0xa1b2_cd34, false, 1_000, true), 0),
        ("pcapng, little-endian", pcapng(false), 123),
        ("pcapng, big-endian", pcapng(true), 123),
        ("old pcapng, little-endian", old_pcapng(false), 123),
        ("old pcapng, big-endian", old_pcapng(true), 123),
        ("pcap in gzip", gzip(&pcap_as(0xa1b2_3c4d, false, 1, false)), 123),
        ("pcapng in gzip", gzip(&pcapng(false)), 123),
        ("two sections", [Ng::new(true).bytes, pcapng(false)].concat(), 123),
    ] {
        let result = replay(vec![input(file)], &Config::default());
        assert_eq!(result.errors, [""; 0], "{name}");
        let [span] = &result.spans[..] else {
            panic!("{name}: {:?}", result.totals)
        };
        let times = (span.start.0, span.end.0);
        let second = 1_700_000_000_000_000_000;
        assert_eq!(
            times,
            (second + 11_000_000 + rest, second + 21_000_000 + rest),
            "{name}"
        );
    }
}

/// Rotated captures in any order, and captures of the same time from two devices.
#[test]
fn several_files_are_one_capture() {
    let packets = packets();
    let half = packets.len() / 2;
    let [first, second] = [&packets[..half], &packets[half..]].map(|part| pcap(1, part));
    let odd: Vec<_> = packets.iter().skip(1).step_by(2).cloned().collect();
    let even: Vec<_> = packets.iter().step_by(2).cloned().collect();
    for (name, files) in [
        ("in order", vec![first.clone(), second.clone()]),
        ("the other way round", vec![second, first]),
        ("side by side", vec![pcap(1, &odd), pcap(1, &even)]),
        ("one is empty", vec![pcap(1, &[]), pcap(1, &packets)]),
        ("the same twice", vec![pcap(1, &packets), pcap(1, &packets)]),
    ] {
        let result = replay(files.into_iter().map(input).collect(), &Config::default());
        assert_eq!(result.spans.len(), 1, "{name}: {:?}", result.totals);
        assert_eq!((result.totals.losses, result.errors.len()), (0, 0), "{name}");
    }
}

/// Wherever a file is cut, what is before that place is read, and one line says the rest.
#[test]
fn a_cut_file_gives_what_it_holds() {
    for (name, file) in [
        ("pcap", pcap(1, &packets())),
        ("pcapng", pcapng(false)),
        ("gzip", gzip(&pcap(1, &packets()))),
    ] {
        let whole = replay(vec![input(file.clone())], &Config::default())
            .totals
            .packets;
        let mut most = 0;
        for at in 0..file.len() {
            let cut = vec![input(file[..at].to_vec())];
            let Ok(_) = Replay::new(cut) else { continue };
            let result = replay(vec![input(file[..at].to_vec())], &Config::default());
            assert!(
                result.errors.len() <= 1 && result.totals.packets <= whole,
                "{name} {at}"
            );
            assert!(
                result.totals.packets >= most,
                "{name} {at}: more bytes, more packets"
            );
            most = result.totals.packets;
            for error in &result.errors {
                assert!(error.starts_with("test: damaged at byte "), "{error}");
            }
        }
        assert!(most + 1 >= whole, "{name}: {most} of {whole}");
    }
    let mut file = pcap(1, &packets());
    file.truncate(24 + 16 + 30);
    let result = replay(vec![input(file), input(pcapng(false))], &Config::default());
    assert_eq!(
        result.errors,
        [
            "test: damaged at byte 24: the file ends within a packet record of 70 bytes, of which it has 46; what comes before it was read"
        ]
    );
    assert_eq!((result.totals.files, result.totals.damaged_files), (2, 1));
    assert_eq!(result.spans.len(), 1, "the other file is read all the same");
}

#[test]
fn something_else_is_an_error() {
    for (file, expected) in [
        (
            b"".to_vec(),
            "test: not a capture file: it starts with nothing (it is empty)",
        ),
        (
            b"#!/bin/sh\necho".to_vec(),
            "test: not a capture file: it starts with \"#!/bin/s\"",
        ),
        (
            gzip(b"some text, longer than a head"),
            "test: not a capture file: it starts with \"some tex\"",
        ),
    ] {
        let error = Replay::new(vec![input(file)]).err().unwrap().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let missing = Replay::new(vec![Input::Path("/nonexistent/a.pcap".into())])
        .err()
        .unwrap();
    assert_eq!(
        missing.to_string(),
        "/nonexistent/a.pcap: cannot be read: No such file or directory (os error 2)"
    );
    assert!(
        std::error::Error::source(&missing).is_none(),
        "told twice in a chain of errors"
    );
}
