"""What goes wrong in a seed, and what callers ask for meanwhile; all of it drawn from the seed."""

from collections.abc import Callable
from datetime import timedelta

from msgspec.structs import replace
from simulation.leader_shell import LeaderProcess
from simulation.table import any_job, definition
from simulation.worker_shell import WorkerProcess
from simulation.world import BEGIN, World

from schedulerd.core.requests import (
    CancelRun,
    DeleteJob,
    PauseJob,
    PutJob,
    ResumeJob,
    TriggerJob,
)
from schedulerd.model.job import Job


class Chaos:
    """Faults and callers of one world, until `calm`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world.rng
        self.is_over = False
        self._requests = 0
        network = world.network
        network.loss = self.rng.choice((0.0, 0.01, 0.08))
        network.repeat = self.rng.choice((0.0, 0.02, 0.1))
        network.slow = self.rng.choice((0.0, 0.02, 0.1))
        self._pace = self.rng.choice((4.0, 9.0, 20.0))  # seconds between two faults, on average

    def begin(self) -> None:
        """From now on."""
        self._next_fault()
        self._next_request()

    def begin_callers(self) -> None:
        """Callers alone, and no faults."""
        self._next_request()

    def calm(self) -> None:
        """The faults stop: everything is started, goes on and is connected again."""
        world, agenda = self.world, self.world.agenda
        self.is_over = True
        world.chronicle.log("world", "the faults stop")
        network = world.network
        network.loss = network.repeat = network.slow = 0.0
        network.heal_all()
        for process in (*world.leaders, *world.workers):
            process.fuse = None
            if isinstance(process, LeaderProcess):
                process.stall = process.ambush = None
                process.disk_fault = ""
            process.unpause()
            if not process.is_alive:
                process.start()
        world.listed = {worker.address: worker for worker in world.workers}
        world.discover()
        agenda.after(1.2, world.look_at_links)

    # ---- faults

    def _next_fault(self) -> None:
        if not self.is_over:
            self.world.agenda.after(self.rng.expovariate(1 / self._pace), self._fault)

    def _fault(self) -> None:
        if self.is_over:
            return
        faults: list[Callable[[], None]] = [
            self._kill_leader,
            self._kill_leader,
            self._stop_leader,
            self._stall_leader,
            self._depose_leader,
            self._fail_disk,
            self._kill_worker,
            self._kill_worker,
            self._stop_worker,
            self._lose_helper,
            self._drain_worker,
            self._cut,
            self._cut,
            self._unlist,
            self._set_clock,
        ]
        self.rng.choice(faults)()
        self._next_fault()

    def _leader(self) -> LeaderProcess:
        holder = self.world.holder
        return (
            holder if holder is not None and self.rng.random() < 0.9 else self.rng.choice(self.world.leaders)
        )

    def _worker(self) -> WorkerProcess:
        return self.rng.choice(self.world.workers)

    def _kill_leader(self) -> None:
        """At once, or between two effects soon."""
        leader = self._leader()
        if self.rng.random() < 0.3:
            leader.crash()
            self.world.look_at_links()
        else:
            leader.fuse = self.rng.randrange(12)
        self.world.agenda.after(self.rng.choice((0.5, 3.0, 8.0, 25.0)), self._start_leader, leader)

    def _start_leader(self, leader: LeaderProcess) -> None:
        if not leader.is_alive:
            leader.start()
            if self.world.holder is leader and self.rng.random() < 0.7:
                self.world.elect(leader)
            self.world.agenda.after(0.1, self.world.look_at_links)

    def _stop_leader(self) -> None:
        leader = self._leader()
        leader.pause()
        self.world.agenda.after(self.rng.choice((1.0, 8.0, 15.0, 50.0)), leader.unpause)

    def _stall_leader(self) -> None:
        """It stops between two effects: after its commit and before its sends, for one."""
        self._leader().stall = (self.rng.randrange(8), self.rng.choice((0.5, 3.0, 14.0, 30.0)))

    def _depose_leader(self) -> None:
        """It stops after a commit, right before it sends work, and another one leads at once."""
        world = self.world
        former = world.holder
        others = [leader for leader in world.leaders if leader is not former and leader.is_alive]
        if former is None or not others or others[0].paused_since is not None:
            return

        def spring() -> float:
            world.agenda.after(0.0, world.elect, others[0])
            return self.rng.choice((0.1, 1.5, 4.0))

        former.ambush = spring

    def _fail_disk(self) -> None:
        """The ledger of the leader fails at its next commit."""
        self._leader().disk_fault = self.rng.choice(("before", "after"))

    def _kill_worker(self) -> None:
        worker = self._worker()
        if self.rng.random() < 0.3:
            worker.crash()
        else:
            worker.fuse = self.rng.randrange(10)
        self.world.agenda.after(self.rng.choice((0.3, 2.0, 7.0, 30.0, 75.0)), self._start_worker, worker)

    def _start_worker(self, worker: WorkerProcess) -> None:
        if not worker.is_alive:
            worker.start()

    def _stop_worker(self) -> None:
        worker = self._worker()
        worker.pause()
        self.world.agenda.after(self.rng.choice((1.0, 7.0, 20.0, 50.0, 70.0)), worker.unpause)

    def _lose_helper(self) -> None:
        self._worker().lose_helper()

    def _drain_worker(self) -> None:
        worker = self._worker()
        worker.drain()
        self.world.agenda.after(self.rng.choice((5.0, 30.0)), self._start_worker, worker)

    def _cut(self) -> None:
        """Between the leader's host and one worker or all, one way or both."""
        leader = self._leader()
        workers = [self._worker()] if self.rng.random() < 0.7 else self.world.workers
        ways = self.rng.choice(((True, True), (True, False), (False, True)))
        lasts = self.rng.choice((1.0, 5.0, 12.0, 45.0, 80.0))
        self.world.chronicle.log(
            "world", f"cuts {leader.host} from {[worker.host for worker in workers]} {ways} for {lasts} s"
        )
        for worker in workers:
            pairs = ((leader.host, worker.host), (worker.host, leader.host))
            for way, (source, target) in zip(ways, pairs, strict=True):
                if way:
                    self.world.network.cut(source, target)
                    self.world.agenda.after(lasts, self.world.network.heal, source, target)
        for later in (6.1, lasts + 1.1):
            self.world.agenda.after(later, self.world.look_at_links)

    def _unlist(self) -> None:
        """Discovery does not see a worker for a while."""
        worker = self._worker()
        if self.world.listed.pop(worker.address, None) is None:
            return
        self.world.chronicle.log("world", f"{worker.name} leaves discovery")
        self.world.discover()
        self.world.agenda.after(self.rng.choice((3.0, 20.0, 70.0)), self._list, worker)

    def _list(self, worker: WorkerProcess) -> None:
        self.world.listed[worker.address] = worker
        self.world.discover()

    def _set_clock(self) -> None:
        """The clock on a scheduler's wall is set forward or back."""
        leader = self._leader()
        by = self.rng.choice((-20.0, -3.0, 3.0, 25.0, 200.0))
        self.world.chronicle.log("world", f"the clock of {leader.name} is set by {by:+g} s")
        leader.utc_offset += by

    # ---- callers

    def _next_request(self) -> None:
        if not self.is_over:
            self.world.agenda.after(self.rng.expovariate(1 / 6.0), self._ask)

    def _ask(self) -> None:
        if self.is_over:
            return
        world, rng = self.world, self.rng
        job = rng.choice(world.jobs).name if world.jobs and rng.random() < 0.9 else "api"
        match rng.randrange(9):
            case 0 | 1 | 2:
                self._requests += 1
                world.ask(TriggerJob(job=job, key=f"key{self._requests}", by="sim"))
            case 3:
                until = None
                if rng.random() < 0.7:
                    until = BEGIN + timedelta(seconds=world.agenda.now + rng.choice((4.0, 30.0)))
                world.ask(PauseJob(job=job, by="sim", until=until, cancel_running=rng.random() < 0.2))
            case 4:
                world.ask(ResumeJob(job=job, by="sim"))
            case 5:
                runs = world.open_runs()
                if runs:
                    world.ask(CancelRun(run=rng.choice(runs), by="sim", kill=rng.random() < 0.3))
            case 6:
                world.reload(self._edited())
            case 7:
                made = any_job(rng, "api", BEGIN)
                filled = tuple(world.filled(made))
                world.ask(PutJob(definition=definition(made, ""), by="sim", filled=filled))
            case _:
                world.ask(DeleteJob(job="api", by="sim", cancel=rng.random() < 0.3))
        self._next_request()

    def _edited(self) -> list[Job]:
        """The table with a job changed, taken out or added."""
        rng = self.rng
        jobs = list(self.world.jobs)
        what = rng.randrange(4)
        if jobs and what == 0:
            jobs.pop(rng.randrange(len(jobs)))
        elif jobs and what == 1:
            place = rng.randrange(len(jobs))
            jobs[place] = any_job(rng, jobs[place].name, BEGIN)
        elif jobs and what == 2:
            place = rng.randrange(len(jobs))
            jobs[place] = replace(jobs[place], description=f"edited {rng.random()}")
        else:
            jobs.append(any_job(rng, f"job{rng.randrange(8)}", BEGIN))
        return list({job.name: job for job in jobs}.values())
