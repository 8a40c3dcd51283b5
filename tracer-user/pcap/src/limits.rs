//! Every bound of reading in one place.

use std::time::Duration;

/// Most bytes of one packet. Capture programs keep at most 256 KiB of one.
pub const PACKET: usize = 1 << 20;
/// Most bytes of one block of a pcapng file; name tables and secrets may be long.
pub const BLOCK: usize = 32 << 20;
/// Most interfaces of one section.
pub const INTERFACES: usize = 4096;
/// Connections that are remembered, foreign and closed ones too. The one that was quiet longest goes first.
pub const CONNECTIONS: usize = 64 * 1024;
/// Most captured bytes of one direction that wait for earlier ones.
pub const HELD_BYTES: usize = 2 << 20;
/// Most ranges of one direction that wait for earlier ones.
pub const HELD_RANGES: usize = 4096;
/// Most bytes that wait over all connections, those of connections that are not recognised yet included.
pub const ALL_HELD_BYTES: usize = 128 << 20;
/// How long bytes wait for earlier ones that the other end has acknowledged: packets may be captured in another order
/// than they went by.
pub const REORDERING: Duration = Duration::from_millis(50);
/// How long bytes wait for earlier ones where no acknowledgement tells that those went past unseen. A lost packet
/// is sent again within a second, a second time within three.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How far before the packet before a packet's time may be without its clock having been set: packets that several
/// processors took down stand in a file by less than that out of order.
pub const CLOCK_STEP: Duration = Duration::from_millis(100);
/// How far from what is known of a stream a packet of it may be: more than any receiver's window.
pub const WINDOW: u32 = 128 << 20;
/// Packets in a row, far from what is known and close to one another, which show that the stream is there now: the capture
/// has a hole larger than [`WINDOW`]. Those that a connection before left over are fewer, also on several devices.
pub const STRAYS: u32 = 8;
/// Captured bytes of one direction after which a connection without a frame is foreign.
pub const PROBE_BYTES: usize = 256 * 1024;
/// Datagrams that wait for their fragments.
pub const DATAGRAMS: usize = 1024;
/// Most fragments of one datagram: 64 KiB in those of the least transmission unit, captured on four devices.
pub const FRAGMENTS: usize = 512;
/// How long a datagram waits for its fragments, as it does at its destination. Its identification is used again.
pub const REASSEMBLY: Duration = Duration::from_secs(30);
/// Holes of one direction, declared lost, that bytes may still fill.
pub const LATE_HOLES: usize = 16;
/// Addresses of clients that are told apart.
pub const CLIENTS: usize = 64 * 1024;
