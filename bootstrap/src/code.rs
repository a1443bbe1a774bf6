//! The program's own code in memory.

use std::time::Duration;

/// How long a server takes to come to rest.
const START: Duration = Duration::from_secs(1);

/// Gives back, once the server has started, the memory of code that only the start needed: more than half of all that the
/// server has while it is idle. What is needed again comes from the system's cache of the program's file.
#[cfg(target_os = "linux")]
pub(crate) async fn forget_the_start() {
    tokio::time::sleep(START).await;
    // Where the system does not say what is where, all stays as it is.
    let _ = tokio::task::spawn_blocking(give_back).await;
}

/// Other systems do as they like.
#[cfg(not(target_os = "linux"))]
pub(crate) async fn forget_the_start() {}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "it is about addresses")]
fn give_back() -> std::io::Result<()> {
    let program = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    for (start, end) in code(&maps, &program.to_string_lossy()) {
        // SAFETY: the range is mapped, executable and not writable, so it is as it is in the file,
        // and what is read from it next is the same as before.
        unsafe {
            libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED);
        }
    }
    Ok(())
}

/// The ranges of a process's memory that have a program's code in them (proc(5)).
#[cfg(target_os = "linux")]
fn code(maps: &str, program: &str) -> Vec<(usize, usize)> {
    let range = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        (rest.starts_with("r-xp ") && rest.ends_with(program))
            .then_some((number(start)?, number(end)?))
    };
    maps.lines().filter_map(range).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_can_be_executed_and_not_written() {
        let maps = "\
            1000-2000 r--p 00000000 fe:00 1 /bin/wharf\n\
            2000-5000 r-xp 00001000 fe:00 1 /bin/wharf\n\
            5000-6000 rw-p 00004000 fe:00 1 /bin/wharf\n\
            6000-7000 rwxp 00005000 fe:00 1 /bin/wharf\n\
            7000-8000 r-xp 00000000 00:00 0 [vdso]\n";
        assert_eq!(code(maps, "/bin/wharf"), [(0x2000, 0x5000)]);
    }
}
