"""Maximum matching between two sides of a graph, by Hopcroft and Karp. Knows nothing of what the sides are."""

from collections import deque
from collections.abc import Sequence


def maximum_matching(
    edges: Sequence[Sequence[int]], right_count: int, first: Sequence[int] = ()
) -> list[int | None]:
    """For each left vertex the right one it is matched with, None for those left over; as many as can be.

    `edges[left]` are the right vertices it may have. Those of `first` are matched before the others, and stay
    matched: an augmenting path never frees a vertex, so of them as many as can be are matched too.
    """
    graph = _Graph(edges, right_count)
    graph.grow(set(first))
    graph.grow(set(range(len(edges))))
    return graph.partner_of_left


class _Graph:
    def __init__(self, edges: Sequence[Sequence[int]], right_count: int) -> None:
        self._edges = edges
        self.partner_of_left: list[int | None] = [None] * len(edges)
        self._partner_of_right: list[int | None] = [None] * right_count

    def grow(self, roots: set[int]) -> None:
        """Augment along shortest paths that begin at free vertices of `roots`, until there is none."""
        while True:
            layer = self._layers(roots)
            found = [self._augment(root, layer) for root in sorted(roots) if layer.get(root) == 0]
            if not any(found):
                return

    def _layers(self, roots: set[int]) -> dict[int, int]:
        """Distance of each left vertex from a free root, in pairs of steps."""
        layer = {left: 0 for left in sorted(roots) if self.partner_of_left[left] is None}
        waiting = deque(layer)
        while waiting:
            left = waiting.popleft()
            for right in self._edges[left]:
                owner = self._partner_of_right[right]
                if owner is not None and owner not in layer:
                    layer[owner] = layer[left] + 1
                    waiting.append(owner)
        return layer

    def _augment(self, root: int, layer: dict[int, int]) -> bool:
        """One path from a free root to a free right vertex, along the layers; on a stack of our own."""
        path: list[tuple[int, int]] = []  # (left, right) of the steps taken so far
        stack = [(root, iter(self._edges[root]))]
        while stack:
            left, choices = stack[-1]
            for right in choices:
                owner = self._partner_of_right[right]
                if owner is None:
                    for one, other in [*path, (left, right)]:
                        self.partner_of_left[one] = other
                        self._partner_of_right[other] = one
                    return True
                if layer.get(owner) == layer[left] + 1:
                    path.append((left, right))
                    stack.append((owner, iter(self._edges[owner])))
                    break
            else:
                stack.pop()
                layer.pop(left, None)  # leads nowhere in this phase
                if path:
                    path.pop()
        return False
