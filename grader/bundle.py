"""`grade gradescope-bundle OUT.zip`: an autograder to upload to Gradescope; see docs/gradescope.md.

In the zip are the grader as a wheel, the versions it has here, the rubric, and what is to be said
of submissions that were graded already, by the hash of their files: Gradescope's containers are too
small to train in. What runs there is `grader.autograder`.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

from grader.files import archived
from grader.isolation import PACKAGE
from grader.reporting import found
from grader.reports import gradescope
from grader.reports.given import Results
from grader.rubric import Rubric, sha256_of

NAME = "mnist-grader"
GRADED = "graded"
"""The folder of results that are known, and the name of the rubric's file beside it."""
RUBRIC = "rubric.toml"
_PYTHON = "3.12"

_SETUP = f"""\
#!/usr/bin/env bash
# Run once, when Gradescope builds the image. Its own Python is too old for PyTorch: uv brings one.
set -euo pipefail
cd /autograder/source
export UV_PYTHON_INSTALL_DIR=/opt/python UV_TORCH_BACKEND=cpu
apt-get update
apt-get install -y python3-pip
python3 -m pip install uv
python3 -m uv venv --python {_PYTHON} /opt/grader
python3 -m uv pip install --python /opt/grader/bin/python -c constraints.txt ./*.whl
/opt/grader/bin/grade doctor || true
chmod 700 /autograder/source  # what others got is nothing for a submission to read
"""
_RUN = """\
#!/usr/bin/env bash
exec /opt/grader/bin/python -P -m grader.autograder /autograder
"""


def bundle(rubric: Rubric, source: Path, grades: Path | None) -> tuple[bytes, int, int]:
    """Return the zip, of how many submissions it has the results, and how many are left out.

    `source` is the rubric's file, `grades` the results of a class, if there are any. Left out is
    what is not graded whole, or by another rubric, or cannot be read. Raises GraderFault where no
    record can be read.
    """
    graded, damaged = found(grades) if grades is not None else ([], [])
    known = list(_known(Results(tuple(graded), rubric, grades or Path())))
    files = {
        "setup.sh": _SETUP.encode(), "run_autograder": _RUN.encode(),
        "constraints.txt": "".join(f"{line}\n" for line in _constraints()).encode(),
        RUBRIC: source.read_bytes(), **_wheel(),
        **{f"{GRADED}/{name}.json": content for name, content in known},
    }  # fmt: skip
    content = archived(files, scripts=("setup.sh", "run_autograder"))
    return content, len(known), len(graded) + len(damaged) - len(known)


def _known(results: Results) -> Iterator[tuple[str, bytes]]:
    """Return what Gradescope is told of each submission that is graded whole, by its hash."""
    rubric = sha256_of(results.rubric)
    for each in results.graded:
        digest = each.record.submission.sha256
        whole = each.record.status == "complete" and each.record.rubric_sha256 == rubric
        if digest and whole:
            for content in gradescope.files(each, results).values():
                yield digest, content


def _constraints() -> Iterator[str]:
    """Return the versions that the grader's packages have here."""
    for line in importlib.metadata.requires(NAME) or ():
        if "extra ==" not in line and (name := re.match(r"[\w.-]+", line)):
            version = importlib.metadata.version(name[0]).partition("+")[0]  # not `+cpu`
            yield f"{name[0]}=={version}"


def _wheel() -> dict[str, bytes]:
    """Return the grader as a wheel, as it is here: PEP 427."""
    about = importlib.metadata.distribution(NAME)
    name = f"{NAME.replace('-', '_')}-{about.version}"
    files = {
        path.relative_to(PACKAGE.parent).as_posix(): path.read_bytes()
        for path in sorted(PACKAGE.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    info = f"{name}.dist-info"
    entries = about.read_text("entry_points.txt") or ""
    files |= {
        f"{info}/METADATA": (about.read_text("METADATA") or "").encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": entries.encode(),
    }
    lines = [f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in files.items()]
    files[f"{info}/RECORD"] = "".join([*lines, f"{info}/RECORD,,\n"]).encode()
    return {f"{name}-py3-none-any.whl": archived(files)}


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
