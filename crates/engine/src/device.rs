//! The machine: how much memory is left, how many cores there are.
//! The catalog asks before it loads.
//! Invariant: an answer is a measurement of now, or none; never a guess.

use std::fs;

/// Bytes that this process may still take without pushing others out, as the system says; none where it does not.
/// On Linux the smaller of `MemAvailable` and what the control group leaves.
pub fn memory_available_bytes() -> Option<u64> {
    let system = fs::read_to_string("/proc/meminfo").ok().and_then(|text| meminfo_available(&text));
    let group = control_group_left();
    match (system, group) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn meminfo_available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn control_group_left() -> Option<u64> {
    let read = |name: &str| fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse::<u64>().ok();
    read("memory.max")?.checked_sub(read("memory.current")?)
}

/// Threads worth using.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_available() {
        let text = "MemTotal:       100 kB\nMemFree:  5 kB\nMemAvailable:   77 kB\n";
        assert_eq!(meminfo_available(text), Some(77 * 1024));
        assert_eq!(meminfo_available("MemTotal: 1 kB\n"), None);
        assert_eq!(meminfo_available("MemAvailable: many kB\n"), None);
    }
}
