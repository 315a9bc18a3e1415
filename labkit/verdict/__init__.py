"""Judges a run: checkers, steady state, findings, the result."""
