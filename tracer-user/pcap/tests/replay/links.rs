//! Every link type, and every way in which IP carries a segment.

use std::net::{IpAddr, Ipv6Addr};

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv6FragmentHeader, Ipv6Header};
use tracer_core::Config;

use crate::{
    capture::*,
    support::{K1, Script, properties, send, sent},
};

/// A send and its answer.
fn talk() -> Vec<Segment> {
    let mut script = Script::new();
    let conn = script.connect();
    script
        .at(10)
        .write(conn, send(1, "t", &properties(&format!("UNIQ_KEY={K1}"))));
    script.at(20).read(conn, sent(1, 0));
    segments(&script.events, 300)
}

fn on_ipv6(mut segments: Vec<Segment>) -> Vec<Segment> {
    for segment in &mut segments {
        for address in [&mut segment.source, &mut segment.destination] {
            if let IpAddr::V4(ip) = address.ip() {
                let [a, b, c, d] = ip.octets().map(u16::from);
                address.set_ip(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, a, b, c, d).into());
            }
        }
    }
    segments
}

fn behind(head: &[u8], packet: &[u8]) -> Vec<u8> {
    [head, packet].concat()
}

fn tagged(segment: &Segment, tags: &[[u8; 4]]) -> Vec<u8> {
    let packet = segment.ethernet();
    [&packet[..12], tags.concat().as_slice(), &packet[12..]].concat()
}

/// Link type, what a segment looks like there. Each must give the same span.
#[test]
fn link_types() {
    type Encode = fn(&Segment) -> Vec<u8>;
    let cases: [(&str, u32, Encode); 15] = [
        ("BSD loopback, little-endian", 0, |s| {
            behind(&[2, 0, 0, 0], &s.ip())
        }),
        ("BSD loopback, big-endian", 0, |s| behind(&[0, 0, 0, 2], &s.ip())),
        ("OpenBSD loopback", 108, |s| behind(&[0, 0, 0, 2], &s.ip())),
        ("Ethernet", 1, Segment::ethernet),
        ("Ethernet, padded", 1, |s| {
            let mut packet = s.ethernet();
            packet.resize(packet.len().max(60), 0xee);
            packet
        }),
        ("Ethernet, frame check sequence left on", 1, |s| {
            [s.ethernet(), vec![0xee; 4]].concat()
        }),
        ("VLAN", 1, |s| tagged(s, &[[0x81, 0, 0, 7]])),
        ("QinQ", 1, |s| tagged(s, &[[0x88, 0xa8, 0, 7], [0x81, 0, 0, 8]])),
        ("QinQ with the old number", 1, |s| {
            tagged(s, &[[0x91, 0, 0, 7], [0x81, 0, 0, 8]])
        }),
        ("raw IP", 101, Segment::ip),
        ("raw IP, the older number", 12, Segment::ip),
        ("IPv4", 228, Segment::ip),
        ("Linux cooked v1", 113, |s| {
            behind(&[0, 0, 3, 4, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0], &s.ip())
        }),
        ("Linux cooked v2", 276, |s| {
            behind(
                &[8, 0, 0, 0, 0, 0, 0, 1, 3, 4, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0],
                &s.ip(),
            )
        }),
        ("no length for segmentation offload", 1, |s| {
            let mut packet = s.ethernet();
            packet[16..18].fill(0);
            packet
        }),
    ];
    for (name, link, encode) in cases {
        let packets: Vec<_> = talk().iter().map(|s| Packet::new(s.time, encode(s))).collect();
        check(name, link, &packets);
    }
    let cases: [(&str, u32, Encode); 5] = [
        ("Ethernet and IPv6", 1, Segment::ethernet),
        ("IPv6", 229, Segment::ip),
        ("raw IPv6", 101, Segment::ip),
        ("BSD loopback and IPv6", 0, |s| behind(&[30, 0, 0, 0], &s.ip())),
        ("IPv6 with extension headers", 101, |s| {
            let packet = s.ip();
            let mut header = packet[..40].to_vec();
            // hop by hop (0), destination options (60), then TCP; each 8 bytes with padding
            header[6] = 0;
            let length = u16::from_be_bytes([header[4], header[5]]) + 16;
            header[4..6].copy_from_slice(&length.to_be_bytes());
            let extensions = [60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0];
            [&header, &extensions[..], &packet[40..]].concat()
        }),
    ];
    for (name, link, encode) in cases {
        let packets: Vec<_> = on_ipv6(talk())
            .iter()
            .map(|s| Packet::new(s.time, encode(s)))
            .collect();
        check(name, link, &packets);
    }
}

fn check(name: &str, link: u32, packets: &[Packet]) -> Totals {
    let result = replay(vec![input(pcap(link, packets))], &Config::default());
    let totals = result.totals;
    assert_eq!(result.spans.len(), 1, "{name}: {totals:?}");
    assert_eq!(
        (result.spans[0].start.0, result.spans[0].end.0),
        (11_000_000, 21_000_000),
        "{name}"
    );
    assert_eq!(
        (totals.skipped(), totals.lost_bytes, totals.cut_bytes),
        (0, 0, 0),
        "{name}"
    );
    assert_eq!(result.engine.malformed, 0, "{name}");
    totals
}

use tracer_pcap::Totals;

/// Datagrams in pieces, the last one first.
#[test]
fn fragments() {
    let ipv4 = |s: &Segment| -> Vec<Vec<u8>> {
        let packet = s.ip();
        let (mut header, _) = Ipv4Header::from_slice(&packet).unwrap();
        let payload = &packet[header.header_len()..];
        let pieces = payload.chunks(64).enumerate().map(|(index, chunk)| {
            header.dont_fragment = false;
            header.identification = s.sequence as u16;
            header.more_fragments = (index + 1) * 64 < payload.len();
            header.fragment_offset = IpFragOffset::try_new((index * 8) as u16).unwrap();
            header.set_payload_len(chunk.len()).unwrap();
            [&header.to_bytes()[..], chunk].concat()
        });
        pieces.collect::<Vec<_>>().into_iter().rev().collect()
    };
    let ipv6 = |s: &Segment| -> Vec<Vec<u8>> {
        let packet = s.ip();
        let (mut header, payload) = Ipv6Header::from_slice(&packet).unwrap();
        header.next_header = IpNumber::IPV6_FRAGMENTATION_HEADER;
        let pieces = payload.chunks(64).enumerate().map(|(index, chunk)| {
            let offset = IpFragOffset::try_new((index * 8) as u16).unwrap();
            let more = (index + 1) * 64 < payload.len();
            let fragment = Ipv6FragmentHeader::new(IpNumber::TCP, offset, more, s.sequence);
            header.payload_length = (8 + chunk.len()) as u16;
            [&header.to_bytes()[..], &fragment.to_bytes()[..], chunk].concat()
        });
        pieces.collect::<Vec<_>>().into_iter().rev().collect()
    };
    type Split<'a> = &'a dyn Fn(&Segment) -> Vec<Vec<u8>>;
    let cases: [(&str, Vec<Segment>, Split<'_>); 2] =
        [("IPv4", talk(), &ipv4), ("IPv6", on_ipv6(talk()), &ipv6)];
    for (name, segments, split) in cases {
        let mut packets = Vec::new();
        for segment in &segments {
            packets.extend(
                split(segment)
                    .into_iter()
                    .map(|piece| Packet::new(segment.time, piece)),
            );
        }
        let totals = check(name, 101, &packets);
        assert!(totals.fragments > 5, "{name}: {totals:?}");
        // one piece is missing: that packet's bytes are, and it is said
        let missing = packets
            .iter()
            .position(|packet| packet.time == 11_000_000)
            .unwrap();
        packets.remove(missing);
        let totals = replay(vec![input(pcap(101, &packets))], &Config::default()).totals;
        assert!(
            totals.fragments_lost > 0 && totals.lost_bytes > 0,
            "{name}: {totals:?}"
        );
    }
}

/// IPv4 packets of `segment` in pieces of at most `most` bytes, under an identification.
fn pieces(segment: &Segment, identification: u16, most: usize) -> Vec<Vec<u8>> {
    let packet = segment.ip();
    let (mut header, payload) = Ipv4Header::from_slice(&packet).unwrap();
    (header.identification, header.dont_fragment) = (identification, false);
    let count = payload.len().div_ceil(most);
    let piece = |(index, chunk): (usize, &[u8])| {
        header.fragment_offset = IpFragOffset::try_new((index * most / 8) as u16).unwrap();
        header.more_fragments = index + 1 < count;
        header.set_payload_len(chunk.len()).unwrap();
        header.header_checksum = header.calc_header_checksum();
        [&header.to_bytes()[..], chunk].concat()
    };
    payload.chunks(most).enumerate().map(piece).collect()
}

/// Each fragment on four devices, in small pieces: nothing is lost, and nothing is said to be.
#[test]
fn fragments_captured_several_times() {
    let mut packets = Vec::new();
    for (segment, identification) in talk().iter().zip(0..) {
        for piece in pieces(segment, identification, 8) {
            packets.extend((0..4).map(|_| Packet::new(segment.time, piece.clone())));
        }
    }
    let totals = check("four times", 101, &packets);
    assert!(totals.fragments > 4 * 64, "{totals:?}");
    assert_eq!(totals.fragments_lost, 0, "{totals:?}");
}

/// What a lost fragment leaves behind must not become part of a datagram with the same identification, later.
#[test]
fn fragments_of_another_datagram() {
    const LATER: u64 = 60_000_000_000;
    let talk = talk();
    let (first, rest) = talk.split_at(3);
    let old = Segment {
        payload: vec![b'?'; 500],
        ..first[2].clone()
    };
    let mut packets: Vec<_> = first.iter().map(|s| Packet::new(s.time, s.ip())).collect();
    let left = pieces(&old, 7, 256).swap_remove(0);
    packets.push(Packet::new(old.time, left));
    for (segment, identification) in rest.iter().zip(7..) {
        let pieces = pieces(segment, identification, 256);
        packets.extend(
            pieces
                .into_iter()
                .map(|piece| Packet::new(segment.time + LATER, piece)),
        );
    }
    let result = replay(vec![input(pcap(101, &packets))], &Config::default());
    assert_eq!(result.spans.len(), 1, "{:?}", result.totals);
    assert_eq!(
        (result.totals.fragments_lost, result.totals.skipped_malformed),
        (1, 0)
    );
    assert_eq!(result.engine.malformed, 0);
}

#[test]
fn other_packets_are_counted() {
    let udp = {
        let mut out = Vec::new();
        etherparse::PacketBuilder::ipv4([1, 2, 3, 4], [5, 6, 7, 8], 9)
            .udp(1, 2)
            .write(&mut out, &[1])
            .unwrap();
        out
    };
    let arp = [&[0xff; 12][..], &[8, 6], &[0; 28]].concat();
    for (link, packet, cause) in [
        (101, udp, "not_tcp"),
        (1, arp, "not_ip"),
        (1, vec![1, 2, 3], "malformed"),
        (105, vec![0; 60], "link"),
        (101, talk()[0].ip()[..30].to_vec(), "malformed"),
    ] {
        let totals = replay(
            vec![input(pcap(link, &[Packet::new(1, packet)]))],
            &Config::default(),
        )
        .totals;
        let counts = [
            ("link", totals.skipped_link),
            ("not_ip", totals.skipped_not_ip),
            ("not_tcp", totals.skipped_not_tcp),
            ("malformed", totals.skipped_malformed),
        ];
        let counted: Vec<_> = counts
            .iter()
            .filter(|(_, n)| *n > 0)
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(counted, [cause]);
    }
}
