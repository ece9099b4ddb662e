"""After the quiet end of a seed: the ledger against the children's own witness and a count of fire times of its own."""

from simulation import check_rest, check_slots, check_stages, check_work
from simulation.books import Books
from simulation.plan import Plan
from simulation.world import World


def check(world: World, plan: Plan) -> None:
    """One pass over everything; what it finds goes to the chronicle."""
    books = Books(world, plan)
    check_slots.check(books)
    check_work.check(books)
    check_stages.check(books)
    check_rest.check(books)
    for text in world.shelf.violations():
        world.chronicle.violation("ledger", text)
