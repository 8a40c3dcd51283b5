//! Interpreters other than Java's: which script or module do they run?
//!
//! ```text
//! python3 [options] script.py | -m module | -c code
//! node [options] script.js
//! ruby, perl, php, bash … [options] script
//! ```

/// A language whose programs run in an interpreter or carry its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Interpreter {
    /// Beginning of the executable's file name; digits and dots may follow.
    executable: &'static str,
    /// Options whose value is the next argument.
    with_argument: &'static [&'static str],
    /// Options behind which code stands instead of a script: no name to be had.
    code: &'static [&'static str],
}

const INTERPRETERS: [Interpreter; 7] = [
    Interpreter {
        executable: "python",
        with_argument: &["-W", "-X", "--check-hash-based-pycs"],
        code: &["-c"],
    },
    Interpreter {
        executable: "pypy",
        with_argument: &["-W", "-X"],
        code: &["-c"],
    },
    Interpreter {
        executable: "node",
        with_argument: &[
            "-r",
            "--require",
            "--import",
            "--loader",
            "--experimental-loader",
            "-C",
            "--conditions",
            "--env-file",
        ],
        code: &["-e", "--eval", "-p", "--print"],
    },
    Interpreter {
        executable: "nodejs",
        with_argument: &["-r", "--require", "--import"],
        code: &["-e", "--eval", "-p", "--print"],
    },
    Interpreter {
        executable: "ruby",
        with_argument: &["-I", "-r", "-C", "-E"],
        code: &["-e"],
    },
    Interpreter {
        executable: "php",
        with_argument: &["-c", "-d", "-z"],
        code: &["-r"],
    },
    Interpreter {
        executable: "perl",
        with_argument: &["-I", "-M"],
        code: &["-e", "-E"],
    },
];

/// Names of files that many programs share; their directory says more.
const GENERIC: [&str; 6] = ["index", "main", "__main__", "app", "server", "manage"];

/// The script or module that an interpreter runs, named as a service. `executable` is its file name.
pub(crate) fn program(executable: &str, args: &[String]) -> Option<String> {
    let base = executable.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let interpreter = INTERPRETERS.iter().find(|i| i.executable == base)?;
    let mut args = args.iter().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--" => return args.next().and_then(|script| script_name(script)),
            "-m" if base.starts_with("py") => return args.next().cloned().filter(|m| !m.is_empty()),
            option if interpreter.code.contains(&option) => return None,
            option if interpreter.with_argument.contains(&option) => {
                args.next();
            }
            option if option.starts_with('-') => {}
            script => return script_name(script),
        }
    }
    None
}

/// `shop/app.py` by its directory where the file's own name says little, else by the file.
fn script_name(path: &str) -> Option<String> {
    let mut parts = path.rsplit('/').filter(|p| !p.is_empty() && *p != ".");
    let file = parts.next()?;
    let stem = match file.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => file,
    };
    let directory = parts.find(|d| !matches!(*d, "src" | "dist" | "build" | "bin" | "lib" | ".."));
    match directory {
        Some(directory) if GENERIC.contains(&stem) => Some(directory.to_owned()),
        _ => Some(stem.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Executable, command line, name.
    #[test]
    fn command_lines() {
        for (line, expected) in [
            ("python3 app.py", Some("app")),
            (
                "python3.11 -u -X dev /srv/shop/worker.py --port 1",
                Some("worker"),
            ),
            ("python3 /srv/shop/app.py", Some("shop")),
            ("python -m shop.worker -v", Some("shop.worker")),
            ("python3 -c print(1)", None),
            ("python3", None),
            ("node x.js", Some("x")),
            ("node --require ./otel.js /app/shop/dist/index.js", Some("shop")),
            ("node --max-old-space-size=512 server.js", Some("server")),
            ("node -e 1", None),
            ("ruby -I lib bin/worker.rb", Some("worker")),
            ("php -d x=y consume.php", Some("consume")),
            ("perl -- job.pl", Some("job")),
            ("shop --config x.py", None),
        ] {
            let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(program(&args[0], &args).as_deref(), expected, "{line}");
        }
    }
}
