"""What `grade` says to a command line that it cannot use."""

import pytest

from grader import cli


def test_an_option_before_the_path_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """`grade --out marks net.py` says that the path comes first; exit status 4."""
    assert cli.run(["--out", "marks", "net.py"]) == 4

    said = capsys.readouterr().err
    assert "comes first" in said
    assert "found --out" in said
