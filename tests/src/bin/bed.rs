//! Makes this machine ready for the tests and prints, for a shell, how to use the same tools by hand:
//! `eval "$(cargo run --quiet --package wharf-tests --bin bed)"`.

use std::io::Write;

use wharf_tests::bed::Bed;

fn main() -> anyhow::Result<()> {
    let bed = Bed::ensure()?;
    let mut out = std::io::stdout();
    writeln!(out, "export PATH='{}'", bed.path().display())?;
    if let Some(image) = bed.node_image() {
        writeln!(out, "export WHARF_KUBERNETES_IMAGE='{image}'")?;
    }
    Ok(())
}
