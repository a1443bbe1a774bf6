//! wrk as the client: one thread for all connections, which for the smallest requests takes less of the cores that it shares with
//! the server than threads of ours do.

use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wharf_tests::bed::{Bed, Tool};

use crate::crowd::Lap;
use crate::loads::Place;
use crate::process::Process;

/// Has wrk print figures: requests, microseconds, errors, and the thousandths of the latency.
const SCRIPT: &str = r#"
done = function(summary, latency)
  local errors = summary.errors
  print("figures", summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout)
  for thousandth = 1, 999 do print("latency", latency:percentile(thousandth / 10)) end
  print("latency", latency.max)
end
"#;

/// Asks for `/v2/` on so many connections, for so many seconds.
pub(crate) fn run(place: &Place, connections: usize, seconds: usize) -> Result<Lap> {
    Bed::ensure_tools(&[Tool::Wrk])?;
    let script = tempfile::NamedTempFile::new()?;
    std::fs::write(&script, SCRIPT)?;
    let cpu = || -> Result<_> { Ok((place.process.cpu()?, Process::this().children_cpu()?)) };
    let before = cpu()?;
    let ran = Command::new("wrk")
        .args(["--threads", "1", "--connections", &connections.to_string()])
        .args(["--duration", &format!("{seconds}s")])
        .arg("--script")
        .arg(script.path())
        .arg(format!("http://{}/v2/", place.address))
        .output()
        .context("cannot run wrk")?;
    let after = cpu()?;
    let said = String::from_utf8_lossy(&ran.stdout);
    ensure!(
        ran.status.success(),
        "wrk ended with {}: {said}{}",
        ran.status,
        String::from_utf8_lossy(&ran.stderr)
    );
    let mut lap = parse(&said).with_context(|| format!("wrk said: {said}"))?;
    lap.server_cpu = after.0.saturating_sub(before.0);
    lap.client_cpu = after.1.saturating_sub(before.1);
    Ok(lap)
}

fn parse(said: &str) -> Result<Lap> {
    let of = |word: &str| -> Vec<Vec<&str>> {
        let lines = said.lines().map(|line| line.split_ascii_whitespace());
        lines
            .filter_map(|mut line| (line.next() == Some(word)).then(|| line.collect()))
            .collect()
    };
    let figures = of("figures");
    let &[requests, duration, errors] = figures.first().context("no figures")?.as_slice() else {
        anyhow::bail!("{figures:?} are not three");
    };
    ensure!(number::<u64>(errors)? == 0, "{errors} requests failed");
    let latencies = of("latency")
        .into_iter()
        .flatten()
        .map(|latency| Ok(Duration::from_secs_f64(number::<f64>(latency)? / 1e6)));
    Ok(Lap {
        took: Duration::from_micros(number(duration)?),
        operations: number(requests)?,
        bytes: 0,
        latencies: latencies.collect::<Result<_>>()?,
        server_cpu: Duration::ZERO,
        client_cpu: Duration::ZERO,
    })
}

fn number<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(text: &str) -> Result<T> {
    text.parse()
        .with_context(|| format!("{text:?} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_and_errors_are_none() {
        let said = "Running 1s test\n  Requests/sec: 5\nfigures\t10\t2000000\t0\nlatency\t80\nlatency\t1500.5\n";
        let lap = parse(said).unwrap();
        assert_eq!((lap.operations, lap.took), (10, Duration::from_secs(2)));
        assert_eq!(lap.latencies[1], Duration::from_nanos(1_500_500));
        assert!(parse("figures 10 2000000 1\n").is_err());
        assert!(parse("Running").is_err());
    }
}
