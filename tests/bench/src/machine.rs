//! What the operating system is asked for: cores to run on, files to open, and what a process uses.

#[cfg(target_os = "linux")]
use std::fs;

/// The core of the caller, of the load, and of all that runs on one thread.
pub(crate) const HOME: usize = 0;
/// The core of servers, and of what runs on another thread than its caller.
pub(crate) const AWAY: usize = 1;

/// Keeps this thread, and those that it starts from now on, on one core. Where the system does not
/// allow it, or has only one core, nothing happens.
pub(crate) fn pin(core: usize) {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_setaffinity};
        let mut cores = CpuSet::new();
        cores.set(core);
        // Figures are good without it too, only less steady.
        let _ = sched_setaffinity(None, &cores);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = core;
}

/// Lets this process and its children open a file for each of a thousand connections.
pub(crate) fn raise_file_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        // Without it the broadcast fails, and says so.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// The memory of a process that is in RAM, in bytes; `None` where the system does not tell.
#[cfg(target_os = "linux")]
pub(crate) fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The processor time that a process has used so far, in ns; `None` where the system does not tell.
#[cfg(target_os = "linux")]
pub(crate) fn processor_time(pid: u32) -> Option<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        let used: u64 = text.split(' ').next()?.parse().ok()?;
        sum += used;
    }
    Some(sum)
}

/// The memory of a process that is in RAM: this system does not tell.
#[cfg(not(target_os = "linux"))]
pub(crate) fn resident(_: u32) -> Option<u64> {
    None
}

/// The processor time that a process has used so far: this system does not tell.
#[cfg(not(target_os = "linux"))]
pub(crate) fn processor_time(_: u32) -> Option<u64> {
    None
}
