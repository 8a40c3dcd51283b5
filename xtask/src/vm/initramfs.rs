//! The initial file system of a virtual machine: an archive in the "newc" form of cpio, which the kernel unpacks
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

/// An archive that is being put together.
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const DEVICE: u32 = 0o020_600;

impl Archive {
    /// With the directories and the console device that a first process needs.
    pub(super) fn new() -> Archive {
        let mut archive = Archive {
            bytes: Vec::new(),
            entries: 0,
        };
        archive.directory("dev");
        archive.entry("dev/console", DEVICE, (5, 1), &[]);
        archive
    }

    /// A directory; before what is in it.
    pub(super) fn directory(&mut self, name: &str) {
        self.entry(name, DIRECTORY, (0, 0), &[]);
    }

    /// A file, executable.
    pub(super) fn file(&mut self, name: &str, bytes: &[u8]) {
        self.entry(name, PROGRAM, (0, 0), bytes);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, (major, minor): (u32, u32), content: &[u8]) {
        self.entries += 1;
        let (size, name_size) = (content.len() as u32, name.len() as u32 + 1);
        // inode, mode, owner, group, links, time, size, device (2), special device (2), length of the name, checksum
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            major,
            minor,
            name_size,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    /// Names and contents end at multiples of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn entries_are_aligned_and_the_last_is_the_trailer() {
        let mut archive = Archive::new();
        archive.file("a", b"12345");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let headers = bytes.windows(6).enumerate().filter(|(_, w)| *w == b"070701");
        let places: Vec<usize> = headers.map(|(at, _)| at).collect();
        assert_eq!(places.len(), 4);
        assert!(places.iter().all(|at| at % 4 == 0));
        assert!(bytes.ends_with(b"TRAILER!!!\0\0\0\0"));
    }
}
