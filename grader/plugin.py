"""The pytest plugin of `pytest grader --submission PATH`: a thin adapter, without any judging.

Installed as an entry point, because pytest would take the path behind `--submission` for a place
to look for tests if the option were declared in a conftest.py. It is therefore loaded in every
run of pytest in its environment, and does nothing in those that grade nothing: other projects may
have options of the same names.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from grader import guard
from grader.options import OPTIONS


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the options of a grading run, in a grading run."""
    config = pluginmanager.get_plugin("pytestconfig")
    assert isinstance(config, pytest.Config)  # pytest registers it before any plugin is loaded
    if guard.is_about_grading(config.invocation_params.args):
        group = parser.getgroup(
            "grader", "grading an MNIST submission: pytest grader --submission PATH"
        )
        for option in OPTIONS:
            group.addoption(option.name, **option.arguments)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> None:
    """Refuse to go on when anything but the grader would configure a grading run."""
    if guard.is_grading(early_config.invocation_params.args):
        guard.protect(early_config, parser, args)
        # Not before: until then, what is imported may come from the current folder.
        from grader.interruptions import INTERRUPTIONS, Interruptions

        interruptions = early_config.stash[INTERRUPTIONS] = Interruptions(early_config)
        early_config.pluginmanager.register(interruptions, "grader-interruptions")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start a grading run: read the rubric, check the data, make the folder for results."""
    option = config.option
    if option.help or option.version:
        return
    if not guard.is_grading(config.invocation_params.args):
        if config.inipath is not None and config.inipath.resolve() == guard.INI:
            raise pytest.UsageError(
                f"the grader's checks need a submission\n  try: {guard.grade_command(Path('PATH'))}"
            )
        return
    from grader.items import GRADING, Collection
    from grader.session import Grading
    from grader.submissions import INTAKE, named

    config.addinivalue_line("markers", "trains: this check needs the network to be trained")
    guard.check_processes(config)
    # The summary tells each failure once, last; pytest's own lists only if somebody asks for them.
    option.tbstyle = "no" if option.tbstyle == "auto" else option.tbstyle
    option.reportchars = "" if option.reportchars == "fE" else option.reportchars
    config.args, option.pyargs = [str(guard.CHECKS)], False
    config.stash[INTAKE] = named(config)
    config.pluginmanager.register(Collection(config), "grader-collection")
    if not option.collectonly:
        config.stash[GRADING] = Grading.start(config)
        config.pluginmanager.register(config.stash[GRADING], "grader-session")
