//! How much memory there is for a question that needs much.

use std::path::{Path, PathBuf};

/// Bytes that may be taken without making others swap: of the machine, and of the control groups that this process is in.
/// `None` where nobody says.
pub(crate) fn memory() -> Option<u64> {
    let text = |path: &Path| std::fs::read_to_string(path).ok();
    let machine = text(Path::new("/proc/meminfo")).and_then(|info| of_machine(&info));
    let group = text(Path::new("/proc/self/cgroup")).and_then(|groups| {
        let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
        let root = PathBuf::from("/sys/fs/cgroup");
        let folder = root.join(group);
        let inside = folder.ancestors().take_while(|folder| folder.starts_with(&root));
        let left = inside.filter_map(|folder| {
            let [limit, used] = ["memory.max", "memory.current"].map(|name| text(&folder.join(name)));
            of_group([&limit?, &used?, &text(&folder.join("memory.stat")).unwrap_or_default()])
        });
        left.min()
    });
    [machine, group].into_iter().flatten().min()
}

/// `MemAvailable` of /proc/meminfo.
fn of_machine(info: &str) -> Option<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1_024)
}

/// What is left of the limit of a control group; `None` without a limit. Pages of files that nobody reads any more count as
/// used, and yet the kernel gives them away first.
fn of_group([limit, used, details]: [&str; 3]) -> Option<u64> {
    let (limit, used): (u64, u64) = (limit.trim().parse().ok()?, used.trim().parse().ok()?);
    let cached = details.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse().ok());
    Some(limit.saturating_sub(used.saturating_sub(cached.unwrap_or(0))))
}

/// Bytes for people: `2.1 GB`.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1_000_000_000 => format!("{} MB", count.div_ceil(1_000_000)),
        _ => {
            let tenths = count.div_ceil(100_000_000);
            format!("{}.{} GB", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_the_kernel_says() {
        assert_eq!(of_machine("MemTotal:  9 kB\nMemAvailable:   2048 kB\n"), Some(2_097_152));
        assert_eq!([of_machine(""), of_machine("MemAvailable: x kB"), of_machine("MemAvailable: 1")], [None; 3]);
        assert_eq!(of_group(["1000\n", "400\n", ""]), Some(600));
        assert_eq!([of_group(["max\n", "400\n", ""]), of_group(["1", "9", "inactive_file x"])], [None, Some(0)]);
        // What was read from files lately is no longer needed.
        let details = "anon 100\nfile 850\ninactive_anon 5\ninactive_file 800\nactive_file 50\n";
        assert_eq!(of_group(["1000\n", "1000\n", details]), Some(800));
        assert_eq!(of_group(["1000", "400", details]), Some(1_000));
        assert_eq!([bytes(1), bytes(999_999_999), bytes(2_049_000_000)], ["1 MB", "1000 MB", "2.1 GB"]);
    }
}
