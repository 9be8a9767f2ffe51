"""The pytest plugin: options, guards, fixtures and reporting of `pytest grader --submission PATH`.

Installed as an entry point, because pytest would take the path behind `--submission` for a place
to look for tests if the option were declared in a conftest.py. Without the option it does nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent
DEFAULT_OUT = "grades"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options of a grading run."""
    group = parser.getgroup(
        "grader", "grading an MNIST submission: pytest grader --submission PATH"
    )
    group.addoption(
        "--submission", metavar="PATH",
        help="the submission to grade: a .py file, a notebook, a folder or a .zip",
    )  # fmt: skip
    group.addoption(
        "--quick", action="store_true",
        help="judge everything that needs no training, in seconds",
    )  # fmt: skip
    group.addoption(
        "--rubric", metavar="FILE",
        help="limits, points and time bounds (default: grader/rubrics/mnist.toml)",
    )  # fmt: skip
    group.addoption(
        "--out", metavar="DIR", default=DEFAULT_OUT,
        help="folder for results: DIR/<name>/record.json, plan.json, weights.safetensors (and "
        f"weights-2.safetensors for a second run, and so on) (default: {DEFAULT_OUT})",
    )  # fmt: skip
    group.addoption(
        "--data-dir", metavar="DIR",
        help="read MNIST from a torchvision-style folder instead of the bundled copy",
    )  # fmt: skip
    group.addoption(
        "--model", metavar="NAME",
        help="the class or variable to grade, where a file holds several models",
    )  # fmt: skip
    group.addoption(
        "--official", action="store_true",
        help="refuse to run without every protection a submission must be kept in (grade doctor)",
    )  # fmt: skip
    group.addoption(
        "--recipe", choices=("own", "default"),
        help="train with the submission's own recipe, or with the grader's (default: its own as "
        "far as it has one)",
    )  # fmt: skip
    group.addoption(
        "--seed", metavar="N", type=_seed,
        help="seed of the training (default: made from the submission's plan)",
    )  # fmt: skip
    group.addoption(
        "--runs", metavar="N", type=_runs,
        help="train from N seeds and judge their mean, or as many as the rubric says; as many at "
        "once as there are cores (default: what the rubric says, which is 1)",
    )  # fmt: skip


def _seed(text: str) -> int:
    return _between(0, 2**63 - 1, text)


def _runs(text: str) -> int:
    return _between(1, 1000, text)


def _between(least: int, most: int, text: str) -> int:
    """Read a whole number of the command line; pytest shows the error as one of usage."""
    if not (text.isdecimal() and least <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
    return int(text)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Refuse to go on when configuration or tests would come from anywhere but the grader."""
    options = early_config.known_args_namespace
    if getattr(options, "submission", None) is not None:
        from grader import guard

        guard.check_configuration(early_config.inipath, options.file_or_dir, options.pyargs)


def pytest_configure(config: pytest.Config) -> None:
    """Start the run: read the rubric, check the data, make the folder for results."""
    config.addinivalue_line("markers", "trains: this check needs the network to be trained")
    config.addinivalue_line("markers", "probed: the beginning of a training is enough for it")
    option = config.option
    if option.submission is None or option.help or option.version or option.collectonly:
        return
    from grader import guard
    from grader.session import Grading

    guard.check_plugins(config.pluginmanager)
    guard.check_processes(getattr(option, "numprocesses", None))
    config.pluginmanager.register(Grading.start(config), "grader-session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Stop when the checks are collected without anything to check."""
    checks = [item for item in items if PACKAGE / "checks" in item.path.parents]
    if checks and config.option.submission is None and not config.option.collectonly:
        raise pytest.UsageError(
            "the grader's checks need a submission: pytest grader --submission PATH"
        )
