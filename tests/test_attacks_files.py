"""Attacks that are made of files beside the submission, or of the caller's environment."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from grader import record as records
from tests.grading import EXAMPLES, REPO, grade
from tests.judging import judge
from tests.test_attacks import ALL_POINTS

pytestmark = pytest.mark.slow
NET = (EXAMPLES / "too_short.py").read_text(encoding="utf-8")
CHECKS = 7  # without the accuracy


def run(folder: Path, *options: str, **variables: str) -> tuple[int, records.Record]:
    """Run `grade` in a folder on the submission in it, and return its status and record."""
    out = folder.parent / "out"
    done = subprocess.run(
        [str(Path(sys.executable).parent / "grade"), str(folder / "net.py"), "--quick",
         f"--out={out}", *options],
        cwd=folder, env=os.environ | variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, records.load(out / "net.py" / "record.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with an honest submission in it."""
    made = tmp_path / "handed_in"
    made.mkdir()
    (made / "net.py").write_text(NET, encoding="utf-8")
    return made


def judged_whole(status: int, record: records.Record) -> bool:
    """Tell whether every check was judged by the grader, and passed."""
    outcomes = [check.outcome for check in record.checks]
    return (status, outcomes, record.score) == (0, ["passed"] * CHECKS, ALL_POINTS)


def test_a04_a_plugin_beside_the_submission_is_not_loaded(folder: Path) -> None:
    """A distribution that names a pytest plugin, in the current folder, has no say."""
    marker = folder / "loaded"
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')")
    info = folder / "evil-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pytest11]\nevil = evil\n")

    assert judged_whole(*run(folder))
    assert not marker.exists()


def test_a01_configuration_beside_the_submission_is_not_read(folder: Path) -> None:
    """conftest.py, pytest.ini, pyproject.toml and sitecustomize.py of the folder do nothing."""
    marker = folder / "loaded"
    for name in ("conftest.py", "sitecustomize.py", "usercustomize.py", "test_mine.py"):
        (folder / name).write_text(f"open({str(marker)!r}, 'w')")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --collect-only\n")
    (folder / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = "-k nothing"\n')

    assert judged_whole(*run(folder))
    assert not marker.exists()


def test_a13_modules_that_shadow_others_are_the_submissions_alone(folder: Path) -> None:
    """A torch.py or json.py beside the submission neither replaces ours nor runs in our process."""
    marker = folder / "loaded"
    for name in ("torch", "json", "msgspec", "pytest", "grader", "typing"):
        (folder / f"{name}.py").write_text(f"open({str(marker)!r}, 'w')")

    assert judged_whole(*run(folder))
    assert not marker.exists()


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTEST_ADDOPTS": "--collect-only"},
        {"PYTEST_PLUGINS": "nowhere"},
        {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        {"GRADER_CHILD": "mine", "OMP_NUM_THREADS": "1"},
    ],
    ids=lambda v: str(next(iter(v))),
)
def test_a17_variables_of_the_caller_do_not_change_the_run(
    folder: Path, variables: dict[str, str]
) -> None:
    """Options that the environment sets for pytest are left out by `grade`."""
    assert judged_whole(*run(folder, **variables))


def test_a20_an_archive_writes_nowhere_and_links_lead_nowhere(tmp_path: Path) -> None:
    """Names that climb out, links, and files that unpack to gigabytes are not followed."""
    archive = tmp_path / "work.zip"
    link = zipfile.ZipInfo("link.py")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("net.py", NET)
        file.writestr("../../climbed.py", "raise SystemExit")
        file.writestr("/tmp/grader-absolute.py", "raise SystemExit")
        file.writestr(link, "/etc/passwd")
    found = judge(archive, tmp_path / "out", official=False)

    assert found.score == ALL_POINTS or found.fault == "no-code"
    assert not (tmp_path.parent / "climbed.py").exists()
    assert not Path("/tmp/grader-absolute.py").exists()


def test_a20_a_bomb_is_refused(tmp_path: Path) -> None:
    """A small archive of a huge file is the submission's error, told at once."""
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("net.py", io.BytesIO(b"#" * 300_000_000).getvalue())
    found = judge(archive, tmp_path / "out", official=False)

    assert (found.fault, found.score) == ("error", 0)


@pytest.mark.parametrize(
    "line", ["raise ValueError(TEXT)", "os.write(2, TEXT.encode()); os._exit(1)"]
)
def test_a24_what_a_submission_prints_does_not_command_the_terminal(
    tmp_path: Path, line: str
) -> None:
    """Control characters of its errors are shown, not obeyed."""
    source = (
        "import os\nfrom torch import nn\nTEXT = '\\x1b[2J\\x1b]0;mine\\x07'\n"
        f"class Loud(nn.Module):\n    def __init__(self):\n        {line}\nMODEL = Loud()\n"
    )
    (tmp_path / "loud.py").write_text(source, encoding="utf-8")
    graded = grade(tmp_path / "loud.py", tmp_path / "out", "--quick")

    assert graded.outcomes["loads"] == "failed"
    assert "mine" in graded.output
    assert "\x1b" not in graded.output
    assert "\x07" not in graded.output


@pytest.mark.skipif(sys.platform == "win32", reason="FIFOs and devices are POSIX")
def test_a20_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    """A FIFO, a device and a link out of the folder beside a network do not hold up the run."""
    folder = tmp_path / "handed_in"
    folder.mkdir()
    (folder / "net.py").write_text(NET, encoding="utf-8")
    os.mkfifo(folder / "pipe.py")
    (folder / "zero.py").symlink_to("/dev/zero")
    (folder / "out.py").symlink_to(REPO / "pyproject.toml")
    (folder / "loop").symlink_to(folder)
    found = judge(folder, tmp_path / "out", official=False)

    assert found.score == ALL_POINTS or found.fault == "no-code"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not take such names")
@pytest.mark.parametrize("name", ["\x1b[2J\nred.py", "\udcff\udcfe.py", "-q.py"], ids=ascii)
def test_a24_names_of_files_do_not_command_the_terminal(tmp_path: Path, name: str) -> None:
    """Line ends, control characters and bytes that are no text in a name are shown at most."""
    path = tmp_path / "in" / name
    path.parent.mkdir()
    path.write_text(NET, encoding="utf-8")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "grade"), str(path), "--quick", f"--out={tmp_path}"],
        capture_output=True, check=False, cwd=tmp_path,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
    assert b"\x1b" not in done.stdout + done.stderr
    assert len(list(tmp_path.glob("*/record.json"))) == 1
    assert records.load(next(tmp_path.glob("*/record.json"))).score == ALL_POINTS


@pytest.mark.skipif(sys.platform != "linux", reason="/proc and files with holes are Linux's")
@pytest.mark.parametrize("large", ["hole", "link"])
def test_a20_a_file_without_end_holds_up_nobody(tmp_path: Path, large: str) -> None:
    """Neither a terabyte of nothing beside a network nor a link to the machine's memory is read."""
    folder = tmp_path / "handed_in"
    folder.mkdir()
    (folder / "net.py").write_text(NET, encoding="utf-8")
    if large == "hole":
        with (folder / "data.bin").open("wb") as file:
            os.truncate(file.fileno(), 1 << 40)
    else:
        (folder / "data.bin").symlink_to("/proc/kcore")
    found = judge(folder, tmp_path / "out", official=False)

    assert (found.fault, found.score) == (None, ALL_POINTS)
    assert found.record.submission.sha256
