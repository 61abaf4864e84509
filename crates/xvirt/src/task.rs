//! The verbs of tasks.

use serde_json::{Value, json};
use uuid::Uuid;
use xvirt_pool::model::{DateTime, Ref, Task};

use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::name::read;
use crate::objects::all;
use crate::output::{Output, lines, table};

/// Lists the tasks, the newest first.
pub async fn list(client: &Client, output: &Output) -> Result<()> {
    let all = all::<Task>(client).await?;
    let mut tasks: Vec<(Task, Value)> = all.into_iter().map(|(_, task, record)| (task, record)).collect();
    tasks.sort_by(|(one, _), (other, _)| (other.created, &one.uuid).cmp(&(one.created, &other.uuid)));
    let (tasks, records): (Vec<Task>, Vec<Value>) = tasks.into_iter().unzip();
    output.print(&records, || {
        let rows = tasks.iter().map(|task| {
            vec![
                task.name_label.clone(),
                task.status.to_string(),
                progress(task),
                readable(task.created),
                task.uuid.clone(),
            ]
        });
        table(&["NAME", "STATUS", "PROGRESS", "CREATED", "UUID"], &rows.collect::<Vec<_>>())
    })
}

/// Shows a task.
pub async fn show(client: &Client, task: &str, output: &Output) -> Result<()> {
    let record = client.call("task.get_record", vec![json!(reference(task)?)]).await;
    let record = record.map_err(|failure| failure.doing(format!("cannot show the task {task}")))?;
    let task: Task = read(record.clone())?;
    output.print(&record, || {
        let progress = progress(&task);
        let ended = task.finished != DateTime::EPOCH;
        lines(&[
            ("name", task.name_label),
            ("description", task.name_description),
            ("uuid", task.uuid),
            ("status", task.status.to_string()),
            ("progress", progress),
            ("created", readable(task.created)),
            ("ended", if ended { readable(task.finished) } else { String::new() }),
            ("result", task.result),
            ("error", task.error_info.join("; ")),
        ])
    })
}

/// Cancels a task.
pub async fn cancel(client: &Client, task: &str, output: &Output) -> Result<()> {
    let done = client.call("task.cancel", vec![json!(reference(task)?)]).await;
    done.map_err(|failure| failure.doing(format!("cannot cancel the task {task}")))?;
    output.print(&json!({ "uuid": task }), String::new)
}

/// How far a task is, as long as it goes on.
fn progress(task: &Task) -> String {
    if task.finished == DateTime::EPOCH {
        format!("{:.0} %", task.progress.clamp(0.0, 1.0) * 100.0)
    } else {
        String::new()
    }
}

/// A time in UTC. XenAPI writes it as 20261130T15:46:53Z.
pub fn readable(time: DateTime) -> String {
    let text = time.to_string();
    match (text.get(..4), text.get(4..6), text.get(6..8), text.get(9..17)) {
        (Some(year), Some(month), Some(day), Some(clock)) => format!("{year}-{month}-{day} {clock}Z"),
        _ => text,
    }
}

fn reference(task: &str) -> Result<String> {
    let uuid = Uuid::try_parse(task.strip_prefix("OpaqueRef:").unwrap_or(task));
    let uuid = uuid.map_err(|_| {
        Failure::not_found(format!("cannot find the task {task:?}"), "this is no UUID; see `xvirt task list`")
    })?;
    Ok(Ref::<Task>::new(uuid).to_string())
}
