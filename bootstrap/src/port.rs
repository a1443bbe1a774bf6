//! Who has a port of this machine's loopback.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::docker::Docker;
use crate::exit::Code;

/// Loopback answers at once or not at all.
const PATIENCE: Duration = Duration::from_millis(300);

/// Fails unless the port is free on both loopbacks, and says who has it.
pub(crate) async fn require_free(port: u16, docker: Option<&Docker>) -> anyhow::Result<()> {
    if docker.is_some_and(|docker| !docker.is_local()) {
        return Ok(());
    }
    let taken: Vec<IpAddr> = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ]
    .into_iter()
    .filter(|loopback| is_taken(SocketAddr::new(*loopback, port)))
    .collect();
    if taken.is_empty() {
        return Ok(());
    }
    let places: Vec<String> = taken
        .iter()
        .map(|ip| SocketAddr::new(*ip, port).to_string())
        .collect();
    let owner = owner(port, docker).await;
    Err(Code::Conflict.error(format!(
        "{} taken {owner}: stop it, or choose another port with --port",
        is_or_are(&places)
    )))
}

/// Whether this machine can listen on [::1].
pub(crate) fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

fn is_or_are(places: &[String]) -> String {
    format!(
        "{} {}",
        places.join(" and "),
        if places.len() == 1 { "is" } else { "are" }
    )
}

fn is_taken(address: SocketAddr) -> bool {
    // Some systems let two programs listen, the one on every address and the other on this one: so ask both ways.
    let is_bound = matches!(TcpListener::bind(address), Err(error) if error.kind() == std::io::ErrorKind::AddrInUse);
    is_bound || TcpStream::connect_timeout(&address, PATIENCE).is_ok()
}

/// Who listens on a port, as the end of a sentence. Containers are known by name where there is a
/// Docker Engine to ask.
pub(crate) async fn owner(port: u16, docker: Option<&Docker>) -> String {
    if let Some(docker) = docker
        && let Ok(containers) = docker.containers(None).await
        && let Some(container) = containers
            .iter()
            .find(|container| container.published.contains(&port))
    {
        return format!("by the Docker container {}", container.name);
    }
    #[cfg(target_os = "linux")]
    if let Some(owner) = linux::listener(port) {
        return owner;
    }
    if cfg!(target_os = "macos") {
        return "(on a Mac usually by the AirPlay Receiver: System Settings, General, AirDrop & Handoff)".to_owned();
    }
    "by another program".to_owned()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::path::PathBuf;

    const LISTEN: &str = "0A";

    /// The process that listens on a port, from the kernel's tables.
    pub(super) fn listener(port: u16) -> Option<String> {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"]
            .map(|path| std::fs::read_to_string(path).unwrap_or_default());
        let sockets: Vec<Socket> = tables
            .iter()
            .flat_map(|table| listening(table, port))
            .collect();
        let owner = sockets.iter().find_map(|socket| process_with(socket.inode));
        owner.or_else(|| {
            sockets
                .first()
                .map(|socket| format!("by a process of the user with id {}", socket.uid))
        })
    }

    #[derive(Debug, PartialEq, Eq)]
    pub(super) struct Socket {
        pub(super) uid: u32,
        pub(super) inode: u64,
    }

    /// `/proc/net/tcp`: number, local address, remote address, state, queues, timer, retransmits, uid, timeout, inode.
    pub(super) fn listening(table: &str, port: u16) -> Vec<Socket> {
        let socket = |line: &str| {
            let columns: Vec<&str> = line.split_ascii_whitespace().collect();
            let local = columns.get(1)?.rsplit_once(':')?.1;
            let is_it = u16::from_str_radix(local, 16).ok()? == port && *columns.get(3)? == LISTEN;
            let socket = Socket {
                uid: columns.get(7)?.parse().ok()?,
                inode: columns.get(9)?.parse().ok()?,
            };
            is_it.then_some(socket)
        };
        table.lines().skip(1).filter_map(socket).collect()
    }

    /// Looks through every process's open files; those of other users are closed to all but root.
    fn process_with(inode: u64) -> Option<String> {
        let wanted = PathBuf::from(format!("socket:[{inode}]"));
        std::fs::read_dir("/proc")
            .ok()?
            .flatten()
            .find_map(|process| {
                let pid: u32 = process.file_name().to_str()?.parse().ok()?;
                let mut files = std::fs::read_dir(process.path().join("fd")).ok()?.flatten();
                files.find(|file| {
                    std::fs::read_link(file.path()).is_ok_and(|target| target == wanted)
                })?;
                let name = std::fs::read_to_string(process.path().join("comm")).ok()?;
                Some(format!("by {} (process {pid})", name.trim()))
            })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0 100 0 0 10 0\n\
             1: 0100007F:1388 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 4243 1 0 100 0 0 10 0\n";
        assert_eq!(
            linux::listening(table, 5000),
            [linux::Socket {
                uid: 1000,
                inode: 4242
            }]
        );
        assert_eq!(linux::listening(table, 5001), []);
        assert_eq!(linux::listening("", 5000), []);
    }

    #[test]
    fn a_listener_is_found_with_its_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(is_taken(address));
        let owner = linux::listener(address.port()).unwrap();
        assert!(
            owner.contains(&format!("(process {})", std::process::id())),
            "{owner}"
        );
        drop(listener);
        // A program that another test starts at this very moment holds a copy until it runs.
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while is_taken(address) {
            assert!(std::time::Instant::now() < end, "{address} stays taken");
            std::thread::yield_now();
        }
    }
}
