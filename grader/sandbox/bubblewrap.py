"""The namespaces and the view by bubblewrap, where the kernel's own calls are refused to us.

Some systems allow user namespaces only to programs they know, and bubblewrap is one of these.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from grader.sandbox import namespaces, view
from grader.sandbox.spec import Situation, Spec
from grader.sandbox.view import Step

_ROOT = str(Path(view.PACKAGE).parent)
_CODE = f"""import sys
sys.path.insert(0, {_ROOT!r})
from grader.sandbox import launch
launch.inside(sys.argv[1])
"""
_SECONDS = 10

assert sys.platform != "win32"  # where nothing imports this


def start(spec: Spec, situation: Situation) -> int | None:
    """Fork bubblewrap with the command in it, or return None where that does not work."""
    program = shutil.which("bwrap")
    if program is None:
        return None
    box = [program, *_options(spec, situation), "--"]
    python = [sys.executable, "-I", "-S", "-c"]
    try:
        subprocess.run([*box, *python, ""], check=True, capture_output=True, timeout=_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    found = replace(situation, refused={}, namespaced=True, viewed=True, home=namespaces.HOME)
    order = json.dumps({"spec": asdict(spec), "situation": asdict(found)})
    child = os.fork()
    if child == 0:
        try:
            os.execv(program, [*box, *python, _CODE, order])  # noqa: S606 - no shell is wanted
        finally:
            os._exit(1)
    situation.apart = True
    return child


def _options(spec: Spec, situation: Situation) -> Iterator[str]:
    yield from ("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc")
    yield from ("--unshare-uts", "--hostname", "box", "--uid", str(namespaces.STUDENT))
    yield from ("--gid", str(namespaces.STUDENT), "--cap-drop", "ALL", "--die-with-parent")
    yield from ("--size", str(spec.disk), "--perms", "0700", "--tmpfs", namespaces.HOME)
    for device in namespaces.DEVICES:
        yield from ("--dev-bind", device, device)
    yield from ("--symlink", namespaces.HOME, namespaces.SHARED, "--proc", "/proc")
    own = [
        Step("bind", f"{view.PACKAGE}/{name}") for name in ("__init__.py", "scratch.py", "sandbox")
    ]
    shown = [step for step in situation.steps if not step.path.startswith("/proc/")]  # is there
    for step in [*shown, *own]:
        if step.do == "link":
            yield from ("--symlink", step.target, step.path)
        elif step.do == "hide":
            yield from ("--tmpfs", step.path)
        else:
            yield from ("--ro-bind", step.path, step.path)
    yield from ("--chdir", namespaces.HOME, "--remount-ro", "/")
