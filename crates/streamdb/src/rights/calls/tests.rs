//! What the filters answer, by running them as the kernel does.

use super::*;

/// Classic BPF as seccomp has it, as far as these filters go: loads, comparisons, masks, jumps and returns.
fn run(program: &BpfProgram, call: c_long, arguments: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(i32::try_from(call).unwrap().to_ne_bytes());
    // AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64
    let architecture: u32 = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };
    data.extend(architecture.to_ne_bytes());
    data.extend([0; 8]);
    arguments.iter().for_each(|argument| data.extend(argument.to_ne_bytes()));
    let (mut at, mut value) = (0, 0_u32);
    loop {
        let one = &program[at];
        at += 1;
        let jump = |is: bool| usize::from(if is { one.jt } else { one.jf });
        match one.code {
            0x20 => value = u32::from_ne_bytes(data[one.k as usize..][..4].try_into().unwrap()),
            0x54 => value &= one.k,
            0x05 => at += one.k as usize,
            0x15 => at += jump(value == one.k),
            0x25 => at += jump(value > one.k),
            0x35 => at += jump(value >= one.k),
            0x06 => return one.k,
            other => panic!("{other:#x}"),
        }
    }
}

const ALLOWED: u32 = 0x7fff_0000;

const fn refused_by(error: c_int) -> u32 {
    0x0005_0000 | error.cast_unsigned()
}

#[test]
fn sockets_are_of_few_families() {
    for (network, wanted) in [(Network::None, &[libc::AF_UNIX][..]), (Network::All, &[libc::AF_UNIX, libc::AF_INET])] {
        let program = families(network).unwrap();
        for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_PACKET, libc::AF_BLUETOOTH, libc::AF_VSOCK] {
            let answer = run(&program, libc::SYS_socket, [family as u64, 0, 0, 0, 0, 0]);
            let wanted = if wanted.contains(&family) { ALLOWED } else { refused_by(libc::EAFNOSUPPORT) };
            assert_eq!(answer, wanted, "{network:?} {family}");
        }
        assert_eq!(run(&program, libc::SYS_read, [0; 6]), ALLOWED);
    }
}

#[test]
fn what_is_asked_of_others_is_refused() {
    let program = others(1234).unwrap();
    let answer = |call, first: u64, second: u64| run(&program, call, [first, second, 9, 0, 0, 0]);
    // The kernel looks at the lower half of a number alone.
    for high in [0, 0xffff_ffff_0000_0000] {
        for (call, first, second) in [
            (libc::SYS_tgkill, 1234, 1),
            (libc::SYS_prlimit64, 0, 7),
            (libc::SYS_prlimit64, 1234, 7),
            (libc::SYS_sched_setaffinity, 0, 0),
            (libc::SYS_setpriority, 0, 0),
            (libc::SYS_setpriority, 0, 1234),
            (libc::SYS_ioprio_set, 1, 0),
            // A thread, as the C library begins it.
            (libc::SYS_clone, 0x003d_0f00, 0),
            (libc::SYS_fcntl, 3, libc::F_SETFL as u64),
            (libc::SYS_ioctl, 3, 0x5413),
            (libc::SYS_kill, 1, 9),
        ] {
            assert_eq!(answer(call, first | high, second | high), ALLOWED, "{call} {first:#x} {second:#x}");
        }
        for (call, first, second) in [
            (libc::SYS_tgkill, 1, 1),
            (libc::SYS_tgkill, 0, 1),
            (libc::SYS_prlimit64, 1, 7),
            (libc::SYS_sched_setaffinity, 1, 0),
            (libc::SYS_sched_setscheduler, 1, 0),
            (libc::SYS_setpriority, 2, 0),
            (libc::SYS_setpriority, 0, 1),
            (libc::SYS_ioprio_set, 3, 0),
            (libc::SYS_ioprio_set, 1, 1),
            (libc::SYS_clone, 0x1000_0011, 0),
            (libc::SYS_clone, 0x4000_0011, 0),
            (libc::SYS_clone, 0x0002_0011, 0),
            (libc::SYS_fcntl, 3, 8),
            (libc::SYS_fcntl, 3, 10),
            (libc::SYS_fcntl, 3, 15),
            (libc::SYS_ioctl, 3, 0x8901),
            (libc::SYS_ioctl, 3, 0x8902),
            (libc::SYS_ioctl, 3, 0x5412),
        ] {
            assert_eq!(
                answer(call, first | high, second | high),
                refused_by(libc::EPERM),
                "{call} {first:#x} {second:#x}"
            );
        }
    }
}

#[test]
fn calls_that_no_process_makes_do_not_exist() {
    for network in [Network::None, Network::All] {
        let program = calls(network).unwrap();
        let unknown = [
            libc::SYS_clone3,
            libc::SYS_execve,
            libc::SYS_kill,
            libc::SYS_pidfd_send_signal,
            libc::SYS_process_vm_writev,
            libc::SYS_ptrace,
            libc::SYS_setns,
            libc::SYS_tkill,
            libc::SYS_unshare,
        ];
        for call in unknown {
            assert_eq!(run(&program, call, [0; 6]), refused_by(libc::ENOSYS), "{call}");
        }
        assert_eq!(run(&program, libc::SYS_bind, [0; 6]) == ALLOWED, network == Network::All);
        assert_eq!(run(&program, libc::SYS_accept4, [0; 6]), ALLOWED);
    }
}
