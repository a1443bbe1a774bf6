//! In which order a push is made safe. Not all of it shows when power is lost: of a file that was renamed, ext4 and XFS save the
//! name with the bytes, and no standard says that they do.

use anyhow::{Context, Result, ensure};
use wharf_tests::bed::{Bed, Tool};
use wharf_tests::content::Random;
use wharf_tests::http::Connection;
use wharf_tests::strace::Tracer;
use wharf_tests::talk::push;
use wharf_tests::wharf::Server;

use crate::strace::calls;

#[test]
fn the_answer_comes_behind_the_syncs_of_file_folder_and_catalog() -> Result<()> {
    Bed::ensure_tools(&[Tool::Strace])?;
    let server = Server::start()?;
    let mut http = Connection::open(server.address())?;
    push(&mut http, "app", b"what is made once is made")?;
    let id = server.id().context("the server does not run")?;
    let arguments = [
        "--trace=renameat,renameat2,fsync,fdatasync,write,writev,sendto",
        "--decode-fds=path",
        "--string-limit=20",
    ];
    let tracer = Tracer::attach(id, server.scratch(), arguments)?;
    let digest = push(&mut http, "app", &Random::new(1).bytes(100_000))?;
    let log = tracer.detach()?;

    let (_, hex) = digest.split_once(':').context("no digest")?;
    let folder = format!("blobs/sha256/{}>", &hex[..2]);
    let file = format!("blobs/sha256/{}/{hex}.", &hex[..2]);
    let calls = calls(&log);
    let find = |what: &str, is: &dyn Fn(&str) -> bool| {
        let found = calls.iter().position(|call| is(call));
        found.with_context(|| format!("no {what} in {calls:#?}"))
    };
    let steps = [
        find("rename", &|call| {
            call.starts_with("rename") && call.contains(&folder)
        })?,
        find("sync of the file", &|call| {
            call.starts_with("fdatasync(") && call.contains(&file)
        })?,
        find("sync of the folder", &|call| {
            call.starts_with("fsync(") && call.contains(&folder)
        })?,
        find("sync of the catalog", &|call| {
            call.contains("sync(") && call.contains("catalog.db-wal>")
        })?,
        find("answer", &|call| call.contains("HTTP/1.1 201"))?,
    ];
    ensure!(steps.is_sorted(), "{steps:?} of {calls:#?}");
    Ok(())
}
