//! Everything that is said: progress to standard error, results to standard output.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::cli::Format;

/// A command's steps, each a line: a mark, what was done, and how long it took. A terminal sees a spinner meanwhile.
#[derive(Debug)]
pub(crate) struct Steps {
    format: Format,
    total: usize,
    done: usize,
}

impl Steps {
    /// Starts a command that will take `total` steps.
    pub(crate) fn new(format: Format, total: usize) -> Self {
        Self {
            format,
            total,
            done: 0,
        }
    }

    /// Takes one step.
    pub(crate) async fn run<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        self.done += 1;
        let started = Instant::now();
        let spinner = self.start(name);
        let result = work.await;
        if let Some(spinner) = spinner {
            spinner.finish_and_clear();
        }
        self.finish(name, started.elapsed(), result.as_ref().err());
        result
    }

    fn start(&self, name: &str) -> Option<ProgressBar> {
        if self.format == Format::Json {
            self.event(name, json!({"state": "running"}));
            return None;
        }
        if !std::io::stderr().is_terminal() {
            return None;
        }
        let spinner = ProgressBar::new_spinner().with_message(name.to_owned());
        spinner.set_draw_target(ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(" {spinner} {msg} {elapsed}") {
            spinner.set_style(style);
        }
        spinner.enable_steady_tick(Duration::from_millis(100));
        Some(spinner)
    }

    fn finish(&self, name: &str, took: Duration, error: Option<&anyhow::Error>) {
        match (self.format, error) {
            (Format::Json, None) => self.event(
                name,
                json!({"state": "done", "ms": took.as_millis() as u64}),
            ),
            (Format::Json, Some(error)) => {
                self.event(name, json!({"state": "failed", "ms": took.as_millis() as u64, "error": format!("{error:#}")}));
            }
            (Format::Text, None) => note(&format!(
                " {} {name}  {}",
                green("✓"),
                dim(&format!("{:.1}s", took.as_secs_f32()))
            )),
            (Format::Text, Some(_)) => note(&format!(
                " {} {name}  {}",
                red("✗"),
                dim(&format!("{:.1}s", took.as_secs_f32()))
            )),
        }
    }

    fn event(&self, name: &str, mut event: Value) {
        event["step"] = self.done.into();
        event["of"] = self.total.into();
        event["name"] = name.into();
        result(&event);
    }
}

/// The result of a command, in the form that was asked for.
pub(crate) fn outcome(format: Format, value: &Value, text: &str) {
    match format {
        Format::Json => result(&json!({ "result": value })),
        Format::Text => result(&text),
    }
}

/// A line of the result, to standard output. A reader that has gone is no error.
pub(crate) fn result(text: &(impl Display + ?Sized)) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A line of progress or a hint, to standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The last line of a command that failed.
pub(crate) fn error(error: &anyhow::Error) {
    note(&format!("{} {error:#}", red("error:")));
}

/// Sends the program's log to standard error, unless `WHARF_LOG` asks for more or less.
pub(crate) fn log_to_stderr(default: &str, format: LogFormat) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(default))
        .with_writer(std::io::stderr);
    // A second initialisation has nothing to add to the first.
    let _ = match format {
        LogFormat::Text => log.with_ansi(has_colour()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}

/// Sends the program's log to a writer of its own, unless `WHARF_LOG_FILTER` asks for more or less.
pub(crate) fn log_to<W>(default: &str, writer: W)
where
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(default))
        .with_writer(writer)
        .with_ansi(false);
    // A second initialisation has nothing to add to the first.
    let _ = log.try_init();
}

fn filter(default: &str) -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_env("WHARF_LOG_FILTER")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default))
}

/// What a log's lines look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Green where colour is wanted.
pub(crate) fn green(text: &str) -> String {
    paint(text, "32")
}

/// Red where colour is wanted.
pub(crate) fn red(text: &str) -> String {
    paint(text, "31")
}

fn dim(text: &str) -> String {
    paint(text, "2")
}

fn paint(text: &str, code: &str) -> String {
    if has_colour() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

fn has_colour() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    !is_set("NO_COLOR") && (is_set("CLICOLOR_FORCE") || std::io::stderr().is_terminal())
}
