//! The table and the JSON.

use std::path::Path;

use serde_json::{Value, json};
use xvirt_benches::Result;

use crate::rust::Figures;

/// What is asked: nanoseconds over the call in Rust, parts of Rust's throughput, milliseconds.
const OVERHEAD: f64 = 300.0;
const THROUGHPUT: f64 = 0.8;
const IMPORT: f64 = 30.0;
const INTERRUPT: f64 = 100.0;

pub(crate) fn report(rust: &Figures, python: &Value, file: Option<&Path>) -> Result<()> {
    let mut rows = calls(rust, python)?;
    let asked = Some(Asked::Least(THROUGHPUT));
    for (name, theirs, asked) in [("live", rust.console.live, asked), ("kept", rust.console.kept, None)] {
        let ours = number(python, &format!("/console/{name}"))?;
        let what = format!("console, {name} (kB/s; Rust: {:.1})", theirs / 1e3);
        rows.push(Row { what, value: ours / 1e3, asked: None });
        let what = format!("console, {name}, as part of Rust's");
        rows.push(Row { what, value: ours / theirs, asked });
    }
    for (what, value) in entries(python, "import")? {
        rows.push(Row { what: format!("{what} (ms)"), value, asked: Some(Asked::Most(IMPORT)) });
    }
    for (what, value) in entries(python, "interrupts")? {
        let what = format!("Ctrl-C in {what} (ms, the worst)");
        rows.push(Row { what, value, asked: Some(Asked::Most(INTERRUPT)) });
    }
    println!("Python {}", python["python"].as_str().unwrap_or_default());
    println!("{:<52}{:>10}{:>10}", "", "measured", "asked");
    rows.iter().for_each(Row::print);
    if let Some(path) = file {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        std::fs::write(path, serde_json::to_string_pretty(&json!({"python": python["python"], "rows": rows}))?)?;
    }
    Ok(())
}

/// What a call costs: as it is, without the loop around it, and over the same call in Rust. Beside it what Python takes
/// for a property of its own and for a call of the native half.
fn calls(rust: &Figures, python: &Value) -> Result<Vec<Row>> {
    let [power_state, empty, property, native] =
        ["power_state", "loop", "property", "native"].map(|name| number(python, &format!("/calls/{name}")));
    let (power_state, empty) = (power_state?, empty?);
    let row = |what: &str, value| Row { what: what.to_owned(), value, asked: None };
    Ok(vec![
        row("power_state in Rust (ns)", rust.call),
        row("an empty loop in Python (ns)", empty),
        row("a property of a class of Python, with the loop (ns)", property?),
        row("a call of the native half alone, with the loop (ns)", native?),
        row("power_state in Python, with the loop (ns)", power_state),
        Row {
            what: "power_state in Python over Rust's, without the loop".to_owned(),
            value: power_state - empty - rust.call,
            asked: Some(Asked::Most(OVERHEAD)),
        },
    ])
}

struct Row {
    what: String,
    value: f64,
    asked: Option<Asked>,
}

#[derive(Clone, Copy)]
enum Asked {
    Most(f64),
    Least(f64),
}

impl Row {
    fn print(&self) {
        let asked = match self.asked {
            Some(Asked::Most(most)) => format!("≤ {most}"),
            Some(Asked::Least(least)) => format!("≥ {least}"),
            None => String::new(),
        };
        println!("{:<52}{:>10.2}{asked:>10}", self.what, self.value);
    }

    fn json(&self) -> Value {
        let (most, least) = match self.asked {
            Some(Asked::Most(most)) => (Some(most), None),
            Some(Asked::Least(least)) => (None, Some(least)),
            None => (None, None),
        };
        json!({"what": self.what, "value": self.value, "asked_at_most": most, "asked_at_least": least})
    }
}

fn number(figures: &Value, place: &str) -> Result<f64> {
    figures
        .pointer(place)
        .and_then(Value::as_f64)
        .ok_or_else(|| format!("the program in Python gave no {place}").into())
}

fn entries(figures: &Value, name: &str) -> Result<Vec<(String, f64)>> {
    let map = figures[name].as_object().ok_or_else(|| format!("the program in Python gave no {name}"))?;
    Ok(map.iter().filter_map(|(what, value)| Some((what.clone(), value.as_f64()?))).collect())
}
