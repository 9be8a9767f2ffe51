"""What stops a run from outside: Ctrl-C, a signal, a time limit. It ends in words, not stacks."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

import pytest

from grader.errors import Interrupted, stopped_by

_Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None
_SIGNALS = ("SIGTERM", "SIGHUP")  # of a cluster at its time limit, of a terminal that is closed


class _Settings(Protocol):
    """What pytest-timeout says of a time limit."""

    timeout: float


class Interruptions:
    """Registered as a plugin for one run; `note` is told what stopped it, once it has begun."""

    def __init__(self, config: pytest.Config) -> None:
        self.note: Callable[[str], None] | None = None
        self._config = config
        self._limit = ""
        self._timer: threading.Timer | None = None
        for name in _SIGNALS:
            if number := getattr(signal, name, None):
                config.add_cleanup(_restorer(number, signal.signal(number, self._interrupt)))

    def _interrupt(self, number: int, _: object) -> None:
        raise Interrupted(self._limit or signal.Signals(number).name)

    @pytest.hookimpl(optionalhook=True)
    def pytest_timeout_set_timer(self, settings: _Settings) -> bool:
        """Stop the whole run at the time limit, where pytest-timeout would print all stacks."""
        self._timer = threading.Timer(settings.timeout, self._end, [settings.timeout])
        self._timer.daemon = True
        self._timer.start()
        return True

    def _end(self, seconds: float) -> None:
        self._limit = f"the time limit of {seconds:g} s"
        _thread.interrupt_main(signal.SIGTERM)

    @pytest.hookimpl(optionalhook=True)
    def pytest_timeout_cancel_timer(self) -> bool:
        """Forget the time limit of a check that has ended."""
        if self._timer is not None:
            self._timer.cancel()
        return True

    @pytest.hookimpl(trylast=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note what stopped the run, and let pytest say that and nothing else."""
        words = stopped_by(excinfo.value)
        if self.note is None:  # pytest would end without a word
            print(words, file=sys.stderr)
            return
        self.note(words)
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        told = getattr(reporter, "_keyboardinterrupt_memo", None)
        if told is not None:
            told.reprcrash.message = words


INTERRUPTIONS = pytest.StashKey[Interruptions]()


def _restorer(number: int, handler: _Handler) -> Callable[[], None]:
    def restore() -> None:
        signal.signal(number, handler)

    return restore
