//! Follows a task to its end: shows its progress, and cancels it on Ctrl-C.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;
use xvirt_pool::model::{Task, TaskStatusType};
use xvirt_pool::operation;

use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::name::read;

/// How long the first and the last pauses between two looks at a task are.
const FIRST: Duration = Duration::from_millis(5);
const LAST: Duration = Duration::from_millis(250);
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
    let mut pause = FIRST;
    let record: Task = loop {
        let record: Task = read(client.call("task.get_record", vec![json!(task)]).await.map_err(failed)?)?;
        if !matches!(record.status, TaskStatusType::Pending | TaskStatusType::Cancelling) {
            break record;
        }
        // Progress is between 0 and 1.
        bar.set_position((record.progress.clamp(0.0, 1.0) * STEPS as f64) as u64);
        tokio::select! {
            () = sleep(pause) => pause = (pause * 2).min(LAST),
            () = interrupts.next() => {
                if cancelled {
                    let why = format!("the service goes on with it: see `xvirt task show {}`", record.uuid);
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
