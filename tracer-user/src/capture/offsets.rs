//! Which kernel structure members the kernel side needs, and where the running kernel has them.

use super::btf::{Btf, BtfError};

/// Name of a global of the eBPF object, structure, member.
const MEMBERS: &[(&str, &str, &str)] = &[
    ("SKC_FAMILY", "sock", "__sk_common.skc_family"),
    ("SKC_RCV_SADDR", "sock", "__sk_common.skc_rcv_saddr"),
    ("SKC_DADDR", "sock", "__sk_common.skc_daddr"),
    ("SKC_V6_RCV_SADDR", "sock", "__sk_common.skc_v6_rcv_saddr"),
    ("SKC_V6_DADDR", "sock", "__sk_common.skc_v6_daddr"),
    ("SKC_NUM", "sock", "__sk_common.skc_num"),
    ("SKC_DPORT", "sock", "__sk_common.skc_dport"),
    ("SKC_NET", "sock", "__sk_common.skc_net"),
    ("NET_INUM", "net", "ns.inum"),
    ("SK_PROTOCOL", "sock", "sk_protocol"),
    ("SKC_FLAGS", "sock", "__sk_common.skc_flags"),
    ("WRITE_SEQ", "tcp_sock", "write_seq"),
    ("COPIED_SEQ", "tcp_sock", "copied_seq"),
    ("RCV_NXT", "tcp_sock", "rcv_nxt"),
    ("BYTES_SENT", "tcp_sock", "bytes_sent"),
    ("TASK_SIGNAL", "task_struct", "signal"),
    ("SIGNAL_LIVE", "signal_struct", "live.counter"),
];

/// The structures that have them.
pub(crate) fn structures() -> impl Iterator<Item = &'static str> {
    MEMBERS.iter().map(|&(_, structure, _)| structure)
}

/// The value of each global.
pub(crate) fn resolve(btf: &Btf<'_>) -> Result<Vec<(&'static str, u32)>, BtfError> {
    MEMBERS
        .iter()
        .map(|&(global, structure, path)| Ok((global, btf.offset(structure, path)?)))
        .collect()
}
