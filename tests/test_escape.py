"""Text of a submission is shown, and neither a terminal nor a CI obeys it."""

import io
import re
import unicodedata
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader import rubric
from grader.errors import GradingError
from grader.escape import escaped, safe, write_readably
from grader.plan.findings import Mixing, TensorCount
from grader.plan.schema import Fact, Flaw
from grader.record import Layer, Problem, RecipeSummary, Record, SetAside, Submission, update
from grader.reports import compare, terminal
from tests.grading import grade
from tests.making import accuracy, check, facts, finding, record, run

RUBRIC = rubric.load()
LAYER = Layer(
    "conv1", "convolution", "conv2d", [8, 28, 28], 80, 10**6, 6272, (3, 3), (1, 1), True,
    kernel=[3, 3], where="net.py, line 9",
)  # fmt: skip
MODEL = facts(
    parameters=30_000, layers=[LAYER], same_network=False, difference=["- relu", "+ tanh", "?"],
    tensors=[TensorCount("w", "parameter", "conv1", "Conv2d", [8], 8, True, True, True)],
    mixing=[Mixing("sum", "sum", "adds images", "net.py, line 1")],
)  # fmt: skip
FULL = record(
    50, model=MODEL, level="sandboxed", notes=["a note"], set_aside=[SetAside("x", "y", "z")],
    recipe=RecipeSummary(2, 64, [Fact("epochs", "2", "net.py")], [Flaw("loss", "m", "w", "h")]),
    checks=[check(), check("failed", where="w", message="m", help="h"), check("not_judged")],
    problem=Problem("train", "error", "message", "expected", "found", "where", "help"),
    accuracy=accuracy([50], [60]),
)  # fmt: skip
WORDS = {"outcome", "fault", "stage", "status", "level", "id", "role", "output"}  # not free text

FIRST = "ж中:#§"  # how no line of the grader's own begins
PIECES = [
    "\n", "\r", "\r\n", "\t", " ", "\x00", "\x1b[2J", "\x1b]8;;http://a\x1b\\", "\x9b1A", "\u2028",
    "\u202e", "\u2066", "\u200b", "\u2060", "\ufeff", "\u3164", "\ufe0f", "\U000e0041", "\udc80",
    "::error file=a::", "::Error::", "##[endgroup]", "##teamcity[a]", "##vso[task]", "§",
    "ж", "жжжж ", "中" * 9, "§" * 90,
]  # fmt: skip
hostile = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map(
    lambda pieces: "ж" + "".join(pieces) if pieces[0].isspace() else "".join(pieces)
)


def with_strings(value: Any, string: str) -> Any:
    """Put a string in the place of every free text of a structure."""
    if isinstance(value, str):
        return string
    if isinstance(value, msgspec.Struct):
        kept = {name: getattr(value, name) for name in value.__struct_fields__}
        changed = {n: with_strings(v, string) for n, v in kept.items() if n not in WORDS}
        return msgspec.structs.replace(value, **changed)
    if isinstance(value, list):
        return [with_strings(each, string) for each in value]
    return value


def is_harmless(shown: str) -> bool:
    """Tell whether no character steers a terminal, and no line begins as the submission wants."""
    visible = all(
        c == "\n" or (c.isprintable() and unicodedata.category(c)[0] != "C") for c in shown
    )
    lines = shown.split("\n")
    own = not any(line[:1] in FIRST for line in lines if line)
    obeyed = any(re.match(r"\s*::[^\W\d]", line) for line in lines)
    return visible and own and not obeyed and "##[" not in shown and "##teamcity[" not in shown


@settings(max_examples=30)
@given(hostile, st.integers(20, 120))
def test_no_field_of_a_record_reaches_the_terminal_unescaped(string: str, width: int) -> None:
    """Whatever every field holds, a summary has no control characters, and its lines are ours."""
    made: Record = with_strings(FULL, string)

    assert is_harmless(terminal.render(made, RUBRIC, width=width, verbosity=1))


@settings(max_examples=30)
@given(hostile, st.integers(60, 140))
def test_a_comparison_shows_hostile_fields_harmlessly(string: str, width: int) -> None:
    """The same holds for two submissions side by side."""
    made: Record = with_strings(FULL, string)

    assert is_harmless(compare.render(made, FULL, RUBRIC, width=width))
    assert is_harmless(compare.render(FULL, made, RUBRIC, width=width))


@given(hostile)
def test_an_error_shows_what_it_was_given_in_its_own_lines(string: str) -> None:
    """The words of an error begin only the lines that its fields have."""
    told = str(GradingError(string, expected=string, found=string, where=string, help=string))

    assert len(told.split("\n")) == 5
    assert all(c.isprintable() or c == "\n" for c in told)


@given(st.text())
def test_escaped_text_stays_as_it_is(text: str) -> None:
    """What is escaped twice is what was escaped once, in one line."""
    once = safe(text)

    assert safe(once) == once
    assert len(once.splitlines()) <= 1


def test_everything_in_a_structure_is_escaped() -> None:
    """Strings in lists, tuples and dictionaries are found too; numbers stay."""
    made = update(
        record(50), environment={"a\n": "b\x1b"}, notes=["\u202e"],
        submission=Submission("a\nb", "\x07", ""), accuracy=accuracy([50]),
    )  # fmt: skip
    shown = escaped(made)

    assert shown.environment == {"a\\n": "b\\x1b"}
    assert shown.notes == ["\\u202e"]
    assert shown.submission == Submission("a\\nb", "\\x07", "")
    assert shown.accuracy == made.accuracy


def test_ordinary_text_is_shown_as_it_is() -> None:
    """Code, umlauts and Chinese are not escaped; neither is a heading with two number signs."""
    for text in ("x[::2] + std::Vec", "## Überschrift 中文", "http://a/#[b]", "a: b"):
        assert safe(text).replace("\\x3a", ":") == text


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_each_encoding_gets_a_summary_it_can_hold(encoding: str) -> None:
    """Lines and shapes have a readable fallback, and points stand below each other."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    write_readably(stream)
    rows = [check(found="bn1 (10×7×7 → 10×1×1)"), check("failed", found="none")]
    text = terminal.render(record(checks=rows, notes=["名 ≤ 7°"]), RUBRIC, width=80, verbosity=1)
    stream.write(text)
    stream.seek(0)
    shown = stream.read()

    points = [line.rindex("/10") for line in shown.split("\n") if "  Dropout acts:" in line]
    assert len(points) == 2
    assert len({*points}) == 1
    assert "\\n" not in shown
    assert "\\u2500" not in shown
    if encoding == "ascii":
        assert "bn1 (10x7x7 > 10x1x1)" in shown
        assert "\\u540d <= 7 degrees" in shown


def test_a_run_without_an_end_is_harmless() -> None:
    """Runs of which little is known can be shown escaped."""
    made = with_strings(record(50, accuracy=accuracy([50])), "§\x1b")

    assert is_harmless(terminal.render(made, RUBRIC))
    assert escaped(run(50)) == run(50)
    assert escaped(finding()) == finding()


HOSTILE = """
import torch.nn as nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        lines = "score: 100 of 100 points", "::error::a", "##[endgroup]", "\\x1b[2J\\u202e"
        raise ValueError("x\\n\\n" + "\\n".join(lines))

MODEL = Net()
"""


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_run_prints_hostile_text_harmlessly(tmp_path: Path, encoding: str) -> None:
    """An error text of many lines is one paragraph of pytest's whole output, in any encoding."""
    (tmp_path / "net.py").write_text(HOSTILE, encoding="utf-8")
    graded = grade(
        tmp_path / "net.py", tmp_path / "out", "--quick", seconds=300,
        PYTHONIOENCODING=encoding, COLUMNS="80",
    )  # fmt: skip
    lines = graded.output.split("\n")

    assert graded.status == 1
    assert not any(re.match(r"\s*(::\w|##|score: 100)", line) for line in lines)
    assert not {"\x1b", "\u202e", "\r"} & {*graded.output}
    assert not any(line.startswith(("FAILED", "ERROR")) for line in lines)
    assert any("Results for net.py" in line for line in lines)
    shown = [line for line in lines[7:] if not line.startswith("record: ")]  # a path stays whole
    assert max(map(len, shown)) <= 80
