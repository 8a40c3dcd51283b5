//! The live source: loads the kernel side, attaches it, reads its ring buffer. aya types stay in here.

mod btf;
mod error;
mod info;
mod object;
mod offsets;
mod programs;
mod strategy;

use std::{os::fd::AsFd, time::Duration};

use aya::{
    Btf, Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{HashMap, Map, MapData, PerCpuArray, RingBuf},
};
use tokio::io::{Interest, unix::AsyncFd};
use tracer_abi::{Counter, SLOTS_PER_CPU, filter};

pub(crate) use error::CaptureError;
pub(crate) use info::{is_host_pid_namespace, kernel_release};
pub(crate) use programs::Hooks;
pub(crate) use strategy::Strategy;

use strategy::Choice;

/// How to capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaptureConfig {
    /// The strategy to use; `None`: the best that the kernel allows.
    pub(crate) strategy: Option<Strategy>,
    /// Size of the ring buffer in bytes: a power of two, at least 64 KiB.
    pub(crate) ring_bytes: u32,
    /// Let the kernel side write its rare diagnostics, up to this level, to the log.
    pub(crate) kernel_log: Option<log::Level>,
    /// Copy the broker's end of connections too, not only the clients'.
    pub(crate) broker_side: bool,
    /// Ask the kernel's verifier for all that it has to say where it refuses a program. Takes minutes.
    pub(crate) verifier_log: bool,
    /// Copy message bodies too, and skip them in user space.
    pub(crate) copy_bodies: bool,
}

/// A running capture. Dropping it detaches everything.
pub(crate) struct Capture {
    ebpf: Ebpf,
    hooks: Hooks,
    ring: AsyncFd<RingBuf<MapData>>,
    counters: PerCpuArray<MapData, u64>,
    processes: HashMap<MapData, u32, u32>,
    kernel_log: Option<aya_log::EbpfLogger<&'static dyn log::Log>>,
    /// Turns of [`Capture::wait`] without a record.
    quiet: u32,
    /// The last reading stopped before the ring was empty.
    more: bool,
}

/// Every this often the ring is looked at while records come; the kernel side wakes the reader only when much was
/// written.
const BUSY_POLL: Duration = Duration::from_millis(20);
/// The same while nothing comes.
const IDLE_POLL: Duration = Duration::from_millis(100);
/// Turns without a record after which nothing is said to come.
const QUIET_TURNS: u32 = 50;
/// The reader is woken once for so many bytes that are written to the ring.
const WAKE_BYTES: u64 = 1 << 20;

/// The part of the ring that bytes of streams leave to what tells of connections and processes.
const CONTROL_PART: u64 = 8;

impl Capture {
    /// Loads and attaches the kernel side. `denied` are processes to leave alone from the start; this process is
    /// always one of them.
    pub(crate) fn start(config: &CaptureConfig, denied: &[u32]) -> Result<Capture, CaptureError> {
        let size = config.ring_bytes;
        if !size.is_power_of_two() || !(64 << 10..=1 << 30).contains(&size) {
            return Err(CaptureError::RingBytes(size));
        }
        let (mut ebpf, btf, choice) = load(config)?;
        let mut processes =
            HashMap::try_from(take(&mut ebpf, "PROCESSES")?).map_err(|_| CaptureError::Map("PROCESSES"))?;
        for &tgid in denied.iter().chain([&std::process::id()]) {
            processes
                .insert(tgid, filter::DENY, 0)
                .map_err(|_| CaptureError::Map("PROCESSES"))?;
        }
        let ring = RingBuf::try_from(take(&mut ebpf, "EVENTS")?).map_err(|_| CaptureError::Map("EVENTS"))?;
        // SAFETY: the ring owns the descriptor of its map: always the same one, open as long as the ring lives, and the
        // `AsyncFd` owns the ring.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        let ring = ring.map_err(|e| CaptureError::Ring(e.into()))?;
        let counters = take(&mut ebpf, "COUNTERS")?;
        let counters = PerCpuArray::try_from(counters).map_err(|_| CaptureError::Map("COUNTERS"))?;
        let kernel_log = if config.kernel_log.is_some() {
            aya_log::EbpfLogger::init(&mut ebpf).ok()
        } else {
            None
        };
        let hooks = programs::attach(&mut ebpf, &btf, choice)?;
        drop(btf);
        give_back_memory();
        Ok(Capture {
            ebpf,
            hooks,
            ring,
            counters,
            processes,
            kernel_log,
            quiet: 0,
            more: false,
        })
    }

    /// What is attached.
    pub(crate) fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// Waits until there may be something to read: the kernel side says that much was written, or a moment passed.
    pub(crate) async fn wait(&mut self) {
        if self.more {
            return tokio::task::yield_now().await;
        }
        let poll = if self.quiet < QUIET_TURNS {
            BUSY_POLL
        } else {
            IDLE_POLL
        };
        // an error would mean that the reactor is shutting down; then time alone drives the reading
        if let Ok(Ok(mut ready)) = tokio::time::timeout(poll, self.ring.readable_mut()).await {
            ready.clear_ready();
        }
    }

    /// Gives the pending records, at most `most`, to `each`. Returns how many there were.
    pub(crate) fn drain(&mut self, most: usize, mut each: impl FnMut(&[u8])) -> usize {
        let ring = self.ring.get_mut();
        let mut n = 0;
        while n < most
            && let Some(record) = ring.next()
        {
            each(&record);
            n += 1;
        }
        self.more = n == most;
        self.quiet = if n == 0 { self.quiet.saturating_add(1) } else { 0 };
        if let Some(log) = &mut self.kernel_log {
            log.flush();
        }
        n
    }

    /// Captures this process from now on, whatever is said of it elsewhere.
    pub(crate) fn allow(&mut self, tgid: u32) {
        self.verdict(tgid, filter::ALLOW);
    }

    /// Leaves this process alone from now on, until it runs another program.
    pub(crate) fn deny(&mut self, tgid: u32) {
        self.verdict(tgid, filter::DENY);
    }

    /// Replaces the entry that the kernel side made with the process's first connection, and makes none: the kernel
    /// side removes it when the process ends or runs another program, and a verdict that comes after that would meet
    /// whichever process gets the id next.
    fn verdict(&mut self, tgid: u32, verdict: u32) {
        const BPF_EXIST: u64 = 2;
        // no entry, since the map was full: the records are dropped here instead of in the kernel, which only costs more
        let _ = self.processes.insert(tgid, verdict, BPF_EXIST);
    }

    /// The kernel side's counters, summed over CPUs, and `recursion_misses` over all programs.
    pub(crate) fn counters(&self) -> KernelCounters {
        let value = |counter: &Counter| {
            let per_cpu = self.counters.get(&(*counter as u32), 0);
            per_cpu.map_or(0, |values| values.iter().sum())
        };
        let values = Counter::ALL.iter().map(|c| (*c, value(c))).collect();
        let misses = self.hooks.attached.iter().filter_map(|hook| {
            let info = self.ebpf.program(hook.program)?.info().ok()?;
            info::recursion_misses(info.fd().ok()?.as_fd())
        });
        KernelCounters {
            values,
            recursion_misses: misses.sum(),
        }
    }
}

/// A reading of the kernel side's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KernelCounters {
    /// One value for each [`Counter`], in its order.
    pub(crate) values: Vec<(Counter, u64)>,
    /// Runs of a program that the kernel skipped.
    pub(crate) recursion_misses: u64,
}

impl KernelCounters {
    /// One counter's value.
    pub(crate) fn get(&self, counter: Counter) -> u64 {
        self.values
            .iter()
            .find(|(c, _)| *c == counter)
            .map_or(0, |(_, v)| *v)
    }
}

/// Reads the kernel's types, chooses the strategy, sets the object's globals and sizes, creates the maps.
fn load(config: &CaptureConfig) -> Result<(Ebpf, Btf, Choice), CaptureError> {
    let types = std::fs::read("/sys/kernel/btf/vmlinux").map_err(|source| CaptureError::NoBtf { source })?;
    let btf = Btf::parse(&types, aya::Endianness::default()).map_err(aya::EbpfError::BtfError)?;
    let wanted: Vec<&str> = offsets::types().chain(strategy::functions()).collect();
    let ours = btf::Btf::parse(&types, &wanted)?;
    let offsets = offsets::resolve(&ours)?;
    let choice = strategy::choose(config.strategy, &btf, &ours)?;
    drop(types);
    let object = object::bytes()?;
    let cpus = aya::util::nr_cpus().map_err(|(_, source)| CaptureError::NoCpus { source })? as u32;
    let ring = u64::from(config.ring_bytes);
    let wake = WAKE_BYTES.min(ring / 8);
    let data = ring - ring / CONTROL_PART;
    // both crates number the levels alike, from 1 for errors; 0 removes the statements
    let log_level = config.kernel_log.map_or(0, |level| level as u8);
    let mut loader = EbpfLoader::new();
    let log = if config.verifier_log {
        VerifierLogLevel::DEBUG | VerifierLogLevel::STATS
    } else {
        VerifierLogLevel::STATS
    };
    loader.btf(Some(&btf)).verifier_log_level(log);
    for (global, value) in &offsets {
        loader.override_global(global, value, true);
    }
    let broker_side = u32::from(config.broker_side);
    let copy_bodies = u32::from(config.copy_bodies);
    loader.override_global("WAKE_BYTES", &wake, true);
    loader.override_global("DATA_BYTES", &data, true);
    loader.override_global("SERVER_SIDE", &broker_side, true);
    loader.override_global("COPY_BODIES", &copy_bodies, true);
    loader.override_global(aya_log::LEVEL, &log_level, false);
    loader.map_max_entries("EVENTS", config.ring_bytes);
    loader.map_max_entries("SCRATCH", cpus * SLOTS_PER_CPU);
    let ebpf = loader.load(&object).map_err(|error| match denied(&error) {
        Some(what) => CaptureError::Privilege { what },
        None => CaptureError::Load(error),
    })?;
    Ok((ebpf, btf, choice))
}

/// What was refused, where an error means missing privilege.
fn denied(error: &aya::EbpfError) -> Option<String> {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(e) = source {
        let io = e.downcast_ref::<std::io::Error>();
        if io.is_some_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied) {
            return Some(error.to_string());
        }
        source = e.source();
    }
    None
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, CaptureError> {
    ebpf.take_map(name).ok_or(CaptureError::Map(name))
}

/// Gives the memory that parsing the kernel's types took back to the system: more than what the daemon needs when idle.
fn give_back_memory() {
    // SAFETY: takes no pointer, and may be called at any time.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
