//! The process that holds one VM; a host service starts it.

use std::process::ExitCode;

fn main() -> ExitCode {
    xvirt_worker::run(std::env::args().skip(1))
}
