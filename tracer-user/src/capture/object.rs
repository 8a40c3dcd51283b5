//! The eBPF object: inside the binary, or a file beside the build.

use std::borrow::Cow;

use super::CaptureError;

/// Aligned as the ELF parser wants it.
#[cfg(feature = "embed")]
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("RMQTRACE_EBPF_OBJECT"));

/// The object's bytes.
#[cfg(feature = "embed")]
pub(super) fn bytes() -> Result<Cow<'static, [u8]>, CaptureError> {
    Ok(Cow::Borrowed(OBJECT))
}

/// The object's bytes: from the file that `RMQTRACE_EBPF_OBJECT` names, else from the build directory.
#[cfg(not(feature = "embed"))]
pub(super) fn bytes() -> Result<Cow<'static, [u8]>, CaptureError> {
    let default = || "target/tracer-ebpf.o".into();
    let path = std::env::var("RMQTRACE_EBPF_OBJECT").unwrap_or_else(|_| default());
    std::fs::read(&path)
        .map(Cow::Owned)
        .map_err(|source| CaptureError::NoObject { path, source })
}
