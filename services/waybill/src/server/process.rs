//! What every process says of itself: its version, memory, open files, and when it started; and how many files it may
//! open.

use std::{fmt, fs};

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{gauge::ConstGauge, info::Info},
    registry::{Registry, Unit},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files and connections that the system allows this process, once it was asked for all that there are: many systems
/// begin with 256 or 1,024.
pub(crate) fn open_file_limit() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let all = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, all).is_ok() {
        limit = getrlimit(Resource::Nofile);
    }
    limit.current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Registers them: `waybill_build_info`, and those that Prometheus gives the same names everywhere.
pub(crate) fn register(registry: &mut Registry) {
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.sub_registry_with_prefix("waybill").register("build", "What runs", build);
    registry.register_collector(Box::new(Process { started: Timestamp::now().as_second() }));
}

/// Asked anew at each look; what a system does not tell is left out.
#[derive(Debug)]
struct Process {
    /// Seconds since 1970.
    started: i64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut gauge = |name, help, unit: Option<&Unit>, value: i64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
        };
        gauge("process_start_time", "When the process started, since 1970", Some(&Unit::Seconds), self.started)?;
        if let Some(bytes) = resident() {
            gauge("process_resident_memory", "Memory in use", Some(&Unit::Bytes), bytes)?;
        }
        if let Some(files) = open_files() {
            gauge("process_open_fds", "Open files and connections", None, files)?;
        }
        if let Some(files) = getrlimit(Resource::Nofile).current.and_then(|files| i64::try_from(files).ok()) {
            gauge("process_max_fds", "Open files and connections allowed", None, files)?;
        }
        if let Some(bytes) = allowed() {
            let help = "Memory that the process may use: its cgroup's, or the machine's";
            gauge("waybill_memory_limit", help, Some(&Unit::Bytes), bytes)?;
        }
        Ok(())
    }
}

fn resident() -> Option<i64> {
    kilobytes("/proc/self/status", "VmRSS:")
}

/// The least that any of its cgroups allows, as a container sees them; both versions of cgroups.
fn allowed() -> Option<i64> {
    let of_group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    // Without a limit they say `max`, or more than there is.
    let limits = of_group.iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    limits.chain(kilobytes("/proc/meminfo", "MemTotal:")).min()
}

/// `VmRSS:      5432 kB`, in bytes.
fn kilobytes(file: &str, name: &str) -> Option<i64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<i64>().ok()? * 1024)
}

/// Without the one that looks.
fn open_files() -> Option<i64> {
    let files = fs::read_dir("/proc/self/fd").ok()?.count();
    i64::try_from(files.saturating_sub(1)).ok()
}
