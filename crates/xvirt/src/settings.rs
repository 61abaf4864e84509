//! `xvirt vm set`: changes of a VM's record.

use clap::Args;
use serde_json::{Value, json};

use crate::client::Client;
use crate::failure::Result;
use crate::name;
use crate::output::Output;
use crate::size::{LEAST_MEMORY, Size};
use crate::vms::shown;

#[derive(Debug, Args)]
#[group(id = "changes", required = true, multiple = true)]
pub struct Changes {
    /// Its name
    #[arg(long)]
    pub name: Option<String>,
    /// Its description
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Its memory, such as 512M or 4G; the VM must be halted
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,
    /// The number of its vCPUs; the VM must be halted
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=254))]
    pub vcpus: Option<u32>,
    /// A kernel in the host's folder of kernels; empty to boot from its disk
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<String>,
    /// The initial RAM disk of the kernel; empty for none
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<String>,
    /// The command line of the kernel
    #[arg(long, value_name = "TEXT")]
    pub command_line: Option<String>,
    /// Whether it starts with the host: true or false
    #[arg(long, value_name = "BOOL")]
    pub autostart: Option<bool>,
    /// What becomes of it if it crashes
    #[arg(long, value_name = "ACTION", value_parser = ["destroy", "restart", "preserve"])]
    pub on_crash: Option<String>,
    /// Its share of CPU time beside other VMs, where 256 is usual
    #[arg(long, value_name = "N")]
    pub cpu_weight: Option<u32>,
    /// Percent of one CPU that it may use in all; 0 for no limit
    #[arg(long, value_name = "PERCENT")]
    pub cpu_cap: Option<u32>,
}

/// Changes a VM, one setting after the other.
pub async fn set(client: &Client, vm: &str, changes: &Changes, output: &Output) -> Result<()> {
    let found = name::vm(client, vm).await?;
    for (verb, values) in verbs(changes, found.record.vcpus_max) {
        let parameters = std::iter::once(json!(found.reference)).chain(values).collect();
        let done = client.call(&format!("VM.{verb}"), parameters).await;
        done.map_err(|failure| failure.doing(format!("cannot change {} ({verb})", shown(&found.record))))?;
    }
    output.print(&json!({ "uuid": found.record.uuid }), String::new)
}

/// The verbs, in an order in which each is legal.
fn verbs(changes: &Changes, vcpus_max: i64) -> Vec<(&'static str, Vec<Value>)> {
    let mut verbs = Vec::new();
    let texts = [
        ("set_name_label", &changes.name),
        ("set_name_description", &changes.description),
        ("set_PV_kernel", &changes.kernel),
        ("set_PV_ramdisk", &changes.initrd),
        ("set_PV_args", &changes.command_line),
        ("set_actions_after_crash", &changes.on_crash),
    ];
    for (verb, text) in texts {
        verbs.extend(text.as_ref().map(|text| (verb, vec![json!(text)])));
    }
    if let Some(Size(memory)) = changes.memory {
        let least = memory.min(LEAST_MEMORY);
        verbs.push(("set_memory_limits", [least, memory, memory, memory].map(|bytes| json!(bytes)).to_vec()));
    }
    if let Some(vcpus) = changes.vcpus {
        // There are never more at startup than there may be.
        let mut both = ["set_VCPUs_max", "set_VCPUs_at_startup"];
        if i64::from(vcpus) < vcpus_max {
            both.reverse();
        }
        verbs.extend(both.map(|verb| (verb, vec![json!(vcpus)])));
    }
    let entries = [
        ("other_config", "auto_poweron", changes.autostart.map(|auto| auto.to_string())),
        ("VCPUs_params", "weight", changes.cpu_weight.map(|weight| weight.to_string())),
        ("VCPUs_params", "cap", changes.cpu_cap.map(|cap| cap.to_string())),
    ];
    for (map, key, value) in entries {
        let Some(value) = value else { continue };
        let (remove, add) = match map {
            "other_config" => ("remove_from_other_config", "add_to_other_config"),
            _ => ("remove_from_VCPUs_params", "add_to_VCPUs_params"),
        };
        verbs.push((remove, vec![json!(key)]));
        verbs.push((add, vec![json!(key), json!(value)]));
    }
    verbs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_vcpus_at_startup_than_there_may_be() {
        let changes = |vcpus| Changes { vcpus: Some(vcpus), ..none() };
        let names = |vcpus| verbs(&changes(vcpus), 4).into_iter().map(|(verb, _)| verb).collect::<Vec<_>>();
        assert_eq!(names(8), ["set_VCPUs_max", "set_VCPUs_at_startup"]);
        assert_eq!(names(2), ["set_VCPUs_at_startup", "set_VCPUs_max"]);
    }

    #[test]
    fn an_entry_replaces_the_one_that_is_there() {
        let changes = Changes { autostart: Some(false), ..none() };
        let expected = [
            ("remove_from_other_config", vec![json!("auto_poweron")]),
            ("add_to_other_config", vec![json!("auto_poweron"), json!("false")]),
        ];
        assert_eq!(verbs(&changes, 1), expected);
    }

    fn none() -> Changes {
        Changes {
            name: None,
            description: None,
            memory: None,
            vcpus: None,
            kernel: None,
            initrd: None,
            command_line: None,
            autostart: None,
            on_crash: None,
            cpu_weight: None,
            cpu_cap: None,
        }
    }
}
