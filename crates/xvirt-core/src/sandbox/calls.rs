//! The allowed system calls of each kind of thread, found by reading the code and by tracing all tests.

use libc::c_long;
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::Work;
use super::filter::invalid;
use crate::Result;

/// For every thread: wait, manage memory, read the time, write to the log, and end.
const COMMON: &[c_long] = &[
    // Events and open files, to which a subscriber writes the log.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_poll,
    libc::SYS_ppoll,
    // Locks and time.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    // Memory; mapping and protecting are restricted below.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_getrandom,
    // Thread start and end.
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    // For programs built to abort on panic.
    libc::SYS_exit_group,
];

/// Thread start, for threads that start others of their kind. The other filter handles clone3(2).
const THREADS: &[c_long] = &[libc::SYS_clone3, libc::SYS_set_robust_list, libc::SYS_rseq, libc::SYS_sched_getaffinity];

/// I/O on open images, with system calls and io_uring.
const DISK: &[c_long] = &[
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_fallocate,
    libc::SYS_ftruncate,
    libc::SYS_statx,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// Frames to and from a tap or a socket.
const NETWORK: &[c_long] = &[
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_sendmmsg,
    libc::SYS_getsockopt,
    libc::SYS_shutdown,
];

/// Connecting and accepting.
const SOCKETS: &[c_long] = &[libc::SYS_connect, libc::SYS_accept4];

/// `KVM_SIGNAL_MSI` of linux/kvm.h, with which devices interrupt the guest.
const SIGNAL_MSI: u64 = 0x4020_aea5;

/// `BLKDISCARD`, `BLKZEROOUT` and `BLKGETSIZE64` of linux/fs.h.
const BLOCK_DEVICE: [u64; 3] = [0x1277, 0x127f, 0x8008_1272];

/// The flags with which clone(2) starts a thread instead of a process.
const THREAD_FLAGS: u64 = (libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD) as u64;

type Rules = Vec<(c_long, Vec<SeccompRule>)>;

/// The rules for a kind of work.
pub(super) fn of(work: Work) -> Result<Rules> {
    let mut rules = common()?;
    let mut ioctls = vec![SIGNAL_MSI];
    match work {
        // Before it releases memory that is being saved, the balloon reads it, and lets it be written again.
        Work::Memory => ioctls.push(linux_raw_sys::ioctl::UFFDIO_WRITEPROTECT.into()),
        Work::Disk => {
            rules.extend(all(DISK));
            rules.extend(all(THREADS));
            ioctls.extend(BLOCK_DEVICE);
            rules.push((libc::SYS_clone, vec![masked(0, THREAD_FLAGS, THREAD_FLAGS)?]));
            rules.push((libc::SYS_prctl, any(0, &[libc::PR_SET_NAME as u64])?));
        }
        Work::Network => rules.extend(all(NETWORK)),
        Work::Sockets => {
            rules.extend(all(NETWORK));
            rules.extend(all(SOCKETS));
            rules.push((libc::SYS_socket, any(0, &[libc::AF_UNIX as u64])?));
            ioctls.push(libc::FIONBIO);
        }
    }
    rules.push((libc::SYS_ioctl, any(1, &ioctls)?));
    Ok(rules)
}

fn common() -> Result<Rules> {
    let executable = libc::PROT_EXEC as u64;
    let mut rules: Rules = all(COMMON).collect();
    rules.push((libc::SYS_mmap, vec![masked(2, executable, 0)?]));
    rules.push((libc::SYS_mprotect, vec![masked(2, executable, 0)?]));
    // The standard library checks that a descriptor is open before it closes it.
    rules.push((libc::SYS_fcntl, any(1, &[libc::F_GETFD as u64])?));
    rules.push((libc::SYS_tgkill, any(2, &[libc::SIGABRT as u64])?));
    Ok(rules)
}

/// Allows these calls with any arguments.
fn all(calls: &[c_long]) -> impl Iterator<Item = (c_long, Vec<SeccompRule>)> {
    calls.iter().map(|call| (*call, Vec::new()))
}

/// Allows these values of an argument.
fn any(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>> {
    values.iter().map(|value| rule(argument, SeccompCmpOp::Eq, *value)).collect()
}

/// Allows arguments whose bits in `mask` equal `value`.
fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompRule> {
    rule(argument, SeccompCmpOp::MaskedEq(mask), value)
}

fn rule(argument: u8, compare: SeccompCmpOp, value: u64) -> Result<SeccompRule> {
    // The kernel also uses only the lower half of these arguments.
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compare, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(invalid)
}
