//! Follows a task to its end by its events: shows its progress, and cancels it on Ctrl-C.

use std::io::IsTerminal as _;
use std::pin::pin;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use xvirt_pool::model::{Task, TaskStatusType};
use xvirt_pool::operation;

use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::name::read;

/// For how many seconds the service waits for a change before it says that there was none.
const PATIENCE: f64 = 60.0;
/// The steps of the bar.
const STEPS: u64 = 1000;

/// Begins a verb that returns a task, and follows that to its end; returns the task.
///
/// The first Ctrl-C cancels the task, whose end is waited for; the second leaves it to itself.
pub async fn verb(client: &Client, verb: &str, parameters: Vec<Value>, what: &str) -> Result<Task> {
    let failed = |failure: Failure| failure.doing(format!("cannot {what}"));
    let mut interrupts = Interrupts::new()?;
    let task = client.call(&format!("Async.{verb}"), parameters).await.map_err(failed)?;
    let Some(task) = task.as_str() else {
        return Err(Failure::new(
            format!("cannot {what}"),
            "the service returned no task; use the same version on both sides",
        ));
    };
    let bar = bar(what);
    let mut cancelled = false;
    let changes = Changes::of(client, task);
    let record = {
        let mut ended = pin!(changes.until_end(&bar));
        loop {
            tokio::select! {
                record = &mut ended => break record.map_err(failed)?,
                () = interrupts.next() => {
                    if cancelled {
                        let uuid = task.trim_start_matches("OpaqueRef:");
                        let why = format!("the service goes on with it: see `xvirt task show {uuid}`");
                        let left = operation::Failure::new("TASK_CANCELLED", [task]).with_remedy(why);
                        return Err(Failure::of_verb(format!("left before the end: {what}"), left));
                    }
                    cancelled = true;
                    bar.set_message(format!("cancelling: {what}"));
                    match client.call("task.cancel", vec![json!(task)]).await {
                        Ok(_) => {}
                        // It cannot be cancelled, or has just ended.
                        Err(failure) if failure.code().is_some() => {}
                        Err(failure) => return Err(failure),
                    }
                }
            }
        }
    };
    bar.finish_and_clear();
    if record.status == TaskStatusType::Success {
        // Who starts a task in XenAPI removes it. Those that failed are kept, to be looked at.
        let _ = client.call("task.destroy", vec![json!(task)]).await;
        return Ok(record);
    }
    let mut error = record.error_info.into_iter();
    let code = error.next().unwrap_or_else(|| match record.status {
        TaskStatusType::Cancelled => "TASK_CANCELLED".to_owned(),
        _ => "INTERNAL_ERROR".to_owned(),
    });
    Err(Failure::of_verb(format!("cannot {what}"), operation::Failure::new(code, error)))
}

/// The changes of a task.
struct Changes<'a> {
    /// With a connection of its own, on which it waits.
    client: Client,
    task: &'a str,
}

/// What `event.from` returns.
#[derive(Deserialize)]
struct Batch {
    events: Vec<Told>,
    token: String,
}

#[derive(Deserialize)]
struct Told {
    /// None if the object is gone.
    snapshot: Option<Value>,
}

impl<'a> Changes<'a> {
    fn of(client: &Client, task: &'a str) -> Self {
        Self { client: client.another(), task }
    }

    /// Waits for the end of the task, and returns it. Nothing is asked meanwhile: the service tells each change.
    async fn until_end(&self, bar: &ProgressBar) -> Result<Task> {
        let mut token = String::new();
        loop {
            let parameters = vec![json!([format!("task/{}", self.task)]), json!(token), json!(PATIENCE)];
            let batch = self.client.call("event.from", parameters).await?;
            let batch: Batch = serde_json::from_value(batch)
                .map_err(|error| Failure::new("cannot understand the events of the service", error))?;
            // All changes since the last time are one event.
            let record = match batch.events.into_iter().next_back().and_then(|event| event.snapshot) {
                Some(record) => record,
                // Nothing has changed; or the task is gone, which this says.
                None => self.client.call("task.get_record", vec![json!(self.task)]).await?,
            };
            let record: Task = read(record)?;
            if !matches!(record.status, TaskStatusType::Pending | TaskStatusType::Cancelling) {
                return Ok(record);
            }
            // Progress is between 0 and 1.
            bar.set_position((record.progress.clamp(0.0, 1.0) * STEPS as f64) as u64);
            token = batch.token;
        }
    }
}

/// The bar, which is shown on a terminal only.
fn bar(what: &str) -> ProgressBar {
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let style = ProgressStyle::with_template("{msg}  {bar:30} {percent:>3} %  {elapsed}");
    let bar = ProgressBar::with_draw_target(Some(STEPS), target).with_message(what.to_owned());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Ctrl-C, and SIGTERM.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).map_err(|error| Failure::new("cannot listen for Ctrl-C", error));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
