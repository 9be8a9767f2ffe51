"""Settings of all tests."""

from hypothesis import HealthCheck, settings

# How long an example takes, or takes to be made, says more about the machine than about the code.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")
