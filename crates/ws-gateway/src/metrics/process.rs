//! The process as Linux sees it, read from `/proc/self` when somebody asks. Where there is none, or a line is missing,
//! everything is 0.

use std::fs;

/// What `stat` counts processor time in, in a second: the same on every Linux (`USER_HZ`, `man 5 proc`).
const TICKS_PER_S: f64 = 100.0;

fn status(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    number_in(&status, line)
}

/// The first number behind the name at the beginning of a line.
fn number_in(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or_default()
}

/// Memory of the process that is in RAM.
pub(crate) fn resident_bytes() -> u64 {
    // Not `statm`, which counts in pages and does not say how large they are.
    status("VmRSS:") * 1024
}

/// Threads there are.
pub(super) fn threads() -> u64 {
    status("Threads:")
}

/// Processor time used so far in seconds, by the process and by the kernel for it.
pub(super) fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in parentheses, may have anything in it.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // utime and stime are the 14th and 15th, of which the first two are gone.
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / TICKS_PER_S
}

/// File descriptors in use, the one that lists them included.
pub(super) fn open_files() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

/// File descriptors there may be: the soft limit; 0 for any number.
pub(crate) fn max_files() -> u64 {
    number_in(&fs::read_to_string("/proc/self/limits").unwrap_or_default(), "Max open files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_what_the_process_uses() {
        // So that there is something to see.
        let mut word = 1u64;
        while cpu_seconds() == 0.0 {
            word = std::hint::black_box(word.wrapping_mul(31));
        }
        assert!(resident_bytes() > 1 << 20);
        assert!(threads() >= 1);
        let before = open_files();
        let _file = fs::File::open("/proc/self/stat").expect("there");
        assert!(before >= 1 && open_files() > 1);
        assert!(max_files() >= open_files());
    }

    #[test]
    fn a_missing_line_is_zero() {
        assert_eq!(number_in("VmRSS:\t 12 kB\n", "VmRSS:"), 12);
        assert_eq!(number_in("Max open files   unlimited   unlimited", "Max open files"), 0);
        assert_eq!(number_in("", "Threads:"), 0);
    }
}
