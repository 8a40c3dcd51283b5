//! Several files as one: what they hold by time, as if one program had captured it.
//!
//! Files are put in order by their first packet, and a file is open only while its packets are due: rotated captures
//! are read one after another, captures of the same time side by side. Within a file the order of the file holds.

use std::{collections::VecDeque, io::Read, path::PathBuf};

use crate::{
    error::FileError,
    file::{File, Item, Kind},
};

/// A file to read.
pub enum Input {
    /// A file by its path.
    Path(PathBuf),
    /// Something that is open, and its name for messages.
    Open(String, Box<dyn Read>),
}

/// What is not read yet.
pub(crate) struct Timeline {
    /// Files whose time has not come, by the time of their first packet.
    waiting: VecDeque<Waiting>,
    /// Files that are being read, each with its next item.
    open: Vec<(File, Item)>,
    /// Files that were opened to be read.
    pub(crate) opened: u64,
}

struct Waiting {
    first: u64,
    what: Opened,
}

enum Opened {
    /// It will be opened again.
    Path(PathBuf),
    /// It cannot be.
    Reading(Box<(File, Item)>),
    /// There was nothing in it.
    Empty,
    /// There was nothing in it that could be read.
    Damaged(FileError),
}

impl Timeline {
    /// Looks at the first packet of each file.
    ///
    /// # Errors
    /// The first file that cannot be opened or is no capture file. Damage comes only when its place is reached.
    pub(crate) fn new(inputs: Vec<Input>) -> Result<Timeline, FileError> {
        let mut waiting = Vec::new();
        for input in inputs {
            waiting.push(match input {
                Input::Path(path) => {
                    let mut item = Item::default();
                    let mut file = open(&path)?;
                    // an error will come again when the file is read
                    let first = first_packet(&mut file, &mut item);
                    Waiting {
                        first,
                        what: Opened::Path(path),
                    }
                }
                Input::Open(name, input) => {
                    let mut file = File::new(&name, input)?;
                    let mut item = Item::default();
                    match file.next(&mut item) {
                        Ok(true) => Waiting {
                            first: if item.kind == Kind::Note { 0 } else { item.time },
                            what: Opened::Reading(Box::new((file, item))),
                        },
                        Ok(false) => Waiting {
                            first: u64::MAX,
                            what: Opened::Empty,
                        },
                        Err(error) => Waiting {
                            first: u64::MAX,
                            what: Opened::Damaged(error),
                        },
                    }
                }
            });
        }
        // stable: files that start at the same time stay in the order given
        waiting.sort_by_key(|file| file.first);
        Ok(Timeline {
            waiting: waiting.into(),
            open: Vec::new(),
            opened: 0,
        })
    }

    /// Gives the next item to `each`. `false`: there is none.
    ///
    /// # Errors
    /// A file that cannot be read on from; the others can, with the next call.
    pub(crate) fn next(&mut self, each: impl FnOnce(&Item)) -> Result<bool, FileError> {
        loop {
            let due = self
                .open
                .iter()
                .enumerate()
                .min_by_key(|(_, (_, item))| item.time);
            let due = due.map(|(index, (_, item))| (index, item.time));
            let opens = match (self.waiting.front(), due) {
                (Some(waiting), Some((_, time))) => waiting.first <= time,
                (waiting, _) => waiting.is_some(),
            };
            if opens {
                let Some(waiting) = self.waiting.pop_front() else {
                    continue;
                };
                self.opened += 1;
                match waiting.what {
                    Opened::Reading(file) => self.open.push(*file),
                    Opened::Empty => {}
                    Opened::Damaged(error) => return Err(error),
                    Opened::Path(path) => {
                        let mut file = open(&path)?;
                        let mut item = Item::default();
                        if file.next(&mut item)? {
                            self.open.push((file, item));
                        }
                    }
                }
                continue;
            }
            let Some((index, _)) = due else { return Ok(false) };
            let Some((file, item)) = self.open.get_mut(index) else {
                return Ok(false);
            };
            each(item);
            match file.next(item) {
                Ok(true) => {}
                Ok(false) => drop(self.open.remove(index)),
                Err(error) => {
                    self.open.remove(index);
                    return Err(error);
                }
            }
            return Ok(true);
        }
    }
}

fn open(path: &PathBuf) -> Result<File, FileError> {
    let name = path.display().to_string();
    match std::fs::File::open(path) {
        Ok(file) => File::new(&name, file),
        Err(cause) => Err(FileError::Read { name, cause }),
    }
}

/// Time of the first packet; a file without any is read last.
fn first_packet(file: &mut File, item: &mut Item) -> u64 {
    while let Ok(true) = file.next(item) {
        if item.kind != Kind::Note {
            return item.time;
        }
    }
    u64::MAX
}
