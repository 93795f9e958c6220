"""The simulation itself: fixed seeds break no law, a run can be had again to the last step, and
what is planted is found. ``ZM_SIMULATION_SEEDS`` tries more seeds, from one that nobody has tried.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
from pathlib import Path

import pytest

from simulation import timeline
from simulation.build import ROOT, WORLD, Fault, NoCompiler, build
from simulation.canaries import CANARIES, MARK, find
from simulation.case import Case, execute, with_less
from simulation.case import run as run_case
from simulation.scale import measure
from simulation.seeds import named
from simulation.shrink import Shrinker, size_of

FIXED = 60
LAW = r'sim_broken\(\s*"([^"]+)"'
#: The first test of a session compiles the engine, and others wait for it.
pytestmark = pytest.mark.timeout(600)
DRIVERS = {"epoll": 0, "io_uring": 1, "older-io_uring": 2}


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    """One for all of pytest's workers: what one has compiled the others link."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "simulation"


@pytest.fixture(scope="session")
def program(store):
    try:
        return build(store=store)
    except NoCompiler as why:
        pytest.skip(str(why))


def run(program: Path, *arguments: object) -> str:
    command = [str(program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def test_fixed_seeds_break_no_law(program):
    count = int(os.environ.get("ZM_SIMULATION_SEEDS", FIXED))
    first = random.randrange(2**40) if count > FIXED else 1
    assert f"{count} seeds from {first}, 0 with a broken law" in run(
        program, "--seed", first, "--count", count, "--quiet"
    )


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_run_is_the_same_again(program, driver, tmp_path):
    said, traces = [], []
    for again in range(2):
        trace = tmp_path / str(again)
        said.append(
            run(program, "--seed", 7, "--driver", DRIVERS[driver], "--steps", "--trace", trace)
        )
        traces.append(trace.read_text())
    assert "fingerprint" in said[0]
    assert said[0] == said[1]
    assert traces[0] == traces[1]


@pytest.mark.parametrize("one", named(), ids=lambda one: one.name.replace(" ", "-"))
def test_what_was_found_once_breaks_no_law(program, one):
    outcome = run_case(program, one.case)
    assert outcome.law is None, f"{outcome.said}\n{one.story}"


def fingerprint(said: str) -> str:
    return said.rpartition("fingerprint ")[2].strip()


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_list_of_its_choices_is_the_run_again(program, driver):
    """Without the seed's chance of who runs and what fails: by the list alone."""
    case = Case(7, driver=DRIVERS[driver])
    outcome = run_case(program, case)
    assert len(outcome.choices) > 20
    again = with_less(case, f"only={','.join(outcome.choices)}")
    assert fingerprint(execute(program, again)) == fingerprint(outcome.said)
    plain = with_less(case, "only=")
    assert run_case(program, plain).choices == ()


def test_what_is_left_out_is_not_there(program):
    """What is not left out is drawn anew, so one run may have more of it."""
    cases = [Case(seed) for seed in range(10)]
    whole = [size_of(run_case(program, case)) for case in cases]
    less = [size_of(run_case(program, with_less(case, "service0=0 hosts=1"))) for case in cases]
    assert max(size.hosts for size in less) <= 1
    assert sum(size.sockets for size in less) < sum(size.sockets for size in whole)


def test_a_planted_fault_is_shrunk_to_what_it_needs(program, store):
    canary = next(canary for canary in CANARIES if MARK in canary.laws)
    faulty = build((canary.fault,), store)
    less = "burst=0"  # a burst has many messages, and needs all of them
    seed = find(canary, store, less=less)
    assert seed is not None
    case = with_less(Case(seed, driver=canary.driver), less)
    shrinker = Shrinker(faulty, case, tries=1500)
    before = size_of(shrinker.first)
    small = shrinker.shrink()
    after = size_of(small)
    assert small.law == shrinker.first.law
    assert before.sockets >= after.sockets <= 4
    assert before.messages >= after.messages <= 50
    assert before.choices >= after.choices <= 20
    # The one line says it all: another process breaks the same law at the same step.
    again = run_case(faulty, with_less(Case(seed, small.case.luck, canary.driver), small.case.less))
    assert again.said == small.said


@pytest.mark.parametrize("brokers", [0, 3])
def test_many_hosts_are_the_same_again(program, brokers):
    once, again = (measure(program, peers=30, brokers=brokers, messages=5) for _ in range(2))
    assert once == again
    assert once["rate"] > 0


@pytest.mark.parametrize("canary", CANARIES, ids=lambda canary: canary.name.replace(" ", "-"))
def test_what_is_planted_is_found(program, store, canary):
    assert find(canary, store) is not None


def test_a_fault_has_to_find_its_place():
    with pytest.raises(ValueError, match="no such place"):
        Fault("pipe/peer.c", "nothing that is there", "").text()


def test_the_page_lists_all_laws():
    said = {law for file in WORLD.glob("*.c") for law in re.findall(LAW, file.read_text())}
    page = (ROOT / "docs" / "internals" / "simulation.md").read_text()
    listed = set(re.findall(r"^\| ([^|]+) \|[^|]*\|[^|]*\|$", page, re.MULTILINE))
    assert said - listed == set()


def test_the_timeline_shows_the_sockets_that_the_law_names(program, tmp_path):
    trace = tmp_path / "trace"
    run(program, "--seed", 7, "--trace", trace)
    text = trace.read_text()
    verdict = "BROKEN a law: socket 0: it is named\n"
    shown = timeline.for_a_person(text, verdict)
    assert "socket 0: type" in shown
    assert len(shown) < len(text)
    assert timeline.picture(text, verdict).count("<path") > 1
