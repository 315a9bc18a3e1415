"""Which real clusters there are, for tests that hold for each."""

from __future__ import annotations

import pytest

LABS = {"embedded": "lab", "cockroachdb": "containers", "cockroach-binary": "processes"}
"""Backends, and the session fixtures of tests/conftest.py that run them."""

REAL_CLUSTERS = [
    pytest.param("embedded", marks=pytest.mark.cluster),
    pytest.param("cockroachdb", marks=pytest.mark.docker),
    pytest.param("cockroach-binary", marks=(pytest.mark.cluster, pytest.mark.long)),
]
