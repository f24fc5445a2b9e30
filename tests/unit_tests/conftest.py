"""Hypothesis draws the same examples in every run, and times none of them."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "steady",
    database=None,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")
