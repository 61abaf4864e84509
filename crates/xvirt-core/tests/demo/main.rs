//! Whole VMs with the demo guest on this machine's `/dev/kvm`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![cfg(feature = "demo")]

mod agent;
mod appliances;
mod before_first_run;
mod checkpoints;
mod configuration;
mod copy_kill;
mod crashes;
mod damaged_memory;
mod damaged_state;
mod debug;
mod devices;
mod echo;
mod events;
mod failures;
mod fork;
mod golden;
mod hostile;
mod hot;
mod hotplug;
mod hub;
mod instances;
mod interrupted;
mod kill;
mod lifecycle;
mod limits;
mod live_checkpoints;
mod loading;
mod local_hand_over;
mod memory;
mod migration;
mod migration_faults;
#[path = "../disk/mount.rs"]
mod mount;
mod operations;
mod ports;
mod resize;
mod sandboxed;
mod sequences;
mod shortage;
mod snapshot_kill;
mod snapshots;
mod statistics;
mod support;
mod suspend;
mod suspend_kill;
mod switch;
mod templates;
mod unlisted;
mod user_network;
mod victim;
mod vsock;
mod workload;
