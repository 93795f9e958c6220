"""The pictures of states in architecture.md are those of the tables, and the tables are whole."""

from __future__ import annotations

import pytest
from tidy import states


@pytest.mark.parametrize("thing", states.MACHINES)
def test_each_state_is_reached_and_has_a_way_out(thing):
    prefix, source, header = states.MACHINES[thing]
    table = states.table((states.ENGINE / source).read_text(encoding="utf-8"), prefix)
    says = states.meanings((states.ENGINE / header).read_text(encoding="utf-8"), prefix)
    assert list(table) == list(says), "the table has the states of the enum, in their order"
    others = [*table][1:]
    assert set(others) <= {target for targets in table.values() for target in targets}
    assert [state for state, targets in table.items() if not targets] == [[*table][-1]]


def test_the_pictures_in_the_page_are_those_of_the_tables():
    page = states.PAGE.read_text(encoding="utf-8")
    assert page == states.replaced(page), "python tests/tidy/states.py --write"


def test_a_picture_that_is_not_the_tables_is_seen(monkeypatch):
    page = states.PAGE.read_text(encoding="utf-8")
    wrong = page.replace("    ACTIVE --> DRAINING\n", "")
    assert wrong != page
    assert states.replaced(wrong) == page
