"""Hostile and honest submissions in one run: each gets the verdict it would get alone.

`cases/attacks` holds one file, or more, for each way to fool or break a grader; `cases/honest`
what looks like one and is none. The first lines of a file say what must come of it: `fault` (`any`
if it may fall in several ways, or do nothing), `fails`: the checks (`loads` if there is a fault,
else none), `score`: the points (all 60 that need no training, if it says nothing), `told`: words of
the problem, `notes`: of a note. A file without a network is put in front
of one that calls its `attack()` while it is built.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import psutil
import pytest

from grader import forks, process
from grader.sandbox import doctor
from tests.judging import Judged, judge
from tests.processes import runs

CASES = Path(__file__).parent / "cases"
ATTACKS = sorted((CASES / "attacks").glob("*.py"))
HONEST = sorted((CASES / "honest").glob("*.py"))
ALL_POINTS = 60.0
AT_ONCE = 4

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(doctor.held().lacks), reason="this machine gives no whole box"),
]


def expected(path: Path, key: str, default: str = "") -> str:
    """Return what the head of a case says under a key."""
    found = re.search(rf"^# {key}: (.*)$", path.read_text(encoding="utf-8"), re.M)
    return found[1] if found else default


def complete(path: Path, folder: Path) -> Path:
    """Write the submission that a case makes."""
    text = path.read_text(encoding="utf-8")
    if "class Net" not in text:
        text = (CASES / "net.txt").read_text(encoding="utf-8").replace("#ATTACK", text)
    made = folder / path.name
    made.write_text(text, encoding="utf-8")
    return made


def may_fail(path: Path) -> list[set[str]]:
    """Return the sets of checks that a case may fail.

    One, if it does not say `fault: any`, or which check is `open`, because draws decide it.
    """
    fails, fault = set(expected(path, "fails").split()), expected(path, "fault")
    if fails:
        return [fails, fails | set(expected(path, "open").split())]
    return [set(), {"loads"}] if fault == "any" else [{"loads"}] if fault else [set()]


@dataclass(frozen=True)
class Graded:
    """What came of all cases, and what was left on the machine when they were done."""

    judged: dict[Path, Judged]
    processes: list[str]
    networks: set[int]
    files: list[Path]


@pytest.fixture(scope="module", params=["new", "forked"])
def graded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Graded]:
    """Judge all cases in one run, several at a time, the hostile among the honest.

    Once each in new processes, as one submission is, and once in forks of loaded ones, as a class
    is.
    """
    folder, temporary = tmp_path_factory.mktemp("cases"), tmp_path_factory.mktemp("temporary")

    def one(path: Path) -> Judged:
        return judge(
            complete(path, folder), folder / "grades",
            seconds=float(expected(path, "seconds", "300")),
            megabytes=int(expected(path, "megabytes", "3000")),
        )  # fmt: skip

    mixed = [path for path in chain(*zip_longest(ATTACKS, HONEST)) if path is not None]
    before = networks()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(temporary))  # for the launchers, which see no other folder
        kinds = forks.KINDS if request.param == "forked" else ()
        with process.loaded(*kinds), ThreadPoolExecutor(AT_ONCE) as pool:
            judged = dict(zip(mixed, pool.map(one, mixed), strict=True))
        children = [str(child) for child in psutil.Process().children(recursive=True)]
        yield Graded(judged, children, networks() - before, list(temporary.iterdir()))


@pytest.fixture(scope="module")
def judged(graded: Graded) -> dict[Path, Judged]:
    """Return what came of all cases."""
    return graded.judged


def networks() -> set[int]:
    """Return the network namespaces that processes are in, but for boxes of other graders."""
    found = set()
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            above = [each, *each.parents()]
            if not any(runs(p, "grader.sandbox.launch") for p in above):
                found.add(Path(f"/proc/{each.pid}/ns/net").stat().st_ino)
    return found


@pytest.mark.parametrize("path", ATTACKS, ids=lambda path: str(path.stem))
def test_an_attack_gets_its_verdict(path: Path, judged: dict[Path, Judged]) -> None:
    """It does not get out, fails as it must, and earns no more than its network does."""
    found = judged[path]
    fault = expected(path, "fault")
    points = expected(path, "score", "" if expected(path, "fails") else str(ALL_POINTS))
    told = str(found.record.problem)

    assert "ESCAPED" not in told
    assert found.fault != "grader", told
    assert found.record.sandbox.missing == []
    assert fault in ("any", found.fault or ""), told
    assert found.failed in may_fail(path), (found.outcomes, told)
    assert expected(path, "told") in told
    assert found.score <= float(points or ALL_POINTS)
    assert fault == "any" or not points or found.score == float(points), (found.outcomes, told)
    assert expected(path, "notes") in " ".join(found.record.notes)


@pytest.mark.parametrize("path", HONEST, ids=lambda path: str(path.stem))
def test_an_honest_submission_is_not_suspected(path: Path, judged: dict[Path, Judged]) -> None:
    """Whatever is graded at the same time, it passes every check."""
    found = judged[path]

    assert found.record.problem is None
    assert set(found.outcomes.values()) == {"passed"}, found.record
    assert found.score == ALL_POINTS
    assert expected(path, "notes") in " ".join(found.record.notes)


def test_nothing_is_left_of_any_of_them(graded: Graded) -> None:
    """No process, no network namespace and no temporary file outlives the run."""
    assert (graded.processes, graded.networks, graded.files) == ([], set(), [])


def test_there_are_cases_enough() -> None:
    """At least thirty near misses stand beside the attacks."""
    assert len(HONEST) >= 30
    assert len(ATTACKS) >= 40
