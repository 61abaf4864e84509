//! Hosts with the demo guest, used as a program uses them. They need `/dev/kvm`.

mod child;
mod devices;
mod ends;
mod full;
mod life;
mod storm;
mod support;
