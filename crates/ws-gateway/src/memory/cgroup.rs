//! How full the process's control groups are, versions 2 and 1. A group's limit holds for everything below it, so all
//! of them up to the root count; the fullest is where the kernel will kill.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Version 1 has no word for "no limit", but a number near 2^63.
const NO_LIMIT_BYTES: u64 = 1 << 60;

/// What the files of a version are called.
struct Names {
    limit: &'static str,
    used: &'static str,
    /// In `memory.stat`: pages of files that the kernel drops before it kills anybody.
    droppable: &'static str,
}

const V2: Names = Names { limit: "memory.max", used: "memory.current", droppable: "inactive_file" };
const V1: Names =
    Names { limit: "memory.limit_in_bytes", used: "memory.usage_in_bytes", droppable: "total_inactive_file" };

/// Bytes used and allowed, of the group that is nearest to its limit. `own` says which groups the process is in, as
/// `/proc/self/cgroup` does; `root` is where they are mounted. None: nothing is limited, or nobody can say.
pub(super) fn fullest(root: &Path, own: &str) -> Option<(u64, u64)> {
    let groups = own.lines().flat_map(|line| {
        // number:controllers:path
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match controllers {
            "" => groups(root.to_owned(), path, &V2),
            list if list.split(',').any(|name| name == "memory") => groups(root.join("memory"), path, &V1),
            _ => Vec::new(),
        }
    });
    // Compared as fractions.
    groups.max_by(|a, b| (u128::from(a.0) * u128::from(b.1)).cmp(&(u128::from(b.0) * u128::from(a.1))))
}

/// Usage and limit of a group and all above it, where there is a limit.
fn groups(root: PathBuf, path: &str, names: &Names) -> Vec<(u64, u64)> {
    // In a container the path may be the host's, and not be there: its own group is then the root.
    let ancestors = Path::new(path.trim_matches('/')).ancestors();
    ancestors.filter_map(|group| usage(&root.join(group), names)).collect()
}

fn usage(folder: &Path, names: &Names) -> Option<(u64, u64)> {
    let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    let limit = number(names.limit).filter(|limit| (1..NO_LIMIT_BYTES).contains(limit))?;
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
    let droppable = lines.find(|(name, _)| *name == names.droppable).and_then(|(_, bytes)| bytes.parse().ok());
    Some((number(names.used)?.saturating_sub(droppable.unwrap_or(0)), limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the files of a group.
    fn write(folder: &Path, names: &Names, limit: &str, used: u64, droppable: u64) {
        fs::create_dir_all(folder).expect("a folder");
        let files = [
            (names.limit, format!("{limit}\n")),
            (names.used, format!("{used}\n")),
            ("memory.stat", format!("anon 1\n{} {droppable}\nother 7\n", names.droppable)),
        ];
        for (name, text) in files {
            fs::write(folder.join(name), text).expect("written");
        }
    }

    #[test]
    fn takes_the_group_of_version_2_that_is_nearest_to_its_limit() {
        let root = tempfile::tempdir().expect("a folder");
        let own = "0::/pods/one/gateway\n";
        assert_eq!(fullest(root.path(), own), None);
        write(&root.path().join("pods/one/gateway"), &V2, "max", 700, 0);
        assert_eq!(fullest(root.path(), own), None, "max is no limit");
        write(&root.path().join("pods/one"), &V2, "1000", 700, 100);
        assert_eq!(fullest(root.path(), own), Some((600, 1000)), "what can be dropped is not used");
        write(&root.path().join("pods"), &V2, "10000", 9000, 0);
        assert_eq!(fullest(root.path(), own), Some((9000, 10_000)));
        write(root.path(), &V2, "1000000", 9000, 0);
        assert_eq!(fullest(root.path(), own), Some((9000, 10_000)));
    }

    #[test]
    fn sees_the_root_where_the_path_is_the_hosts() {
        let root = tempfile::tempdir().expect("a folder");
        write(root.path(), &V2, "1000", 10, 0);
        for own in ["0::/\n", "0::/kubepods/burstable/pod1/abc\n", "0::/../..\n"] {
            assert_eq!(fullest(root.path(), own), Some((10, 1000)), "{own}");
        }
    }

    #[test]
    fn knows_version_1_too() {
        let root = tempfile::tempdir().expect("a folder");
        let own = "12:cpu,cpuacct:/docker/abc\n7:hugetlb,memory:/docker/abc\n0::/elsewhere\n";
        write(&root.path().join("memory/docker/abc"), &V1, "9223372036854771712", 500, 0);
        assert_eq!(fullest(root.path(), own), None);
        write(&root.path().join("memory/docker/abc"), &V1, "1000", 500, 100);
        assert_eq!(fullest(root.path(), own), Some((400, 1000)));
    }

    #[test]
    fn what_cannot_be_read_is_no_limit() {
        let root = tempfile::tempdir().expect("a folder");
        for own in ["", "garbage", "0::", ":::::", "0::/a\n1:memory"] {
            assert_eq!(fullest(root.path(), own), None, "{own}");
        }
        write(root.path(), &V2, "not a number", 1, 0);
        assert_eq!(fullest(root.path(), "0::/"), None);
        write(root.path(), &V2, "0", 1, 0);
        assert_eq!(fullest(root.path(), "0::/"), None, "nobody can mean that");
    }
}
