//! One captured packet: link layer, IP, TCP. `etherparse` reads the headers, also of packets that the capture cut off.
//!
//! | Link type | Number |
//! |---|---|
//! | BSD loopback, in the byte order of the machine that captured; OpenBSD's, in network order | 0; 108 |
//! | Ethernet, with up to three VLAN tags | 1 |
//! | raw IP; IPv4; IPv6 | 12, 14, 101; 228; 229 |
//! | Linux cooked v1; v2 (`-i any`) | 113; 276 |

use std::net::{IpAddr, SocketAddr};

use etherparse::{
    EtherType, Ipv6ExtensionSlice, LaxIpSlice, LaxNetSlice, LaxSlicedPacket, TcpSlice, TransportSlice,
    ip_number,
};

use crate::fragments::{Fragment, Key};

/// A TCP segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment<'a> {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) sequence: u32,
    /// `None` without the ACK flag.
    pub(crate) acknowledged: Option<u32>,
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    /// Length of the payload on the wire.
    pub(crate) length: u32,
    /// What the capture has of it.
    pub(crate) payload: &'a [u8],
}

/// What a packet is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Packet<'a> {
    Segment(Segment<'a>),
    Fragment(Fragment<'a>),
}

/// Why a packet says nothing about a TCP connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Skip {
    Link,
    NotIp,
    NotTcp,
    Malformed,
}

/// Reads a packet of `length` bytes on the wire, of which `data` are the first.
pub(crate) fn parse(link: i32, data: &[u8], length: u32) -> Result<Packet<'_>, Skip> {
    let sliced = slice(link, data)?;
    let ip: LaxIpSlice<'_> = match &sliced.net {
        Some(LaxNetSlice::Ipv4(ip)) => LaxIpSlice::Ipv4(ip.clone()),
        Some(LaxNetSlice::Ipv6(ip)) => LaxIpSlice::Ipv6(ip.clone()),
        _ if sliced.stop_err.is_some() => return Err(Skip::Malformed),
        _ => return Err(Skip::NotIp),
    };
    let (source, destination) = (
        ip.source_addr().to_canonical(),
        ip.destination_addr().to_canonical(),
    );
    let payload = ip.payload();
    if payload.fragmented {
        return fragment(&ip, source, destination).ok_or(Skip::Malformed);
    }
    if payload.ip_number != ip_number::TCP {
        return Err(Skip::NotTcp);
    }
    let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else {
        return Err(Skip::Malformed);
    };
    // where the segment ends on the wire: behind it there may be padding
    let at = |inner: &[u8]| (inner.as_ptr() as usize).saturating_sub(data.as_ptr() as usize);
    let (start, announced) = match &ip {
        LaxIpSlice::Ipv4(ip) => (at(ip.header().slice()), usize::from(ip.header().total_len())),
        LaxIpSlice::Ipv6(ip) => match ip.header().payload_length() {
            0 => (0, 0),
            n => (at(ip.header().slice()), 40 + usize::from(n)),
        },
    };
    let end = match announced {
        // segmentation offload: the packet was too long for the field, or its length not known yet
        0 => length as usize,
        n => start + n,
    };
    let on_wire = end.saturating_sub(at(tcp.slice()) + tcp.header_slice().len());
    Ok(Packet::Segment(segment(
        source,
        destination,
        tcp,
        u32::try_from(on_wire).unwrap_or(u32::MAX),
    )))
}

/// The segment in a datagram that was put together again.
pub(crate) fn of_datagram<'a>(key: &Key, payload: &'a [u8]) -> Result<Segment<'a>, Skip> {
    if key.protocol != ip_number::TCP {
        return Err(Skip::NotTcp);
    }
    let tcp = TcpSlice::from_slice(payload).map_err(|_| Skip::Malformed)?;
    let length = u32::try_from(tcp.payload().len()).unwrap_or(u32::MAX);
    Ok(segment(key.source, key.destination, &tcp, length))
}

fn slice(link: i32, data: &[u8]) -> Result<LaxSlicedPacket<'_>, Skip> {
    const IPV4: u16 = 0x0800;
    const IPV6: u16 = 0x86dd;
    let ether_type = |at: usize, header: usize| {
        let kind = data
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .ok_or(Skip::Malformed)?;
        let rest = data.get(header..).ok_or(Skip::Malformed)?;
        Ok(LaxSlicedPacket::from_ether_type(
            EtherType(u16::from_be_bytes(*kind)),
            rest,
        ))
    };
    match link {
        0 | 108 => {
            let (family, rest) = data.split_first_chunk::<4>().ok_or(Skip::Malformed)?;
            let family = match (u32::from_be_bytes(*family), u32::from_le_bytes(*family)) {
                (family, _) if family < 0x1_0000 => family,
                (_, family) => family,
            };
            let kind = match family {
                2 => IPV4,
                // Linux, FreeBSD, macOS, Windows and OpenBSD each have their own
                10 | 23 | 24 | 28 | 30 => IPV6,
                _ => return Err(Skip::NotIp),
            };
            Ok(LaxSlicedPacket::from_ether_type(EtherType(kind), rest))
        }
        1 => LaxSlicedPacket::from_ethernet(data).map_err(|_| Skip::Malformed),
        12 | 14 | 101 | 228 | 229 => LaxSlicedPacket::from_ip(data).map_err(|_| Skip::Malformed),
        // packet type, address type, address; protocol
        113 => ether_type(14, 16),
        // protocol first
        276 => ether_type(0, 20),
        _ => Err(Skip::Link),
    }
}

fn fragment<'a>(ip: &LaxIpSlice<'a>, source: IpAddr, destination: IpAddr) -> Option<Packet<'a>> {
    let payload = ip.payload();
    // cut off by the capture: what is missing must not be taken for the next fragment's
    if payload.incomplete {
        return None;
    }
    let (identification, offset, more) = match ip {
        LaxIpSlice::Ipv4(ip) => {
            let header = ip.header();
            (
                u32::from(header.identification()),
                header.fragments_offset(),
                header.more_fragments(),
            )
        }
        LaxIpSlice::Ipv6(ip) => {
            ip.extensions()
                .clone()
                .into_iter()
                .find_map(|extension| match extension {
                    Ipv6ExtensionSlice::Fragment(f) => {
                        Some((f.identification(), f.fragment_offset(), f.more_fragments()))
                    }
                    _ => None,
                })?
        }
    };
    let key = Key {
        source,
        destination,
        identification,
        protocol: payload.ip_number,
    };
    Some(Packet::Fragment(Fragment {
        key,
        offset,
        more,
        payload: payload.payload,
    }))
}

fn segment<'a>(source: IpAddr, destination: IpAddr, tcp: &TcpSlice<'a>, length: u32) -> Segment<'a> {
    let payload = tcp.payload();
    Segment {
        source: SocketAddr::new(source, tcp.source_port()),
        destination: SocketAddr::new(destination, tcp.destination_port()),
        sequence: tcp.sequence_number(),
        acknowledged: tcp.ack().then(|| tcp.acknowledgment_number()),
        syn: tcp.syn(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        length,
        payload: payload.get(..length as usize).unwrap_or(payload),
    }
}
