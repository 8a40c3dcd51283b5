//! Inputs that the targets start from: frames of real clients, taken apart for each target.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use testbed::Artifacts;

/// Bytes of a frame before its header.
const ENVELOPE: usize = 8;
/// First byte of an operation in a script of target `engine` (`tests/fuzz/src/lib.rs`): a connection opens.
const OPEN: u8 = 4;
/// Bytes that are sent; with bit 3, received.
const DATA: u8 = 0;
const RECEIVED: u8 = 8;
/// Milliseconds between two operations.
const PAUSE: u8 = 1;

/// Fills the corpora under `corpus` from the protocol's golden frames, in hex, and from recorded captures.
pub(super) fn write(artifacts: &Artifacts, corpus: &Path) -> Result<()> {
    let corpus = Corpus(corpus.to_path_buf());
    for path in files(&artifacts.root.join("tracer-user/core/tests/vectors"), "hex")? {
        let text = fs::read_to_string(&path)?;
        let bytes = unhex(&text).with_context(|| format!("{}: no hex", path.display()))?;
        corpus.frames(&bytes)?;
    }
    let captures = artifacts.root.join("tests/captures");
    for path in files(&captures, "pcapng")? {
        corpus.add("pcap", &fs::read(&path)?)?;
    }
    Ok(())
}

struct Corpus(PathBuf);

impl Corpus {
    /// A stream of frames, or bytes that are none.
    fn frames(&self, bytes: &[u8]) -> Result<()> {
        self.add("frame", bytes)?;
        self.add("bodies", bytes)?;
        self.add("messages", bytes)?;
        self.add("stream", &[&[3, 0xf5, 0x81, 0x18], bytes].concat())?;
        let mut script = Vec::new();
        operation(&mut script, OPEN, &[]);
        let mut rest = bytes;
        while let Some((frame, behind)) = split_frame(rest) {
            rest = behind;
            let header_length = usize::from(u16::from_be_bytes([frame[6], frame[7]]));
            let (header, body) = frame[ENVELOPE..].split_at(header_length.min(frame.len() - ENVELOPE));
            self.add("header", header)?;
            self.add("messages", body)?;
            self.add("bodies", body)?;
            self.add("context", header)?;
            let received = if header.windows(8).any(|text| text == b"\"flag\":1") {
                RECEIVED
            } else {
                0
            };
            operation(&mut script, DATA | received, frame);
        }
        self.add("engine", &script)
    }

    fn add(&self, target: &str, bytes: &[u8]) -> Result<()> {
        let dir = self.0.join(target);
        fs::create_dir_all(&dir)?;
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let path = dir.join(format!("seed-{:016x}", hasher.finish()));
        fs::write(&path, bytes).with_context(|| path.display().to_string())
    }
}

/// Appends an operation; a frame longer than its length field is cut.
fn operation(script: &mut Vec<u8>, what: u8, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    script.extend([what, PAUSE]);
    script.extend(length.to_be_bytes());
    script.extend(&bytes[..length.into()]);
}

fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize + 4;
    bytes
        .split_at_checked(length)
        .filter(|(frame, _)| frame.len() > ENVELOPE)
}

fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path, extension)?);
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()?;
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| (pair[0] << 4 | pair[1]) as u8)
            .collect(),
    )
}
