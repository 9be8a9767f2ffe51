"""`grade doctor`: which protections this machine gives, which it does not, and how to get them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from grader import process
from grader.sandbox import protections
from grader.sandbox.box import Boxed, Held, Limits

_SWITCHES = (  # a file of the kernel, the value that refuses, what it is, what to do
    ("user/max_user_namespaces", "0", "user namespaces are switched off",
     "sudo sysctl -w user.max_user_namespaces=15000"),
    ("kernel/unprivileged_userns_clone", "0", "user namespaces are for root only",
     "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1",
     "AppArmor gives user namespaces only to programs it knows",
     "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0; or, for bubblewrap alone: "
     "sudo apt install bubblewrap, and an AppArmor profile that allows it `userns`"),
)  # fmt: skip
_CONTAINERS = ("/.dockerenv", "/run/.containerenv")


def held() -> Held:
    """Start a box with nothing in it and return what held; GraderFault if none can be started."""
    limits = Limits(memory=10**9, output=10**6, cpu=60)
    boxed = Boxed(process.python("-S", "-c", ""), limits)
    try:
        return boxed.protections()
    finally:
        boxed.end()


def report(found: Held) -> str:
    """Say in lines of text what was found and what to do about the rest."""
    width = max(len(p.name) for p in protections.ALL)
    lines = []
    for protection in protections.ALL:
        why = found.missing.get(protection.name)
        mark = "yes" if why is None else "NO " if protection.required else "no "
        lines.append(f"{mark}  {protection.name:{width}}  {protection.purpose}")
        lines += [f"     {'':{width}}  missing: {why}"] * (why is not None)
    lines += ["", *(_advice(found) if found.missing else [])]
    refused = ", ".join(found.lacks)
    return "\n".join(
        [*lines, f"--official would refuse: no {refused}" if refused else "--official would run"]
    )


def _advice(found: Held) -> Iterator[str]:
    """Yield what stands in the way on this system, each with the command that changes it."""
    if sys.platform != "linux":
        yield "Linux alone has these protections. To get them: grade in a Linux virtual machine"
        return
    if any(name in found.missing for name in protections.NAMESPACES):
        yield from _about_namespaces()
    if "Landlock" in found.missing:
        yield "Landlock needs Linux 5.13 or newer, and its name in the kernel's list: add"
        yield "    lsm=landlock,...  (before what `cat /sys/kernel/security/lsm` shows)"
        yield "to the kernel's command line, and start the machine again"
    if "seccomp" in found.missing:
        yield "seccomp needs a kernel built with it, on x86-64 or 64-bit ARM"


def _about_namespaces() -> Iterator[str]:
    known = False
    for name, value, words, command in _SWITCHES:
        path = Path("/proc/sys") / name
        if path.exists() and path.read_text(encoding="ascii").strip() == value:
            known = True
            yield f"{words}. To change that:\n    {command}"
    if any(Path(path).exists() for path in _CONTAINERS) or "container" in os.environ:
        known = True
        yield (
            "this is a container, and most refuse namespaces. To change that, start it with\n"
            "    docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
            "--security-opt systempaths=unconfined ..."
        )
    if not known:
        yield (
            "the kernel, or what watches over it, refuses namespaces to this user. To try another "
            "way:\n    sudo apt install bubblewrap"
        )
