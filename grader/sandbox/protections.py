"""The protections a box can have, in plain words: what each is for, and how to get it."""

from __future__ import annotations

from dataclasses import dataclass

NAMESPACES = (
    "user namespace", "process namespace", "network namespace", "ipc namespace", "uts namespace",
    "file system view", "sized temporary folder",
)  # fmt: skip


@dataclass(frozen=True)
class Protection:
    """`name` is what records say; an official run needs those that are `required`."""

    name: str
    purpose: str
    required: bool = True


ALL = (
    Protection("own session", "no terminal and no process group is shared with the grader"),
    Protection("clean environment", "variables of the grader are not passed on"),
    Protection("outside bounds", "time, memory, processes and output are watched from outside"),
    Protection("user namespace", "the student's user has no rights outside"),
    Protection("process namespace", "no other process can be seen, and none survives"),
    Protection("network namespace", "no network, not even the machine's own"),
    Protection("ipc namespace", "no shared memory or queues of others"),
    Protection("uts namespace", "the machine's name is not told"),
    Protection("file system view", "only the interpreter and its packages can be read"),
    Protection("sized temporary folder", "the disk cannot be filled"),
    Protection("no capabilities", "nothing only root may do"),
    Protection("no new privileges", "no program gives rights back"),
    Protection("seccomp", "system calls that training never needs are refused"),
    Protection("Landlock", "files and TCP by an allow-list, a second time", required=False),
    Protection("kernel's bounds", "CPU time, memory, files and processes (rlimits)"),
    Protection("end of descendants", "what a submission starts ends before the verdict"),
)
FROM_OUTSIDE = tuple(p.name for p in ALL[:3])
