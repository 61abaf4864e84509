//! Clients of XenAPI that others made, unchanged, with the host service: over its socket and over HTTPS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_testing::worker::worker_program;

/// A host service with ports, until it is dropped.
struct Host {
    folder: TempDir,
    service: Child,
    https: String,
    http: String,
}

impl Host {
    fn start() -> Self {
        // A client makes the path of a socket of the name of a host, in which no underscore can be.
        let folder = tempfile::Builder::new().prefix("xvirt").tempdir_in("/tmp").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_xvirt"));
        command
            .args(["host", "run", "--https", "127.0.0.1:0", "--http", "127.0.0.1:0", "--worker"])
            .arg(worker_program());
        command.arg("--root").arg(folder.path().join("root")).arg("--run").arg(folder.path().join("run"));
        let mut service = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(service.stderr.take().unwrap()).lines();
        let (mut http, mut https) = (None, None);
        loop {
            let line = log.next().expect("the service is ready before it ends").unwrap();
            eprintln!("{line}");
            let address = line.split("address=").nth(1).map(|rest| rest.split(' ').next().unwrap().to_owned());
            match address {
                Some(address) if line.contains("HTTPS") => https = Some(address),
                Some(address) if line.contains("HTTP") => http = Some(address),
                _ if line.contains("the host service is ready") => break,
                _ => {}
            }
        }
        // What it logs later is shown if a test fails.
        std::thread::spawn(move || log.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        let line = CommandLine::new([Mode::Hello, Mode::Timer]).hertz(50).ticks(0).to_string();
        fs::write(folder.path().join("root/kernels/demo"), demo::kernel()).unwrap();
        fs::write(folder.path().join("line"), line).unwrap();
        Self { folder, service, https: https.unwrap(), http: http.unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the command, with something to read.
    fn run(&self, arguments: &[&str], input: &str) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xvirt"));
        command.arg("--socket").arg(self.path("run/xvirt.sock")).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.service), Signal::TERM);
        let _ = self.service.wait();
    }
}

/// The interpreter of a virtual environment with a package, if it can be installed.
fn python_with(package: &str) -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{package}"));
    let python = folder.join("bin/python");
    let run = |program: &Path, arguments: &[&str]| -> Result<(), String> {
        let output = Command::new(program).args(arguments).output().map_err(|error| error.to_string())?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
    };
    if run(&python, &["-c", &format!("import {package}")]).is_err() {
        run(Path::new("python3"), &["-m", "venv", "--clear", folder.to_str().unwrap()])?;
        run(&python, &["-m", "pip", "install", "--quiet", package])?;
    }
    Ok(python)
}

/// The folder of npm with a package, if it can be installed.
fn npm_with(package: &str) -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("npm-{package}"));
    fs::create_dir_all(&folder).unwrap();
    if !folder.join("node_modules").join(package).exists() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(&folder).arg(package);
        let output = npm.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
    }
    Ok(folder)
}

#[test]
fn the_npm_package_xen_api_works_unchanged() {
    const NAME: &str = "the_npm_package_xen_api_works_unchanged";
    if let Err(error) = xvirt_core::host::Host::probe().unwrap().require_kvm() {
        println!("SKIPPED {NAME}: {error}");
        return;
    }
    let folder = match npm_with("xen-api") {
        Ok(folder) => folder,
        Err(error) => {
            println!("SKIPPED {NAME}: the package cannot be installed: {error}");
            return;
        }
    };
    // A program finds its packages beside itself.
    let program = folder.join("program.mjs");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/xen_api.mjs"), &program).unwrap();
    let host = Host::start();
    host.run(&["user", "create", "root", "--role", "pool-admin"], "correct horse\n");
    let mut command = Command::new("node");
    command.arg(program).arg(&host.https).arg(host.path("line"));
    // Whoever trusts the certificate of the host needs to trust nothing else.
    command.env("NODE_EXTRA_CA_CERTS", host.path("root/certificate.pem"));
    let output = command.output().unwrap();
    let printed = [&output.stdout[..], &output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&printed));
}

#[test]
fn the_python_package_xenapi_works_unchanged() {
    const NAME: &str = "the_python_package_xenapi_works_unchanged";
    if let Err(error) = xvirt_core::host::Host::probe().unwrap().require_kvm() {
        println!("SKIPPED {NAME}: {error}");
        return;
    }
    let python = match python_with("XenAPI") {
        Ok(python) => python,
        Err(error) => {
            println!("SKIPPED {NAME}: the package cannot be installed: {error}");
            return;
        }
    };
    let host = Host::start();
    host.run(&["user", "create", "root", "--role", "pool-admin"], "correct horse\n");
    host.run(&["user", "create", "looker", "--role", "read-only"], "battery staple\n");
    assert!(host.run(&["user", "list"], "").contains("pool-admin"));
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/xenapi.py"));
    command.arg(host.path("run/xvirt.sock")).arg(&host.https).arg(&host.http).arg(host.path("line"));
    // Whoever trusts the certificate of the host needs to trust nothing else.
    command.env("SSL_CERT_FILE", host.path("root/certificate.pem"));
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );

    let audit = fs::read_to_string(host.path("root/audit.log")).unwrap();
    for part in ["\"VM.start\"", "\"user root ", "\"127.0.0.1\"", "\"RBAC_PERMISSION_DENIED\"", "\"this host\""] {
        assert!(audit.contains(part), "{part} is not in {audit}");
    }
    let store = fs::read(host.path("root/state.db")).unwrap();
    let log = fs::read(host.path("root/state.db-wal")).unwrap_or_default();
    let everything = [audit.as_bytes(), &store, &log].concat();
    let printed = String::from_utf8(output.stdout).unwrap();
    let secrets = printed.lines().filter_map(|line| line.strip_prefix("session OpaqueRef:"));
    let secrets: Vec<_> = secrets.chain(["correct horse", "battery staple"]).collect();
    assert!(secrets.len() > 3);
    for secret in secrets {
        let found = everything.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "a secret is in the store or in the audit log");
    }
}
