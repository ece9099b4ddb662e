"""The matching of the fault tests' checker: as large as brute force finds, and the first ones first."""

from itertools import combinations, permutations

import pytest
from acceptance.faults.kit.matching import maximum_matching
from hypothesis import given
from hypothesis import strategies as st

GRAPHS = st.integers(0, 5).flatmap(
    lambda right: st.tuples(
        st.lists(st.lists(st.integers(0, max(right - 1, 0)), unique=True, max_size=right), max_size=5),
        st.just(right),
    )
)


def can_match(edges: list[list[int]], lefts: tuple[int, ...], right_count: int) -> bool:
    return any(
        all(right in edges[left] for left, right in zip(lefts, rights, strict=True))
        for rights in permutations(range(right_count), len(lefts))
    )


def best(edges: list[list[int]], lefts: list[int], right_count: int) -> int:
    return max(
        size
        for size in range(len(lefts) + 1)
        if any(can_match(edges, chosen, right_count) for chosen in combinations(lefts, size))
    )


@given(GRAPHS, st.data())
def test_it_is_as_large_as_can_be_and_prefers_the_first(
    graph: tuple[list[list[int]], int], data: st.DataObject
) -> None:
    edges, right_count = graph
    lefts = list(range(len(edges)))
    first = data.draw(st.lists(st.sampled_from(lefts), unique=True)) if lefts else []
    found = maximum_matching(edges, right_count, first)
    pairs = {left: right for left, right in enumerate(found) if right is not None}
    assert all(right in edges[left] for left, right in pairs.items())
    assert len(set(pairs.values())) == len(pairs)
    assert len(pairs) == best(edges, lefts, right_count)
    assert sum(left in pairs for left in first) == best(edges, first, right_count)


@pytest.mark.parametrize("shift", [0, 1])
def test_a_long_chain_of_exchanges_is_followed(shift: int) -> None:
    """Each of 3,000 wants its own or the next one; one right vertex is missing or there is just enough."""
    count = 3_000
    edges = [[right for right in (left, left + 1) if right < count - 1 + shift] for left in range(count)]
    found = maximum_matching(edges, count - 1 + shift)
    assert sum(right is not None for right in found) == count - 1 + shift
