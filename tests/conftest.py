"""Hypothesis measures no time: a busy machine is no fault of the code."""

from hypothesis import settings

settings.register_profile("turbobatch", deadline=None)
settings.load_profile("turbobatch")
