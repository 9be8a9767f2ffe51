"""Settings of all tests."""

import os
import signal
import tempfile

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes, or takes to be made, says more about the machine than about the code.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")

# What one test trains must not spare another one its training, or this machine's user.
os.environ["GRADER_STORE"] = tempfile.mkdtemp(prefix="grader-store-")

# A shell starts what runs in the background with Ctrl-C ignored, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class FailuresAtOnce:
    """Tells of each failure when it happens: a long run may be ended before its summary."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self.terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write the test's name and the last line of what went wrong."""
        if report.failed:
            last = report.longreprtext.strip().rpartition("\n")[2]
            self.terminal.write_line(f"\nFAILED {report.nodeid}: {last}")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Where results are shown, and not in xdist's workers, show failures as they come."""
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailuresAtOnce(terminal))
