"""When children must next be looked at, soonest first. A child has one deadline at a time, its `deadline_ms`."""

import heapq

from workerd.spawner.child import Child


class Deadlines:
    """A heap that forgets lazily: an entry counts only while its child still has that deadline."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Child]] = []
        self._count = 0  # keeps equal deadlines in order and children from being compared
        self._set = 0  # how many children have one

    def set(self, child: Child, deadline_ms: int) -> None:
        """Replace the child's deadline; 0 = none."""
        self._set += bool(deadline_ms) - bool(child.deadline_ms)
        child.deadline_ms = deadline_ms
        if not deadline_ms:
            return
        self._count += 1
        heapq.heappush(self._heap, (deadline_ms, self._count, child))
        if len(self._heap) > 2 * self._set + 64:  # children that ended long before their timeout
            self._heap = [entry for entry in self._heap if entry[2].deadline_ms == entry[0]]
            heapq.heapify(self._heap)

    def next_ms(self) -> int | None:
        """The soonest deadline; None when there is none."""
        while self._heap:
            deadline_ms, _, child = self._heap[0]
            if child.deadline_ms == deadline_ms:
                return deadline_ms
            heapq.heappop(self._heap)
        return None

    def pop_due(self, clock_ms: int) -> Child | None:
        """A child whose deadline has come, which it no longer has then; None when there is none."""
        due = self.next_ms()
        if due is None or due > clock_ms:
            return None
        child = heapq.heappop(self._heap)[2]
        self.set(child, 0)
        return child
