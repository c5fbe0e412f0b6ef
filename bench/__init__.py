"""Measurements of speed: ratios within one run, never asserted in tests."""
