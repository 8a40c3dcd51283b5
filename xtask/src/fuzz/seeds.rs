//! Inputs that the targets start from: frames of real clients, taken apart for each target.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    fs::{self, File},
    hash::{Hash, Hasher},
    io::{Cursor, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use flate2::read::MultiGzDecoder;
use testbed::Artifacts;
use tracer_abi::Direction;
use tracer_core::record::{ConnectionId, Record};
use tracer_pcap::{Event, Input, Replay};

/// Bytes of a frame before its header.
const ENVELOPE: usize = 8;
/// First byte of an operation in a script of target `engine` (`tests/fuzz/src/lib.rs`): a connection opens.
const OPEN: u8 = 4;
/// Bytes that are sent; with bit 3, received.
const DATA: u8 = 0;
const RECEIVED: u8 = 8;
/// As many bytes, not copied.
const ELIDED: u8 = 1;
/// A connection closes.
const CLOSE: u8 = 5;
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
    for path in files(&artifacts.root.join("tests/captures"), "gz")? {
        let name = || path.display().to_string();
        let mut bytes = Vec::new();
        MultiGzDecoder::new(File::open(&path).with_context(name)?)
            .read_to_end(&mut bytes)
            .with_context(name)?;
        corpus.add("pcap", &bytes)?;
        corpus.capture(bytes).with_context(name)?;
    }
    Ok(())
}

struct Corpus(PathBuf);

impl Corpus {
    /// What a recorded run holds, as a script of the engine's and stream by stream.
    fn capture(&self, bytes: Vec<u8>) -> Result<()> {
        let input = Input::Open("capture".to_owned(), Box::new(Cursor::new(bytes)));
        let mut replay = Replay::new(vec![input])?;
        let mut connections = Vec::new();
        let mut streams: BTreeMap<_, Vec<u8>> = BTreeMap::new();
        let mut script = Vec::new();
        let mut record = |record: Record<'_>| {
            let mut number = |connection: ConnectionId| {
                let known = connections.iter().position(|one| *one == connection);
                let number = known.unwrap_or_else(|| {
                    connections.push(connection);
                    connections.len() - 1
                });
                (number as u8 & 3) << 4
            };
            match record {
                Record::Open(open) => operation(&mut script, OPEN | number(open.connection), &[]),
                Record::Close(close) => operation(&mut script, CLOSE | number(close.connection), &[]),
                Record::Data(data) => {
                    let way = if data.direction == Direction::RECV {
                        RECEIVED
                    } else {
                        0
                    };
                    let connection = number(data.connection);
                    operation(&mut script, DATA | way | connection, data.bytes);
                    let elided = data.length as usize - data.bytes.len();
                    range(&mut script, ELIDED | way | connection, elided);
                    let stream = streams.entry((data.connection, data.direction.0)).or_default();
                    stream.extend(data.bytes);
                    stream.extend(vec![b'.'; elided]);
                }
                Record::Process(_) => {}
            }
        };
        while replay.step(|event| {
            if let Event::Record(one) = event {
                record(one);
            }
        })? {}
        self.add("engine", &script)?;
        streams.values().try_for_each(|stream| self.frames(stream))
    }

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

/// Appends an operation; bytes beyond its length field make further ones.
fn operation(script: &mut Vec<u8>, what: u8, bytes: &[u8]) {
    let (first, rest) = bytes.split_at(bytes.len().min(u16::MAX.into()));
    script.extend([what, PAUSE]);
    script.extend((first.len() as u16).to_be_bytes());
    script.extend(first);
    if !rest.is_empty() {
        operation(script, what, rest);
    }
}

/// Appends a range without its bytes.
fn range(script: &mut Vec<u8>, what: u8, mut length: usize) {
    while length > 0 {
        let part = length.min(u16::MAX.into());
        script.extend([what, 0]);
        script.extend((part as u16).to_be_bytes());
        length -= part;
    }
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
