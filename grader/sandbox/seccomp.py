"""A seccomp filter through ctypes: system calls no network in training needs are refused.

A deny-list, because an interpreter with PyTorch makes calls by the hundred and every version
makes others; and whatever the kernel learned after this list was written is refused too. The
filter holds for this process and all it starts, and cannot be lifted.

What is refused: looking into or altering other processes; new namespaces and mounts; sockets (but
pairs of them between own processes); memory that no process is charged for (memfd, System V,
shared anonymous maps); keys, eBPF, performance counters, io_uring, userfaultfd and the like,
whose kernel code is young or large; typing into a terminal; and what only root may do anyway.

Who kills itself, or exits with the status of somebody who was killed, ends by SIGSYS instead: what
still ends by SIGKILL was killed by somebody else, or took roundabout ways to look like it.

Some calls seem to work and change nothing: nobody stops waiting for children (an ignored SIGCHLD),
because the kernel would forget the time they took; nobody sets a bound on CPU time, which ends by
SIGKILL, nor makes the buffers of sockets larger, which are charged by their number.

Numbers are from the kernel's tables (arch/x86/entry/syscalls/syscall_64.tbl and
include/uapi/asm-generic/unistd.h), the program's format from include/uapi/linux/filter.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator

from grader.sandbox import kernel

_SECCOMP = {"x86_64": 317, "aarch64": 277}
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 0, "aarch64": 1}
_NEWEST = 462  # mseal, of Linux 6.10; x86's x32 calls are above it too
_ABSENT = -1

_REFUSED = {  # name: number on x86_64, number on aarch64
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "pidfd_getfd": (438, 438),
    "kcmp": (312, 272), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40),
    "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "lookup_dcookie": (212, 18), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "socket": (41, 198),
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190),
    "msgget": (68, 186), "mq_open": (240, 180), "memfd_secret": (447, 447),
    "vmsplice": (278, 75), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "io_setup": (206, 0), "userfaultfd": (323, 282),
    "bpf": (321, 280), "perf_event_open": (298, 241), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219), "personality": (135, 92),
    "iopl": (172, _ABSENT), "ioperm": (173, _ABSENT), "modify_ldt": (154, _ABSENT),
    "uselib": (134, _ABSENT), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "mbind": (237, 235), "set_mempolicy": (238, 237), "set_mempolicy_home_node": (450, 450),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "syslog": (103, 116),
    "vhangup": (153, 58), "nfsservctl": (180, 42), "sethostname": (170, 161),
    "setdomainname": (171, 162), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "clock_adjtime": (305, 266), "adjtimex": (159, 171), "timer_create": (222, 107),
    "sync": (162, 81), "syncfs": (306, 267),
}  # fmt: skip
_SAID_TO_BE_UNKNOWN = {  # programs have another way when these do not exist
    "clone3": (435, 435),
    "memfd_create": (319, 279),
}
_CLONE, _MMAP, _IOCTL, _SOCKETPAIR = (56, 220), (9, 222), (16, 29), (53, 199)
_KILL_CALL, _TGKILL, _FCNTL = (62, 129), (234, 131), (72, 25)
_SIGNALLING = {  # whose second or third argument is a signal, and which none but killers need
    "tkill": (1, (200, 130)), "rt_sigqueueinfo": (1, (129, 138)),
    "rt_tgsigqueueinfo": (2, (297, 240)), "pidfd_send_signal": (1, (424, 424)),
}  # fmt: skip
_EXITS = ((231, 94), (60, 93))  # exit_group, exit
_SIGACTION = (13, 134)  # rt_sigaction
_PRLIMIT, _SETRLIMIT, _SETSOCKOPT = (302, 261), (160, 164), (54, 208)
_RLIMIT_CPU = 0
_SOL_SOCKET, _BUFFERS = 1, (7, 32)  # SO_SNDBUF, SO_SNDBUFFORCE
_SIGKILL, _SIGCHLD = 9, 17
_SET_SIGNAL = 10  # fcntl's F_SETSIG
_CLONE_NEW = 0x7E02_0000  # any of the flags that ask for a namespace
_SHARED_ANONYMOUS = 0x21
_TYPING = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_AF_UNIX = 1

_LOAD, _RETURN, _AND = 0x20, 0x06, 0x54
_IF_EQUAL, _IF_GREATER, _IF_ANY_BIT = 0x15, 0x25, 0x45
_ALLOW, _KILL, _ERRNO = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

_Step = tuple[int, int, int, int]  # code, steps to skip if true, if false, operand


def program(machine: str, command: int) -> bytes:
    """Return the filter for an architecture, as the kernel takes it.

    `command` is the number of the process whose end is told by its status.
    """
    return b"".join(struct.pack("=HBBI", *step) for step in _steps(machine, command))


def _steps(machine: str, command: int) -> Iterator[_Step]:
    column = _COLUMN[machine]
    yield (_LOAD, 0, 0, _ARCHITECTURE)
    yield (_IF_EQUAL, 1, 0, _AUDIT_ARCH[machine])
    yield (_RETURN, 0, 0, _KILL)
    yield (_LOAD, 0, 0, _NUMBER)
    yield (_IF_GREATER, 0, 1, _NEWEST)
    yield _refuse(errno.ENOSYS)
    for number in _REFUSED.values():
        if number[column] != _ABSENT:
            yield from _when(number[column], [_refuse(errno.EPERM)])
    for number in _SAID_TO_BE_UNKNOWN.values():
        yield from _when(number[column], [_refuse(errno.ENOSYS)])
    asks = [(_IF_ANY_BIT, 2, 0, _CLONE_NEW), (_AND, 0, 0, 0xFF), (_IF_EQUAL, 0, 1, _SIGKILL)]
    yield from _when(_CLONE[column], [_argument(0), *asks])  # the last: to be killed by its child
    shared = [_argument(3), (_AND, 0, 0, _SHARED_ANONYMOUS), (_IF_EQUAL, 0, 1, _SHARED_ANONYMOUS)]
    yield from _when(_MMAP[column], shared)
    first, second = _TYPING
    typing = [_argument(1), (_IF_EQUAL, 1, 0, first), (_IF_EQUAL, 0, 1, second)]
    yield from _when(_IOCTL[column], typing)
    yield from _when(_SOCKETPAIR[column], [_argument(0), (_IF_EQUAL, 1, 0, _AF_UNIX)])
    sets = [
        _argument(0), (_IF_EQUAL, 0, 5, _SIGCHLD), _argument(1), (_IF_EQUAL, 0, 2, 0),
        _argument(1, upper=True), (_IF_EQUAL, 1, 0, 0),
    ]  # fmt: skip
    yield from _when(_SIGACTION[column], sets, _refuse(0))  # it seems to work, and changes nothing
    of_cpu = [_argument(1), (_IF_EQUAL, 0, 5, _RLIMIT_CPU)]
    is_new = [_argument(2), (_IF_EQUAL, 0, 2, 0), _argument(2, upper=True), (_IF_EQUAL, 1, 0, 0)]
    yield from _when(_PRLIMIT[column], [*of_cpu, *is_new], _refuse(0))
    yield from _when(_SETRLIMIT[column], [_argument(0), (_IF_EQUAL, 0, 1, _RLIMIT_CPU)], _refuse(0))
    buffers = [
        _argument(1), (_IF_EQUAL, 0, 4, _SOL_SOCKET), _argument(2),
        *((_IF_EQUAL, 1 - last, last, name) for last, name in enumerate(_BUFFERS)),
    ]  # fmt: skip
    yield from _when(_SETSOCKOPT[column], buffers, _refuse(0))
    yield from _of_suicides(column, command)
    yield (_RETURN, 0, 0, _ALLOW)


def _of_suicides(column: int, command: int) -> Iterator[_Step]:
    """End by SIGSYS who kills the command from inside, or makes its end look like that."""
    end = (_RETURN, 0, 0, _KILL)
    everybody, group = 0xFFFF_FFFF, -command & 0xFFFF_FFFF
    to_whom = [
        _argument(1), (_IF_EQUAL, 0, 7, _SIGKILL), _argument(0),
        (_IF_EQUAL, 0, 1, everybody), _refuse(errno.EPERM),  # the caller is not meant
        (_IF_EQUAL, 2, 0, command), (_IF_EQUAL, 1, 0, 0), (_IF_EQUAL, 0, 1, group),
    ]  # fmt: skip
    yield from _when(_KILL_CALL[column], to_whom, end)
    thread = [
        _argument(2), (_IF_EQUAL, 0, 3, _SIGKILL), _argument(0), (_IF_EQUAL, 0, 1, command),
    ]  # fmt: skip
    yield from _when(_TGKILL[column], thread, end)
    for index, numbers in _SIGNALLING.values():
        yield from _when(numbers[column], [_argument(index), (_IF_EQUAL, 0, 1, _SIGKILL)], end)
    signal = [
        _argument(1), (_IF_EQUAL, 0, 3, _SET_SIGNAL), _argument(2), (_IF_EQUAL, 0, 1, _SIGKILL),
    ]  # fmt: skip
    yield from _when(_FCNTL[column], signal, end)
    for numbers in _EXITS:
        status = [_argument(0), (_AND, 0, 0, 0xFF), (_IF_EQUAL, 0, 1, 128 + _SIGKILL)]
        yield from _when(numbers[column], status, end)


def _when(number: int, then: list[_Step], otherwise: _Step | None = None) -> Iterator[_Step]:
    """For the call `number`: refuse it, or test arguments and do `otherwise`, or allow it."""
    if then[0][0] != _RETURN:
        then = [*then, otherwise or _refuse(errno.EPERM), (_RETURN, 0, 0, _ALLOW)]
    yield (_IF_EQUAL, 0, len(then), number)
    yield from then


def _argument(index: int, *, upper: bool = False) -> _Step:
    """Load a half of an argument, the lower one; flags and numbers have no upper half."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index + 4 * upper)


def _refuse(number: int) -> _Step:
    return (_RETURN, 0, 0, _ERRNO | number)


def restrict() -> None:
    """Put this process under the filter; it must have given up new privileges before."""
    machine = kernel.machine()
    code = ctypes.create_string_buffer(program(machine, os.getpid()))
    count = (len(code) - 1) // 8
    head = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", count, ctypes.addressof(code)))
    kernel.syscall(_SECCOMP[machine], 1, 0, head)  # SECCOMP_SET_MODE_FILTER


def in_force() -> bool:
    """Try a call that is harmless and that only the filter refuses."""
    number = _REFUSED["kcmp"][_COLUMN[kernel.machine()]]
    try:
        kernel.syscall(number, os.getpid(), os.getpid(), 0, 0, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return False
