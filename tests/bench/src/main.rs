//! Runs a hot path so often, to be counted: `hot-paths NAME TIMES MOST`. What is prepared depends on `MOST` alone, so two
//! runs differ by the instructions of the times between them. Without arguments it names the paths. `hot-paths frames
//! DIRECTORY` writes the frames that the benches decode, for decoders in other languages; `hot-paths capture FILE MESSAGES`
//! writes traffic as a recording, for `rmqtrace replay`.

use std::{
    env,
    fs::{self, File},
    io::{self, BufWriter},
    path::Path,
    process::ExitCode,
};

use bench::{
    frames,
    hot::PATHS,
    traffic::{Shape, Traffic},
};
use tracer_core::{model::Timestamp, record::Record};
use tracer_pcap::{Host, Recorder};

/// As the tracer is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => PATHS.iter().for_each(|(name, _)| println!("{name}")),
        ["frames", directory] => {
            let all = [
                ("send-json", frames::json_send()),
                ("send-binary", frames::binary_send()),
                ("pull-1", frames::pull_answer(1)),
                ("pull-32", frames::pull_answer(32)),
            ];
            for (name, frame) in all {
                if let Err(error) = fs::write(Path::new(directory).join(name), frame) {
                    eprintln!("{directory}/{name}: {error}");
                    return ExitCode::FAILURE;
                }
            }
        }
        ["capture", file, messages] => {
            let written = messages
                .parse()
                .map_err(io::Error::other)
                .and_then(|messages| capture(Path::new(file), messages));
            if let Err(error) = written {
                eprintln!("{file}: {error}");
                return ExitCode::FAILURE;
            }
        }
        [name, times, most] => {
            let path = PATHS.iter().find(|(path, _)| *path == name);
            let (Some((_, prepare)), Ok(times), Ok(most)) = (path, times.parse(), most.parse()) else {
                eprintln!("no such path, or no numbers: {name} {times} {most}");
                return ExitCode::FAILURE;
            };
            prepare(most)(times);
        }
        _ => {
            eprintln!("hot-paths [NAME TIMES MOST | frames DIRECTORY | capture FILE MESSAGES]");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Writes sends and then deliveries of so many messages.
fn capture(file: &Path, messages: usize) -> io::Result<()> {
    let out = BufWriter::new(File::create(file)?);
    let mut recorder = Recorder::new(out, Host("bench"), "bench", 1_758_272_400_000_000_000)?;
    let mut last = Timestamp(0);
    for bytes in Traffic::both(Shape::SMALL, messages).records() {
        let record = Record::parse(bytes).map_err(io::Error::other)?;
        if let Record::Data(data) = &record {
            last = last.max(data.end);
        }
        recorder.record(&record)?;
    }
    recorder.end(last)
}
