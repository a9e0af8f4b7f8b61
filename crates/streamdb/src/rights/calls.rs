//! seccomp(2): which system calls a process may make. All others answer as in a kernel that has none of them (`ENOSYS`), so that
//! the C library goes the way that it goes in an older one. Of some that stay open, what they ask for is looked at too.

use std::collections::BTreeMap;

use libc::{c_int, c_long};
use seccompiler::{
    BackendError, BpfProgram, Error as Seccomp, SeccompAction, SeccompCmpArgLen, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use super::{Needs, Network, refused};
use crate::commands::Error;

/// Files, once Landlock lets them be opened.
const FILES: &[c_long] = &[
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchdir,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_ioctl,
    libc::SYS_linkat,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pipe2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readahead,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_sendfile,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_sync_file_range,
    libc::SYS_umask,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    libc::SYS_write,
    libc::SYS_writev,
];

/// The same by older calls, which other processors do not have.
#[cfg(target_arch = "x86_64")]
const OLD: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_getdents,
    libc::SYS_getpgrp,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[c_long] = &[];

/// Memory, threads, time, signals, and what the process may know of itself.
const ITSELF: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_msync,
    libc::SYS_munlock,
    libc::SYS_munmap,
    // Its newer twin has its flags in memory, where no filter sees them; the C library goes on with this one.
    libc::SYS_clone,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getcpu,
    libc::SYS_getpriority,
    libc::SYS_gettid,
    libc::SYS_ioprio_get,
    libc::SYS_ioprio_set,
    libc::SYS_prctl,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setpriority,
    libc::SYS_tgkill,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_capget,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_getuid,
    libc::SYS_prlimit64,
    libc::SYS_sysinfo,
    libc::SYS_times,
    libc::SYS_uname,
    // What became of a program that was not let begin.
    libc::SYS_wait4,
];

/// Waiting for events, and speaking on sockets that are open: with the log, the process that looks after this one, clients.
const EVENTS: &[c_long] = &[
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_socket,
    libc::SYS_socketpair,
];

/// Opening ends of connections for others.
const NETWORK: &[c_long] = &[libc::SYS_bind, libc::SYS_listen];

/// For clone(2): with a namespace of its own a process has more rights inside, and more of the kernel to try.
const NAMESPACES: [c_int; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

// What the library does not have, or not for every processor in the same type (setpriority(2), ioprio_set(2), fcntl(2),
// ioctl_tty(2)).
const PRIO_PROCESS: c_int = 0;
const IOPRIO_WHO_PROCESS: c_int = 1;
const F_SETSIG: c_int = 10;
const F_SETOWN_EX: c_int = 15;
const FIOSETOWN: c_int = 0x8901;
const SIOCSPGRP: c_int = 0x8902;
const TIOCSTI: c_int = 0x5412;

/// Confines this thread and those that it begins; whether the kernel does it.
///
/// # Errors
/// When a kernel that has filters refuses this one.
pub(super) fn confine(needs: &Needs) -> Result<bool, Error> {
    // Of several filters the strictest answer counts. The one of all calls comes last: with it no other can come.
    let all = [families(needs.network), others(std::process::id()), calls(needs.network)];
    for program in all {
        match apply_filter(&program.map_err(refused("make a filter of system calls"))?) {
            Ok(()) => {}
            Err(Seccomp::Seccomp(error) | Seccomp::Prctl(error)) if error.raw_os_error() == Some(libc::EINVAL) => {
                return Ok(false);
            }
            Err(error) => return Err(refused("confine itself by seccomp")(error)),
        }
    }
    Ok(true)
}

/// Sockets of other families than these do not exist, as in a kernel that was built without them.
fn families(network: Network) -> Result<BpfProgram, BackendError> {
    let families = match network {
        Network::None => vec![libc::AF_UNIX],
        Network::All => vec![libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK],
    };
    let others: Result<_, _> = families.into_iter().map(|family| argument(0, Op::Ne, family)).collect();
    let rules = BTreeMap::from([(libc::SYS_socket, vec![SeccompRule::new(others?)?])]);
    SeccompFilter::new(rules, SeccompAction::Allow, answer(libc::EAFNOSUPPORT), architecture()?)?.try_into()
}

/// What a call asks for is of this process and no other: the others have the same user, who may kill them.
fn others(process: u32) -> Result<BpfProgram, BackendError> {
    let process = process.cast_signed();
    let one = |condition: SeccompCondition| SeccompRule::new(vec![condition]);
    // A process names itself by its number or by 0.
    let another = |at| SeccompRule::new(vec![argument(at, Op::Ne, 0)?, argument(at, Op::Ne, process)?]);
    let any_of = |at, values: &[c_int]| -> Result<Vec<SeccompRule>, BackendError> {
        values.iter().map(|value| one(argument(at, Op::Eq, *value)?)).collect()
    };
    let namespace = |flag: &c_int| one(argument(0, Op::MaskedEq(u64::from(flag.cast_unsigned())), *flag)?);
    let rules = BTreeMap::from([
        (libc::SYS_tgkill, vec![one(argument(0, Op::Ne, process)?)?]),
        (libc::SYS_prlimit64, vec![another(0)?]),
        (libc::SYS_sched_setaffinity, vec![another(0)?]),
        (libc::SYS_sched_setscheduler, vec![another(0)?]),
        (libc::SYS_setpriority, vec![one(argument(0, Op::Ne, PRIO_PROCESS)?)?, another(1)?]),
        (libc::SYS_ioprio_set, vec![one(argument(0, Op::Ne, IOPRIO_WHO_PROCESS)?)?, another(1)?]),
        (libc::SYS_clone, NAMESPACES.iter().map(namespace).collect::<Result<_, BackendError>>()?),
        // A signal for whoever is named the owner of a descriptor; and what is typed on a terminal.
        (libc::SYS_fcntl, any_of(1, &[libc::F_SETOWN, F_SETSIG, F_SETOWN_EX])?),
        (libc::SYS_ioctl, any_of(1, &[FIOSETOWN, SIOCSPGRP, TIOCSTI])?),
    ]);
    SeccompFilter::new(rules, SeccompAction::Allow, answer(libc::EPERM), architecture()?)?.try_into()
}

fn calls(network: Network) -> Result<BpfProgram, BackendError> {
    let may_bind: &[c_long] = if network == Network::None { &[] } else { NETWORK };
    let all = [FILES, OLD, ITSELF, EVENTS, may_bind].concat();
    // Without conditions it matches always.
    let rules = all.into_iter().map(|call| (call, Vec::new())).collect();
    SeccompFilter::new(rules, answer(libc::ENOSYS), SeccompAction::Allow, architecture()?)?.try_into()
}

/// An argument, of which the kernel looks at 32 bits.
fn argument(at: u8, op: Op, value: c_int) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(at, SeccompCmpArgLen::Dword, op, u64::from(value.cast_unsigned()))
}

const fn answer(error: c_int) -> SeccompAction {
    SeccompAction::Errno(error.cast_unsigned())
}

fn architecture() -> Result<TargetArch, BackendError> {
    std::env::consts::ARCH.try_into()
}

#[cfg(test)]
mod tests;
