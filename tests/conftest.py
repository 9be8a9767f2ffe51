"""Settings of all tests."""

import os
import signal
import tempfile

from hypothesis import HealthCheck, settings

# How long an example takes, or takes to be made, says more about the machine than about the code.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")

# What one test trains must not spare another one its training, or this machine's user.
os.environ["GRADER_STORE"] = tempfile.mkdtemp(prefix="grader-store-")

# A shell starts what runs in the background with Ctrl-C ignored, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
