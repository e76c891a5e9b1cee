"""Simulated specimens that look like BIOSCAN-5M: one file per stage, run by `tools/make_sample.py`."""
