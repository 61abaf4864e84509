//! Live migration: channels, and what Python is asked and told during one.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use xvirt_core::Error;
use xvirt_core::config::VmConfig;
use xvirt_core::migrate::{
    self, CommitDecision, Connection, Decision, Migration, MigrationObserver, MigrationReport, Reception, Sockets,
};
use xvirt_core::progress::Progress;
use xvirt_core::vm::ArrivingVm;

use crate::argument::owned;
use crate::data::{dumped, loaded, loaded_with_resources};
use crate::error::raised;
use crate::generated::{Host, Vm};
use crate::slot::Slot;
use crate::work::{InCall, Watch, Work};

/// A channel that calls in progress share with its handle.
#[derive(Clone)]
struct Shared(Arc<dyn migrate::Channel>);

impl migrate::Channel for Shared {
    fn connect(&self, limit: Duration) -> io::Result<Box<dyn Connection>> {
        self.0.connect(limit)
    }
}

/// The connections of a migration.
#[pyclass(frozen, module = "xvirt._xvirt")]
pub struct Channel {
    slot: Slot<Shared>,
}

impl Channel {
    fn new(channel: impl migrate::Channel + 'static) -> Self {
        Self { slot: Slot::new("Channel", Shared(Arc::new(channel))) }
    }

    fn shared(&self) -> PyResult<Shared> {
        Ok(self.slot.get()?.as_ref().clone())
    }
}

#[pymethods]
impl Channel {
    /// Connects to a host and port by TCP.
    #[staticmethod]
    fn connect_tcp(address: String) -> PyResult<Work> {
        Ok(Work::free(move |_| Ok(Self::new(migrate::tcp_channel(&address)?))))
    }

    /// Connects to a unix socket.
    #[staticmethod]
    fn connect_unix(path: PathBuf) -> Self {
        Self::new(move |_: Duration| UnixStream::connect(&path))
    }

    /// Accepts what connects to a socket of Python that listens.
    #[staticmethod]
    fn listener(socket: &Bound<'_, PyAny>, unix: bool) -> PyResult<Self> {
        let socket = owned(socket)?;
        Ok(if unix { Self::new(UnixListener::from(socket)) } else { Self::new(TcpListener::from(socket)) })
    }

    /// Uses connected sockets of Python.
    #[staticmethod]
    fn sockets(sockets: Vec<Bound<'_, PyAny>>, unix: bool) -> PyResult<Self> {
        let sockets: Vec<OwnedFd> = sockets.iter().map(owned).collect::<PyResult<_>>()?;
        let failed = |error| raised(Error::io("cannot use the sockets of a migration", error));
        if unix {
            Ok(Self::new(Sockets::new(sockets.into_iter().map(UnixStream::from)).map_err(failed)?))
        } else {
            Ok(Self::new(Sockets::new(sockets.into_iter().map(TcpStream::from)).map_err(failed)?))
        }
    }

    fn dispose(&self) -> Work {
        self.slot.close()
    }

    fn is_closed(&self) -> bool {
        self.slot.is_closed()
    }
}

crate::handle_output!(Channel);

/// Certificates for migrations.
#[pyclass(frozen, module = "xvirt._xvirt")]
pub struct Tls(migrate::Tls);

#[pymethods]
impl Tls {
    #[staticmethod]
    fn from_files(chain: PathBuf, key: PathBuf, authorities: PathBuf) -> PyResult<Self> {
        migrate::Tls::from_files(chain, key, authorities).map(Self).map_err(raised)
    }

    #[staticmethod]
    fn from_pem(chain: Vec<u8>, key: Vec<u8>, authorities: Vec<u8>) -> PyResult<Self> {
        migrate::Tls::from_pem(&chain, &key, &authorities).map(Self).map_err(raised)
    }

    /// Connects to a host and port.
    fn channel(&self, target: String) -> Work {
        let tls = self.0.clone();
        Work::free(move |_| tls.channel(&target).map(Channel::new))
    }

    /// Encrypts connections to the host of this name.
    fn connect_to(&self, name: &str, channel: &Bound<'_, Channel>) -> PyResult<Channel> {
        self.0.connect_to(name, channel.get().shared()?).map(Channel::new).map_err(raised)
    }

    /// Encrypts connections that are accepted.
    fn accept(&self, channel: &Bound<'_, Channel>) -> PyResult<Channel> {
        Ok(Channel::new(self.0.accept(channel.get().shared()?)))
    }
}

/// Whether a VM could migrate.
#[pyfunction]
pub fn vm_check_migration(
    vm: &Bound<'_, Vm>,
    channel: &Bound<'_, Channel>,
    settings: &Bound<'_, PyAny>,
    observer: Option<Py<PyAny>>,
) -> PyResult<Work> {
    let slot = &vm.get().slot;
    let (vm, channel, settings) = (slot.get()?, channel.get().shared()?, loaded::<Migration>(settings)?);
    Ok(Work::new(slot.closing(), move |watch| vm.check_migration(&channel, &settings, &Observer::new(watch, observer))))
}

/// Migrates a VM.
#[pyfunction]
pub fn vm_migrate(
    vm: &Bound<'_, Vm>,
    channel: &Bound<'_, Channel>,
    settings: &Bound<'_, PyAny>,
    decision: Option<Py<PyAny>>,
    observer: Option<Py<PyAny>>,
) -> PyResult<Work> {
    let slot = &vm.get().slot;
    let (vm, channel, settings) = (slot.get()?, channel.get().shared()?, loaded::<Migration>(settings)?);
    Ok(Work::new(slot.closing(), move |watch| {
        let observer = Observer::new(watch, observer);
        match decision {
            None => vm.migrate(&channel, &settings, &(), &observer),
            Some(object) => vm.migrate(&channel, &settings, &Store { object, watch }, &observer),
        }
    }))
}

/// Receives a VM. `accept` is called with the VM that arrives, and returns its configuration here, or reasons against it.
#[pyfunction]
pub fn migrate_receive(
    channel: &Bound<'_, Channel>,
    host: &Bound<'_, Host>,
    settings: &Bound<'_, PyAny>,
    accept: Py<PyAny>,
    decision: Option<Py<PyAny>>,
    observer: Option<Py<PyAny>>,
) -> PyResult<Work> {
    let (channel, host, settings) = (channel.get().shared()?, host.get().slot.get()?, loaded::<Reception>(settings)?);
    Ok(Work::free(move |watch| {
        let observer = Observer::new(watch, observer);
        let mut accept = |arriving: &ArrivingVm| {
            Python::attach(|py| accepted(py, &accept, arriving)).unwrap_or_else(|failure| {
                watch.fail(failure);
                Err(vec!["the program there failed".to_owned()])
            })
        };
        match decision {
            None => migrate::receive(&channel, &host, &settings, &(), &observer, &mut accept),
            Some(object) => {
                let store = Store { object, watch };
                migrate::receive(&channel, &host, &settings, &store, &observer, &mut accept)
            }
        }
    }))
}

/// What Python answers to a VM that arrives.
fn accepted(
    py: Python<'_>,
    accept: &Py<PyAny>,
    arriving: &ArrivingVm,
) -> PyResult<std::result::Result<VmConfig, Vec<String>>> {
    let fields = PyDict::new(py);
    fields.set_item("uuid", arriving.uuid().to_string())?;
    fields.set_item("name", arriving.name())?;
    fields.set_item("config", arriving.config().map(|config| dumped(py, config)).transpose()?)?;
    fields.set_item("is_only_checked", arriving.is_only_checked())?;
    fields.set_item("is_local_hand_over", arriving.is_local_hand_over())?;
    let answer = accept.bind(py).call1((fields,))?;
    if let Ok(reasons) = answer.extract::<Vec<String>>() {
        return Ok(Err(reasons));
    }
    loaded_with_resources(&answer).map(Ok)
}

/// Tells Python how a migration goes. What the callback returns are new settings.
struct Observer<'a> {
    watch: &'a Watch,
    callback: Option<Py<PyAny>>,
    settings: Mutex<Option<Migration>>,
}

impl<'a> Observer<'a> {
    fn new(watch: &'a Watch, callback: Option<Py<PyAny>>) -> Self {
        Self { watch, callback, settings: Mutex::default() }
    }

    fn told(&self, callback: &Py<PyAny>, report: &MigrationReport) -> PyResult<Option<Migration>> {
        // It may be called on a thread that the call waits for.
        let _in_call = InCall::enter();
        Python::attach(|py| {
            let answer = callback.bind(py).call1((dumped(py, report)?,))?;
            if answer.is_none() { Ok(None) } else { loaded(&answer).map(Some) }
        })
    }
}

impl MigrationObserver for Observer<'_> {
    fn report(&self, report: &MigrationReport) {
        let Some(callback) = &self.callback else { return };
        match self.told(callback, report) {
            Ok(settings) => *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings,
            Err(failure) => self.watch.fail(failure),
        }
    }

    fn cancelled(&self) -> bool {
        Progress::cancelled(self.watch)
    }

    fn settings(&self) -> Option<Migration> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A store of Python that decides where the VM runs.
struct Store<'a> {
    object: Py<PyAny>,
    watch: &'a Watch,
}

impl Store<'_> {
    /// What a method of the store answers. Nobody knows what a store has done that fails.
    fn asked(&self, method: &str) -> Decision {
        let _in_call = InCall::enter();
        let answer = Python::attach(|py| loaded(&self.object.bind(py).call_method0(method)?));
        answer.unwrap_or_else(|failure| {
            self.watch.fail(failure);
            Decision::Unknown
        })
    }
}

impl CommitDecision for Store<'_> {
    fn commit(&self) -> Decision {
        self.asked("commit")
    }

    fn withdraw(&self) -> Decision {
        self.asked("withdraw")
    }

    fn read(&self) -> Decision {
        self.asked("read")
    }
}
