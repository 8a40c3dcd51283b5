//! What a replay counts.

/// Running totals; they only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Files opened.
    pub files: u64,
    /// Packets read.
    pub packets: u64,
    /// Packets of the kind that a recording holds for its records.
    pub recorded_packets: u64,
    /// Packets of a link type that is not known.
    pub skipped_link: u64,
    /// Packets that are not IP.
    pub skipped_not_ip: u64,
    /// IP packets that are not TCP.
    pub skipped_not_tcp: u64,
    /// Packets whose headers are cut off or make no sense.
    pub skipped_malformed: u64,
    /// Blocks of interfaces that the file does not describe.
    pub skipped_no_interface: u64,
    /// Fragments of IP packets.
    pub fragments: u64,
    /// Fragments of packets that were never complete.
    pub fragments_lost: u64,
    /// TCP connections seen, of any protocol.
    pub tcp_connections: u64,
    /// Of those, connections that carry RocketMQ remoting.
    pub recognised: u64,
    /// Connections forgotten because there were too many.
    pub evicted_connections: u64,
    /// Packets of connections that had ended.
    pub late_packets: u64,
    /// Packets whose number is far from everything that their connection sends.
    pub stray_packets: u64,
    /// Bytes of recognised connections that the capture cut off (snap length).
    pub cut_bytes: u64,
    /// Bytes of recognised connections that came again.
    pub repeated_bytes: u64,
    /// Bytes of recognised connections that the capture does not hold.
    pub lost_bytes: u64,
    /// Ranges of them.
    pub losses: u64,
    /// Files that are damaged or cut; what came before was read.
    pub damaged_files: u64,
}

impl Totals {
    /// Packets that say nothing about a TCP connection, fragments excepted.
    pub fn skipped(&self) -> u64 {
        self.skipped_link
            + self.skipped_not_ip
            + self.skipped_not_tcp
            + self.skipped_malformed
            + self.skipped_no_interface
    }
}
