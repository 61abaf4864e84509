//! Live migration: channels, certificates, and what the program is asked and told during one.

use std::ffi::{c_char, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::{AddressFamily, getsockname};
use xvirt_core::config::VmConfig;
use xvirt_core::migrate::{
    self, Channel, CommitDecision, Connection, Decision, Migration, MigrationObserver, MigrationReport, Reception,
    Sockets,
};
use xvirt_core::progress::Progress;
use xvirt_core::vm::ArrivingVm;
use xvirt_core::{Error, Result};

use crate::arena::Arena;
use crate::call::{Call, Watch, XvirtCall, entry};
use crate::data::{
    XvirtDecision, XvirtMigration, XvirtMigrationReport, XvirtMigrationSummary, XvirtReception, XvirtVmConfig,
};
use crate::error::{XvirtError, XvirtStatus};
use crate::functions::{XvirtHost, XvirtVm};
use crate::handle::{free, given, put_handle};
use crate::input::{At, FromC, Plain, argument, bytes, invalid, items, owned, sized};
use crate::output::{Struct, ToC, flag, out, put_record};

/// The room for the reason for which a program refuses a VM that arrives.
const REASON: usize = 1024;

/// The connections of a migration.
///
/// Several threads may use it at once, but only one migration at a time. Free it with xvirt_channel_free() when no call
/// uses it any more.
pub struct XvirtChannel(Arc<dyn Channel>);

/// A channel that a call and a handle share.
struct Shared(Arc<dyn Channel>);

impl Channel for Shared {
    fn connect(&self, limit: Duration) -> io::Result<Box<dyn Connection>> {
        self.0.connect(limit)
    }
}

fn put_channel(place: &mut *mut XvirtChannel, channel: impl Channel + 'static) {
    put_handle(place, XvirtChannel(Arc::new(channel)));
}

/// Whether a socket is a unix socket, and not one of TCP.
fn is_unix(socket: &OwnedFd, name: &str) -> Result<bool> {
    let address =
        getsockname(socket).map_err(|error| invalid(format!("{name} is no socket")).because(io::Error::from(error)))?;
    match address.address_family() {
        AddressFamily::UNIX => Ok(true),
        AddressFamily::INET | AddressFamily::INET6 => Ok(false),
        _ => Err(invalid(format!("{name} is neither a unix socket nor one of TCP"))),
    }
}

/// Makes connections by TCP to a host and port, such as "host-b:7400".
///
/// Free `channel` with xvirt_channel_free(). `call` is NULL, or has a timeout and the means to cancel the call, which
/// looks the name up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_channel_connect_tcp(
    address: *const c_char,
    call: *const XvirtCall,
    channel: Option<&mut *mut XvirtChannel>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let channel = out(channel, ptr::null_mut(), "channel")?;
        // SAFETY: the caller passes NULL or what the header asks for.
        let (address, call) = unsafe { (String::from_c(address, &At::root("address"))?, Call::of(call)?) };
        let address = argument(address, "address")?;
        put_channel(channel, call.run(|_| migrate::tcp_channel(&address))?);
        Ok(())
    })
}

/// Makes connections to the unix socket at a path. Free `channel` with xvirt_channel_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_channel_connect_unix(
    path: *const c_char,
    channel: Option<&mut *mut XvirtChannel>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let channel = out(channel, ptr::null_mut(), "channel")?;
        // SAFETY: the caller passes NULL or text.
        let path = argument(unsafe { PathBuf::from_c(path, &At::root("path")) }?, "path")?;
        put_channel(channel, move |_: Duration| UnixStream::connect(&path));
        Ok(())
    })
}

/// Accepts connections of a socket that listens, a unix socket or one of TCP. `socket` is duplicated and stays open.
///
/// Free `channel` with xvirt_channel_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_channel_listen(
    socket: c_int,
    channel: Option<&mut *mut XvirtChannel>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let channel = out(channel, ptr::null_mut(), "channel")?;
        let socket = owned(socket, "socket")?;
        if is_unix(&socket, "socket")? {
            put_channel(channel, UnixListener::from(socket));
        } else {
            put_channel(channel, TcpListener::from(socket));
        }
        Ok(())
    })
}

/// Uses sockets that are connected, all unix sockets or all of TCP: as many as the migration uses connections. They are
/// duplicated and stay open, but nothing else may use them meanwhile.
///
/// Free `channel` with xvirt_channel_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_channel_use(
    sockets: *const c_int,
    socket_count: usize,
    channel: Option<&mut *mut XvirtChannel>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let channel = out(channel, ptr::null_mut(), "channel")?;
        if !(1..=256).contains(&socket_count) {
            return Err(invalid(format!("socket_count is {socket_count}, but must be between 1 and 256")));
        }
        // SAFETY: the caller says that so many are there.
        let numbers = unsafe { items(sockets, socket_count, &At::root("sockets")) }?;
        let sockets: Vec<OwnedFd> = numbers.iter().map(|number| owned(*number, "sockets")).collect::<Result<_>>()?;
        let unix = sockets.first().map(|first| is_unix(first, "sockets")).transpose()? == Some(true);
        let failed = |error| Error::io("cannot use the sockets of a migration", error);
        if unix {
            put_channel(channel, Sockets::new(sockets.into_iter().map(UnixStream::from)).map_err(failed)?);
        } else {
            put_channel(channel, Sockets::new(sockets.into_iter().map(TcpStream::from)).map_err(failed)?);
        }
        Ok(())
    })
}

/// Frees a channel. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_channel_free(channel: Option<Box<XvirtChannel>>) {
    free(channel);
}

/// The certificate of this host, its key, and the certificates of the authorities that it trusts, for migrations with
/// TLS.
///
/// Several threads may use it at once. Free it with xvirt_tls_free() when no call uses it any more.
pub struct XvirtTls(migrate::Tls);

/// Reads the files with the certificates and the key, in PEM. Free `tls` with xvirt_tls_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_tls_from_files(
    chain: *const c_char,
    key: *const c_char,
    authorities: *const c_char,
    tls: Option<&mut *mut XvirtTls>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let tls = out(tls, ptr::null_mut(), "tls")?;
        let path = |path, name| {
            // SAFETY: the caller passes NULL or text.
            argument(unsafe { PathBuf::from_c(path, &At::root(name)) }?, name)
        };
        let (chain, key) = (path(chain, "chain")?, path(key, "key")?);
        put_handle(tls, XvirtTls(migrate::Tls::from_files(chain, key, path(authorities, "authorities")?)?));
        Ok(())
    })
}

/// Takes the certificates and the key from memory, in PEM. Free `tls` with xvirt_tls_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_tls_from_pem(
    chain: *const u8,
    chain_length: usize,
    key: *const u8,
    key_length: usize,
    authorities: *const u8,
    authorities_length: usize,
    tls: Option<&mut *mut XvirtTls>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let tls = out(tls, ptr::null_mut(), "tls")?;
        let pem = |start, length, name| {
            // SAFETY: the caller passes NULL or so many bytes.
            argument(unsafe { bytes(start, length, &At::root(name)) }?, name)
        };
        let (chain, key) = (pem(chain, chain_length, "chain")?, pem(key, key_length, "key")?);
        let authorities = pem(authorities, authorities_length, "authorities")?;
        put_handle(tls, XvirtTls(migrate::Tls::from_pem(&chain, &key, &authorities)?));
        Ok(())
    })
}

/// Makes encrypted connections to a host and port, whose certificate must be for that host.
///
/// Free `channel` with xvirt_channel_free(). `call` is NULL, or has a timeout and the means to cancel the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_tls_connect_tcp(
    tls: Option<&XvirtTls>,
    address: *const c_char,
    call: *const XvirtCall,
    channel: Option<&mut *mut XvirtChannel>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let channel = out(channel, ptr::null_mut(), "channel")?;
        let tls = given(tls, "tls")?;
        // SAFETY: the caller passes NULL or what the header asks for.
        let (address, call) = unsafe { (String::from_c(address, &At::root("address"))?, Call::of(call)?) };
        let address = argument(address, "address")?;
        put_channel(channel, call.run(|_| tls.0.channel(&address))?);
        Ok(())
    })
}

/// Encrypts the connections that `inner` makes to the host of this name.
///
/// Free `channel` with xvirt_channel_free(); `inner` may be freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_tls_connect(
    tls: Option<&XvirtTls>,
    name: *const c_char,
    inner: Option<&XvirtChannel>,
    channel: Option<&mut *mut XvirtChannel>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let channel = out(channel, ptr::null_mut(), "channel")?;
        let tls = given(tls, "tls")?;
        // SAFETY: the caller passes NULL or text.
        let name = argument(unsafe { String::from_c(name, &At::root("name")) }?, "name")?;
        put_channel(channel, tls.0.connect_to(&name, Shared(Arc::clone(&given(inner, "inner")?.0)))?);
        Ok(())
    })
}

/// Encrypts the connections that `inner` accepts.
///
/// Free `channel` with xvirt_channel_free(); `inner` may be freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_tls_accept(
    tls: Option<&XvirtTls>,
    inner: Option<&XvirtChannel>,
    channel: Option<&mut *mut XvirtChannel>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let channel = out(channel, ptr::null_mut(), "channel")?;
        let tls = given(tls, "tls")?;
        put_channel(channel, tls.0.accept(Shared(Arc::clone(&given(inner, "inner")?.0))));
        Ok(())
    })
}

/// Frees it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_tls_free(tls: Option<Box<XvirtTls>>) {
    free(tls);
}

/// What is told how a migration goes. The functions are called on the thread of the call, or are NULL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct XvirtMigrationObserver {
    /// The size of this struct, which the caller sets.
    pub struct_size: usize,
    /// Gets each phase and round, and the state of a round about ten times per second. `report` is gone when it has
    /// returned.
    pub report: Option<extern "C" fn(user_data: *mut c_void, report: *const XvirtMigrationReport)>,
    /// Is asked for new settings of the source after each report; NULL leaves them as they are. How memory is moved, the
    /// number of connections and the silence limit cannot change. The settings must be valid until the next report.
    pub settings: Option<extern "C" fn(user_data: *mut c_void) -> *const XvirtMigration>,
    /// What the functions get.
    pub user_data: *mut c_void,
}

/// A store that decides on which host the VM runs, for programs that keep a record of that.
///
/// Without one, the two sides decide alone: the source commits, and a target that loses the connection before gives up.
/// With a store, a target that loses the connection reads it, so that an outcome is indeterminate less often. Both sides
/// must use the same store.
///
/// The functions are called on the thread of the call. They may block, but not longer than the other side's limit for
/// silence. If `commit` answers XVIRT_DECISION_UNKNOWN, `withdraw` is called; it and `read` are called again as long as
/// they answer that, until the `decision_limit_ns` of the settings. That of the target should be the longer one. Any
/// number that is no XvirtDecision counts as XVIRT_DECISION_UNKNOWN.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct XvirtCommitDecision {
    /// The size of this struct, which the caller sets.
    pub struct_size: usize,
    /// Source: makes the target the owner. Asked once, when the target is prepared. Required.
    pub commit: Option<extern "C" fn(user_data: *mut c_void) -> MaybeUninit<XvirtDecision>>,
    /// Source: prevents that `commit` is applied later. XVIRT_DECISION_APPLIED if it already is. Required.
    pub withdraw: Option<extern "C" fn(user_data: *mut c_void) -> MaybeUninit<XvirtDecision>>,
    /// Target: reads whether it is the owner. XVIRT_DECISION_REFUSED only if it never will be: XVIRT_DECISION_UNKNOWN while
    /// the source may still commit. Required.
    pub read: Option<extern "C" fn(user_data: *mut c_void) -> MaybeUninit<XvirtDecision>>,
    /// What the functions get.
    pub user_data: *mut c_void,
}

/// A VM that arrives by a migration.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct XvirtArrivingVm {
    /// Its identifier.
    pub uuid: *const c_char,
    /// Its name.
    pub name: *const c_char,
    /// Its configuration at the source, which may be changed; NULL if that has parts that are no data.
    pub config: *mut XvirtVmConfig,
    /// Whether the source only checks whether it could migrate.
    pub is_only_checked: MaybeUninit<bool>,
    /// Whether its memory is handed over within one host.
    pub is_local_hand_over: MaybeUninit<bool>,
}

// SAFETY: a number, and pointers to functions that are what the caller says.
unsafe impl Plain for XvirtMigrationObserver {}
// SAFETY: as above.
unsafe impl Plain for XvirtCommitDecision {}

/// Tells the program how a migration goes.
struct Observer<'a> {
    watch: &'a Watch<'a>,
    functions: Option<XvirtMigrationObserver>,
    settings: Mutex<Option<Migration>>,
}

// SAFETY: the program's functions and data are used on the thread of the call only, which `report` checks.
unsafe impl Sync for Observer<'_> {}

impl<'a> Observer<'a> {
    fn new(watch: &'a Watch<'a>, functions: Option<XvirtMigrationObserver>) -> Self {
        Self { watch, functions, settings: Mutex::default() }
    }

    fn asked(&self, functions: &XvirtMigrationObserver) -> Option<Migration> {
        let settings = (functions.settings?)(functions.user_data);
        // SAFETY: the function returns NULL or settings.
        match unsafe { Migration::from_c(settings, &At::root("settings")) } {
            Ok(settings) => settings,
            Err(_) => {
                self.watch.stop();
                None
            }
        }
    }
}

impl MigrationObserver for Observer<'_> {
    fn report(&self, report: &MigrationReport) {
        let Some(functions) = self.functions.as_ref().filter(|_| self.watch.is_caller()) else { return };
        if let Some(told) = functions.report {
            let arena = Arena::new();
            let report = report.to_struct(&arena);
            told(functions.user_data, &raw const report);
        }
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = self.asked(functions);
    }

    fn cancelled(&self) -> bool {
        Progress::cancelled(self.watch)
    }

    fn settings(&self) -> Option<Migration> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A store of the program.
struct Store(XvirtCommitDecision);

// SAFETY: the program says that its functions may be called while a migration of the call runs.
unsafe impl Sync for Store {}

impl Store {
    /// Nobody knows what a store has done that answers anything else.
    fn asked(&self, function: Option<extern "C" fn(*mut c_void) -> MaybeUninit<XvirtDecision>>) -> Decision {
        let Some(function) = function else { return Decision::Unknown };
        let answer = function(self.0.user_data);
        // SAFETY: there are no pointers in it.
        let decision = unsafe { Decision::from_c(answer, &At::root("decision")) };
        decision.ok().flatten().unwrap_or(Decision::Unknown)
    }
}

impl CommitDecision for Store {
    fn commit(&self) -> Decision {
        self.asked(self.0.commit)
    }

    fn withdraw(&self) -> Decision {
        self.asked(self.0.withdraw)
    }

    fn read(&self) -> Decision {
        self.asked(self.0.read)
    }
}

/// The observer and the store of a call.
///
/// # Safety
/// They are NULL or what the header says.
unsafe fn asked(
    decision: *const XvirtCommitDecision,
    observer: *const XvirtMigrationObserver,
) -> Result<(Option<Store>, Option<XvirtMigrationObserver>)> {
    // SAFETY: as for this function.
    let (decision, observer) =
        unsafe { (sized(decision, &At::root("decision"))?, sized(observer, &At::root("observer"))?) };
    if let Some(decision) = &decision {
        argument(decision.commit, "decision.commit")?;
        argument(decision.withdraw, "decision.withdraw")?;
        argument(decision.read, "decision.read")?;
    }
    Ok((decision.map(Store), observer))
}

/// Checks whether a VM could migrate through a channel, without moving it. The target has to receive, and accepts or
/// refuses it.
///
/// `settings` and `observer` may be NULL. `call` is NULL, or has a timeout and the means to cancel the call.
///
/// Errors: XVIRT_STATUS_MIGRATION_REFUSED with all reasons of both sides.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_vm_check_migration(
    vm: Option<&XvirtVm>,
    channel: Option<&XvirtChannel>,
    settings: *const XvirtMigration,
    observer: *const XvirtMigrationObserver,
    call: *const XvirtCall,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let (vm, channel) = (given(vm, "vm")?, given(channel, "channel")?);
        // SAFETY: the caller passes NULL or what the header asks for.
        let (settings, (_, observer), call) = unsafe {
            let settings = Migration::from_c(settings, &At::root("settings"))?;
            (settings.unwrap_or_default(), asked(ptr::null(), observer)?, Call::of(call)?)
        };
        call.run(|watch| vm.0.check_migration(&*channel.0, &settings, &Observer::new(watch, observer)))
    })
}

/// Migrates a VM that runs to the host at the other end of a channel, where a program receives it. The VM is then halted
/// here.
///
/// `settings`, `decision` and `observer` may be NULL. `summary` gets how it went; free it with
/// xvirt_migration_summary_free(). `call` is NULL, or has a timeout and the means to cancel the call.
///
/// Errors: after XVIRT_STATUS_INDETERMINATE, the VM may run at the target: see xvirt_vm_resolve_migration(). After any
/// other error it runs here, or is paused and the message says why.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_vm_migrate(
    vm: Option<&XvirtVm>,
    channel: Option<&XvirtChannel>,
    settings: *const XvirtMigration,
    decision: *const XvirtCommitDecision,
    observer: *const XvirtMigrationObserver,
    call: *const XvirtCall,
    summary: Option<&mut *mut XvirtMigrationSummary>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let summary = out(summary, ptr::null_mut(), "summary")?;
        let (vm, channel) = (given(vm, "vm")?, given(channel, "channel")?);
        // SAFETY: the caller passes NULL or what the header asks for.
        let (settings, (store, observer), call) = unsafe {
            let settings = Migration::from_c(settings, &At::root("settings"))?;
            (settings.unwrap_or_default(), asked(decision, observer)?, Call::of(call)?)
        };
        let done = call.run(|watch| {
            let observer = Observer::new(watch, observer);
            match &store {
                None => vm.0.migrate(&*channel.0, &settings, &(), &observer),
                Some(store) => vm.0.migrate(&*channel.0, &settings, store, &observer),
            }
        })?;
        put_record(summary, &done);
        Ok(())
    })
}

/// Receives a VM that migrates to this host. `accept` is called with the VM that arrives, on this thread, and returns the
/// configuration that it gets here, with the disks and networks of this host. To refuse it, it returns NULL, after it
/// has written the reason, NUL-terminated, into `reason`, which has `reason_size` bytes. It may change members of the
/// configuration that it gets, and return that; another one must be valid until this call returns.
///
/// `settings`, `decision` and `observer` may be NULL. `vm` gets the VM, which runs; free it with xvirt_vm_free(). `call`
/// is NULL, or has a timeout and the means to cancel the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xvirt_migrate_receive(
    channel: Option<&XvirtChannel>,
    host: Option<&XvirtHost>,
    settings: *const XvirtReception,
    accept: Option<
        extern "C" fn(
            user_data: *mut c_void,
            arriving: *const XvirtArrivingVm,
            reason: *mut c_char,
            reason_size: usize,
        ) -> *const XvirtVmConfig,
    >,
    user_data: *mut c_void,
    decision: *const XvirtCommitDecision,
    observer: *const XvirtMigrationObserver,
    call: *const XvirtCall,
    vm: Option<&mut *mut XvirtVm>,
    error: Option<&mut *mut XvirtError>,
) -> XvirtStatus {
    entry(error, || {
        let vm = out(vm, ptr::null_mut(), "vm")?;
        let (channel, host) = (given(channel, "channel")?, given(host, "host")?);
        let accept = argument(accept, "accept")?;
        // SAFETY: the caller passes NULL or what the header asks for.
        let (settings, (store, observer), call) = unsafe {
            let settings = Reception::from_c(settings, &At::root("settings"))?;
            (settings.unwrap_or_default(), asked(decision, observer)?, Call::of(call)?)
        };
        let mut accept = |arriving: &ArrivingVm| {
            let mut reason = vec![0_u8; REASON];
            let arena = Arena::new();
            let c = arriving_vm(arriving, &arena);
            let answer = accept(user_data, &raw const c, reason.as_mut_ptr().cast(), reason.len());
            // SAFETY: the function returns NULL or what the header asks for, which may point to what it got.
            match unsafe { VmConfig::from_c(answer, &At::root("config")) } {
                Ok(Some(config)) => Ok(config),
                Ok(None) => Err(vec![shown(&reason)]),
                Err(error) => Err(vec![error.to_string()]),
            }
        };
        let arrived = call.run(|watch| {
            let observer = Observer::new(watch, observer);
            match &store {
                None => migrate::receive(&*channel.0, &host.0, &settings, &(), &observer, &mut accept),
                Some(store) => migrate::receive(&*channel.0, &host.0, &settings, store, &observer, &mut accept),
            }
        })?;
        put_handle(vm, XvirtVm(arrived));
        Ok(())
    })
}

/// A VM that arrives as a struct of C.
fn arriving_vm(arriving: &ArrivingVm, arena: &Arena) -> XvirtArrivingVm {
    XvirtArrivingVm {
        uuid: arriving.uuid().to_c(arena),
        name: arriving.name().to_owned().to_c(arena),
        config: arriving.config().map_or(ptr::null_mut(), |config| config.to_c(arena).cast_mut()),
        is_only_checked: flag(arriving.is_only_checked()),
        is_local_hand_over: flag(arriving.is_local_hand_over()),
    }
}

/// The reason that the program wrote.
fn shown(reason: &[u8]) -> String {
    let text = reason.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() { "the program there refused it".to_owned() } else { String::from_utf8_lossy(text).into_owned() }
}
