//! Child processes that cannot outlive their parent.
//!
//! Each child leads a process group of its own, so that Ctrl-C in the terminal reaches only the parent, which then stops its
//! children in order. If the parent dies without doing so, the kernel kills them (`PR_SET_PDEATHSIG`).

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{self, ChildStdin, ChildStdout, Command, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::wait;

/// The parent-death signal is tied to the *thread* that started the child, not to the process. So one thread, which never
/// ends, starts them all.
fn spawn(mut command: Command) -> std::io::Result<process::Child> {
    type Job = Box<dyn FnOnce() + Send>;
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::spawn(move || queue.into_iter().for_each(|job| job()));
        jobs
    });
    let parent = process::id();
    // SAFETY: between fork and exec only prctl, getppid and _exit are called; all are async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            // The parent may have died before the line above.
            if u32::try_from(libc::getppid()) != Ok(parent) {
                libc::_exit(1);
            }
            Ok(())
        });
    }
    let (answer, result) = mpsc::channel();
    let gone = |_| std::io::Error::other("the spawner thread is gone");
    spawner
        .send(Box::new(move || {
            let _ = answer.send(command.process_group(0).spawn());
        }))
        .map_err(|_| gone(()))?;
    result.recv().map_err(|_| gone(()))?
}

/// A running child; dropping it stops it.
#[derive(Debug)]
pub struct Child {
    name: String,
    child: process::Child,
    log: PathBuf,
    grace: Duration,
}

impl Child {
    /// Starts `command` with standard output and error going to the file `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Child> {
        let file = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        Child::launch(name, command, log)
    }

    /// Starts `command` with pipes for standard input and output; standard error goes to the file `log`.
    pub fn start_piped(
        name: &str,
        mut command: Command,
        log: &Path,
    ) -> Result<(Child, ChildStdin, ChildStdout)> {
        let file = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut child = Child::launch(name, command, log)?;
        let (input, output) = (child.child.stdin.take(), child.child.stdout.take());
        Ok((
            child,
            input.context("no standard input")?,
            output.context("no standard output")?,
        ))
    }

    fn launch(name: &str, command: Command, log: &Path) -> Result<Child> {
        let program = command.get_program().to_owned();
        let child = spawn(command).with_context(|| format!("starting {name} ({})", program.display()))?;
        Ok(Child {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            grace: Duration::from_secs(5),
        })
    }

    /// How long [`stop`](Self::stop) waits between SIGTERM and SIGKILL; 5 s unless set.
    pub fn with_grace(mut self, grace: Duration) -> Child {
        self.grace = grace;
        self
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has written to its log so far.
    pub fn log(&self) -> Result<String> {
        read_lossy(&self.log, 0)
    }

    /// Waits for `text` in the log; fails at once when the process ends before.
    pub fn wait_for_log(&mut self, text: &str, limit: Duration) -> Result<()> {
        let what = format!("{} says {text:?}", self.name);
        wait::until(limit, &what, || {
            let log = self.log()?;
            if log.contains(text) {
                return Ok(Ok(()));
            }
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended ({status}) before it said {text:?}:\n{}",
                    self.name,
                    tail(&log)
                );
            }
            Ok(Err(format!("its log ends with:\n{}", tail(&log))))
        })
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: i32) -> Result<()> {
        let pid = i32::try_from(self.pid())?;
        // SAFETY: kill has no memory effects; the child is not reaped yet, so the pid is still its own.
        if unsafe { libc::kill(pid, signal) } != 0 {
            return Err(std::io::Error::last_os_error())
                .with_context(|| format!("signal {signal} to {}", self.name));
        }
        Ok(())
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<process::ExitStatus> {
        let what = format!("{} ends", self.name);
        wait::until(limit, &what, || {
            Ok(self.child.try_wait()?.ok_or_else(|| "still running".to_owned()))
        })
    }

    /// SIGTERM, and SIGKILL after the grace time.
    pub fn stop(&mut self) -> Result<process::ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal(libc::SIGTERM)?;
        let deadline = Instant::now() + self.grace;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.child.kill()?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // A stopped process (SIGSTOP) would not see SIGTERM.
        let _ = self.signal(libc::SIGCONT);
        let _ = self.stop();
    }
}

/// The text of a file from `offset` on.
pub(crate) fn read_lossy(path: &Path, offset: u64) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last lines of a log, for error messages.
pub fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
