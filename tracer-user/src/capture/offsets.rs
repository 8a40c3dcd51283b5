//! Which kernel structure members and enumerators the kernel side needs, and what the running kernel has for them.

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

/// Name of a global of the eBPF object, enumeration, enumerator.
const ENUMERATORS: &[(&str, &str, &str)] = &[("SOCK_DONE", "sock_flags", "SOCK_DONE")];

/// The structures and enumerations that have them.
pub(crate) fn types() -> impl Iterator<Item = &'static str> {
    MEMBERS.iter().chain(ENUMERATORS).map(|&(_, of, _)| of)
}

/// The value of each global.
pub(crate) fn resolve(btf: &Btf<'_>) -> Result<Vec<(&'static str, u32)>, BtfError> {
    let members = MEMBERS
        .iter()
        .map(|&(global, structure, path)| Ok((global, btf.offset(structure, path)?)));
    let enumerators = ENUMERATORS
        .iter()
        .map(|&(global, of, name)| Ok((global, btf.enumerator(of, name)?)));
    members.chain(enumerators).collect()
}
