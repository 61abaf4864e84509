//! The system calls that a worker needs, found by reading the code and by tracing the tests.

use libc::c_long;
use rustix::process::getpid;
use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

pub(super) type Rules = Vec<(c_long, Vec<SeccompRule>)>;
type Compiled<T> = Result<T, BackendError>;

/// Calls that reach nothing but open descriptors and the process itself.
const PLAIN: &[c_long] = &[
    // Open files.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_fallocate,
    libc::SYS_ftruncate,
    libc::SYS_fadvise64,
    libc::SYS_flock,
    libc::SYS_copy_file_range,
    libc::SYS_close,
    libc::SYS_dup,
    // Sockets that are open.
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    // Events, and files in memory.
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_memfd_create,
    // Memory; mapping and protecting are restricted below.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_msync,
    libc::SYS_mincore,
    libc::SYS_brk,
    libc::SYS_getrandom,
    // Threads, locks and time.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    // The other filter refuses it.
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getrusage,
    libc::SYS_getcpu,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Signals of its own threads.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    // More filters for single threads.
    libc::SYS_seccomp,
];

const RINGS: &[c_long] = &[libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];

/// The operations of fcntl(2): none that sends signals to others (`F_SETOWN`).
const FCNTL: &[libc::c_int] = &[
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_OFD_GETLK,
    libc::F_OFD_SETLK,
    libc::F_OFD_SETLKW,
    libc::F_ADD_SEALS,
    libc::F_GET_SEALS,
];

const PRCTL: &[libc::c_int] =
    &[libc::PR_SET_NAME, libc::PR_SET_NO_NEW_PRIVS, libc::PR_SET_SECCOMP, libc::PR_GET_SECCOMP, libc::PR_SET_VMA];

/// The types of the operations of KVM, userfaultfd and block devices (Linux's ioctl-number.rst), in the bits of `TYPE`.
const IOCTL_TYPES: [u64; 3] = [0xae << 8, 0xaa << 8, 0x12 << 8];
const TYPE: u64 = 0xff << 8;

/// Other operations: those of an open tap, and of non-blocking sockets.
const IOCTLS: &[libc::Ioctl] = &[
    libc::FIONBIO,
    libc::TUNGETIFF,
    libc::TUNGETFEATURES,
    libc::TUNSETOFFLOAD,
    libc::TUNSETVNETHDRSZ,
    libc::TUNGETVNETHDRSZ,
];

/// The flags with which clone(2) starts a thread instead of a process.
const THREAD: u64 = (libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD) as u64;

/// What is allowed, with io_uring if `rings`.
pub(super) fn allowed(rings: bool) -> Compiled<Rules> {
    let mut rules: Rules = PLAIN.iter().map(|call| (*call, Vec::new())).collect();
    if rings {
        rules.extend(RINGS.iter().map(|call| (*call, Vec::new())));
    }
    let executable = libc::PROT_EXEC as u64;
    rules.push((libc::SYS_mmap, vec![masked(2, executable, 0)?]));
    rules.push((libc::SYS_mprotect, vec![masked(2, executable, 0)?]));
    rules.push((libc::SYS_clone, vec![masked(0, THREAD, THREAD)?]));
    rules.push((libc::SYS_fcntl, any(1, FCNTL.iter().map(|value| *value as u64))?));
    rules.push((libc::SYS_prctl, any(0, PRCTL.iter().map(|value| *value as u64))?));
    // Its own threads, which KVM's vCPUs are, and its own limits.
    let own = getpid().as_raw_nonzero().get() as u64;
    rules.push((libc::SYS_tgkill, any(0, [own])?));
    rules.push((libc::SYS_prlimit64, any(0, [0])?));
    // Of an open file, not of a name.
    let unnamed = libc::AT_EMPTY_PATH as u64;
    rules.push((libc::SYS_statx, vec![masked(2, unnamed, unnamed)?]));
    rules.push((libc::SYS_newfstatat, vec![masked(3, unnamed, unnamed)?]));
    let mut ioctls = any(1, IOCTLS.iter().copied())?;
    for kind in IOCTL_TYPES {
        ioctls.push(masked(1, TYPE, kind)?);
    }
    rules.push((libc::SYS_ioctl, ioctls));
    Ok(rules)
}

/// Allows these values of an argument.
fn any(argument: u8, values: impl IntoIterator<Item = u64>) -> Compiled<Vec<SeccompRule>> {
    values.into_iter().map(|value| rule(argument, SeccompCmpOp::Eq, value)).collect()
}

/// Allows arguments whose bits in `mask` equal `value`.
fn masked(argument: u8, mask: u64, value: u64) -> Compiled<SeccompRule> {
    rule(argument, SeccompCmpOp::MaskedEq(mask), value)
}

fn rule(argument: u8, compare: SeccompCmpOp, value: u64) -> Compiled<SeccompRule> {
    // The kernel also uses only the lower half of these arguments.
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compare, value)?])
}
