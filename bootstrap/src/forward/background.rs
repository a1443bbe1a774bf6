//! Forwards that nobody watches: starting them, ending them, and asking how they are.

use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::record::{Files, Record};
use super::way::Cluster;
use super::words::Named;
use super::{RunArgs, StatusArgs, StopArgs};
use crate::cli::Format;
use crate::exit::Code;
use crate::health;
use crate::kube::{Kube, Target};
use crate::output;

/// How long a forward may take until it listens: it asks the cluster first.
const START: Duration = Duration::from_secs(60);
/// How long one may take to end that was asked to; longer than its own grace.
const END: Duration = Duration::from_secs(10);
/// How long a registry may take to answer through its forward.
const ANSWER: Duration = Duration::from_secs(10);

/// Runs `wharf forward start`. One that runs as it is wanted is left alone.
pub(super) async fn start(args: RunArgs) -> anyhow::Result<ExitCode> {
    let wish = args.wish()?;
    let context = args.place.context()?;
    let kube = Kube::of_context(&context).await?;
    let target = wish.target.clone().within(kube.default_namespace());
    let files = Files::of(&context, &target)?;
    if let Some(entry) = files.hold()? {
        // Of one that was killed.
        entry.forget();
    } else if let Some(record) = files.read() {
        let is_wanted = wish.ports.is_empty()
            || wish.ports.len() == record.ports.len()
                && wish.ports.iter().zip(&record.ports).all(|(wanted, port)| {
                    [0, port.port].contains(&wanted.here) && wanted.there.to_string() == port.to
                });
        if !is_wanted {
            let ports = record.ports.iter().map(|port| port.port.to_string());
            return Err(Code::Conflict.error(format!(
                "{target} is forwarded already, from port {} of this machine: `wharf forward stop` ends that",
                ports.collect::<Vec<_>>().join(", ")
            )));
        }
        say(&args, &record, "It runs already.");
        return Ok(ExitCode::SUCCESS);
    }
    let hold = format!("{}s", args.hold.as_secs());
    let record = launch(&context, &target, &hold, &args.words).await?;
    let log = files.log();
    say(&args, &record, &format!("Its log is {}.", log.display()));
    Ok(ExitCode::SUCCESS)
}

/// Starts a forward in the background, and waits until it listens. What one that was killed has left is its own to remove.
pub(super) async fn launch(
    context: &str,
    target: &Target,
    hold: &str,
    words: &[String],
) -> anyhow::Result<Record> {
    let files = Files::of(context, target)?;
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command.args(["forward", "run", "--detach", "--output", "json", "--log"]);
    command.arg(files.log()).args(["--context", context]);
    command.args(["--namespace", &target.namespace]);
    command.args(["--hold", hold]);
    command.args(words);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("starting the forward")?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let stdout = stdout.context("the forward has no output")?;
    let mut line = String::new();
    // Its first line says that it listens; without one it has failed, and says why on its standard error.
    let listens = BufReader::new(stdout);
    let read = timeout(START, listens.take(1 << 20).read_line(&mut line)).await;
    if !matches!(read, Ok(Ok(1..))) {
        let _ = child.start_kill();
        let mut words = String::new();
        if let Some(stderr) = stderr {
            let _ = timeout(END, stderr.take(1 << 16).read_to_string(&mut words)).await;
        }
        let status = child.wait().await?;
        if let Some(entry) = files.hold()? {
            entry.forget();
        }
        let words = words.trim().trim_start_matches("error: ");
        let words = if words.is_empty() {
            "it does not listen"
        } else {
            words
        };
        return Err(Code::of_program(status.code()).error(words));
    }
    let event: Value = serde_json::from_str(&line).context("reading what the forward says")?;
    serde_json::from_value(event["result"].clone()).context("reading what the forward says")
}

fn say(args: &RunArgs, record: &Record, more: &str) {
    let mut lines: Vec<String> = record.ports.iter().map(|port| port.line(record)).collect();
    lines.push(more.to_owned());
    output::outcome(args.output.output, &json!(record), &lines.join("\n"));
}

/// Runs `wharf forward stop`. What does not run is ended already.
pub(super) async fn stop(args: StopArgs) -> anyhow::Result<ExitCode> {
    let all = if args.all {
        Files::all()?
    } else {
        let target = Named::read(args.target.as_deref(), args.place.namespace.as_deref())?;
        let context = args.place.context()?;
        // The registry's namespace is known; for others the kubeconfig must be asked.
        let namespace = match (&args.target, &args.place.namespace) {
            (None, _) | (_, Some(_)) => String::new(),
            _ => Kube::of_context(&context)
                .await?
                .default_namespace()
                .to_owned(),
        };
        vec![Files::of(&context, &target.within(&namespace))?]
    };
    let mut ended = Vec::new();
    for files in all {
        let record = files.read();
        end(&files).await?;
        ended.extend(record);
    }
    let text = match ended.as_slice() {
        [] => "Nothing is forwarded there.".to_owned(),
        ended => {
            let lines: Vec<String> = ended
                .iter()
                .map(|r| format!("{} is forwarded no more.", r.target))
                .collect();
            lines.join("\n")
        }
    };
    output::outcome(args.output.output, &json!({ "ended": ended }), &text);
    Ok(ExitCode::SUCCESS)
}

/// Whether there are forwards into a context's cluster.
pub(crate) fn any_into(context: &str) -> anyhow::Result<bool> {
    Ok(Files::all()?.iter().any(|files| files.are_of(context)))
}

/// Ends all forwards into a context's cluster.
pub(crate) async fn stop_all_of(context: &str) -> anyhow::Result<()> {
    for files in Files::all()? {
        if files.are_of(context) {
            end(&files).await?;
        }
    }
    Ok(())
}

/// Ends a forward, and removes what one that was killed has left.
pub(super) async fn end(files: &Files) -> anyhow::Result<()> {
    let deadline = Instant::now() + END;
    let mut is_told = false;
    loop {
        if let Some(entry) = files.hold()? {
            entry.forget();
            return Ok(());
        }
        // The lock is held, so the process that the record names lives.
        if let Some(record) = files.read() {
            match Instant::now() < deadline {
                true if !is_told => signal(record.pid, false)?,
                true => {}
                false if Instant::now() < deadline + END => signal(record.pid, true)?,
                false => bail!("process {} does not end", record.pid),
            }
            is_told = true;
        } else if Instant::now() >= deadline {
            bail!("a process that is forwarding does not say who it is");
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(unix)]
fn signal(pid: u32, is_last: bool) -> anyhow::Result<()> {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = Pid::from_raw(i32::try_from(pid)?).context("a process without a number")?;
    let signal = if is_last { Signal::KILL } else { Signal::TERM };
    match kill_process(pid, signal) {
        // It has ended by itself meanwhile.
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).context("ending the forward"),
    }
}

#[cfg(not(unix))]
fn signal(pid: u32, _is_last: bool) -> anyhow::Result<()> {
    bail!("end process {pid} yourself: wharf cannot do it on this system")
}

/// A forward, looked at.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    #[serde(flatten)]
    record: Record,
    /// What is wrong; nothing if it works.
    wrong: Option<String>,
}

/// Runs `wharf forward status`.
pub(super) async fn status(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let mut reports = Vec::new();
    for files in Files::all()? {
        let lives = files.hold()?.is_none();
        if let Some(record) = files.read() {
            let wrong = match lives {
                true => look(&record).await.err(),
                false => Some(
                    "it was killed: start it again, or `wharf forward stop` to forget it"
                        .to_owned(),
                ),
            };
            reports.push(Report { record, wrong });
        }
    }
    if reports.is_empty() && args.output.output == Format::Text {
        return Err(Code::NotFound.error("nothing is forwarded: `wharf forward start` does it"));
    }
    let is_well = reports.iter().all(|report| report.wrong.is_none());
    let text: Vec<String> = reports.iter().map(text).collect();
    output::outcome(
        args.output.output,
        &json!({ "forwards": reports }),
        &text.join("\n"),
    );
    Ok(match (reports.is_empty(), is_well) {
        (true, _) => Code::NotFound.into(),
        (_, true) => ExitCode::SUCCESS,
        (_, false) => Code::Unhealthy.into(),
    })
}

/// Asks a registry through its forward, and the cluster about everything else.
async fn look(record: &Record) -> Result<(), String> {
    if record.is_registry {
        for address in record.ports.iter().flat_map(|port| &port.addresses) {
            let answer = health::ask(*address, ANSWER).await;
            answer.map_err(|error| format!("{error:#}"))?;
        }
        return Ok(());
    }
    let ask = async {
        let cluster = Cluster::of_context(&record.context).await?;
        cluster.kube().nodes().await
    };
    let answer = timeout(ANSWER, ask).await;
    let answer = answer.unwrap_or_else(|_| Err(anyhow::anyhow!("it does not answer")));
    answer.map_err(|error| format!("the cluster's API: {error:#}"))?;
    record.traffic.problem.clone().map_or(Ok(()), Err)
}

fn text(report: &Report) -> String {
    let record = &report.record;
    let ports: Vec<String> = record.ports.iter().map(|port| port.line(record)).collect();
    let mark = match &report.wrong {
        None => output::green("✓"),
        Some(_) => output::red("✗"),
    };
    let mut text = format!(" {mark} {}", ports.join("\n   "));
    let traffic = &record.traffic;
    text.push_str(&format!(
        "\n   process {}, {} connections ({} open), {} MB in, {} MB out{}",
        record.pid,
        traffic.connections,
        traffic.open,
        traffic.sent / 1_000_000,
        traffic.received / 1_000_000,
        traffic
            .pod
            .as_ref()
            .map(|pod| format!(", now to pod {pod}"))
            .unwrap_or_default(),
    ));
    if let Some(wrong) = &report.wrong {
        text.push_str(&format!("\n   {wrong}"));
    }
    if let Some(log) = &record.log {
        text.push_str(&format!("\n   log: {}", log.display()));
    }
    text
}
