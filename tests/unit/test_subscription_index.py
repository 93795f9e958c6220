"""The subscription index (route/subscription_index.c) against a naive model, and where it is large.

Source of the rules: S-74 to S-76, S-88.
"""

from __future__ import annotations

import random

import pytest
from support.c import build_program, run_program

SOURCES = ("route/subscription_index.c", "base/alloc.c", "base/check.c")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return build_program(tmp_path_factory.mktemp("c"), "index_model", "index_model.c", *SOURCES)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return build_program(tmp_path_factory.mktemp("c"), "index_large", "index_large.c", *SOURCES)


@pytest.mark.parametrize("seed", [1, 2, 3, "random"])
def test_the_index_and_a_naive_list_agree_whatever_is_done(model, seed):
    """Random additions, removals, departures and matches, some of them without memory."""
    number = random.randrange(1, 2**32) if seed == "random" else seed
    assert run_program(model, number, 10_000).startswith(f"seed {number}")


def test_deep_and_wide_indexes_work_and_leave_nothing(large):
    """200 kB topics, 2000 nested prefixes, 256 children, 5000 peers of one topic."""
    run_program(large)


def test_a_match_costs_the_same_however_many_topics_there_are(large):
    """50000 topics against 10: a bound that only a search through the topics exceeds."""
    few, many = map(float, run_program(large, "cost").split())
    assert many < 20 * few, (few, many)
