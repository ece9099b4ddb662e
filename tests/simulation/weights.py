"""How often each fault and each request comes; what they do is in faults_*.py and callers.py."""

FAULTS = {
    # schedulers
    "kill_leader": 4,
    "stop_leader": 2,
    "stall_leader": 2,
    "ambush_leader": 2,
    "usurp": 2,
    "fail_disk": 2,
    "slow_commits": 1,
    "set_leader_clock": 2,
    # workers
    "kill_worker": 4,
    "stop_worker": 2,
    "lose_helper": 2,
    "slow_helper": 2,
    "drain_worker": 2,
    "fail_journal": 2,
    "copy_worker": 1,
    "confuse": 2,
    "set_worker_clock": 1,
    # what lies between them
    "cut": 4,
    "unlist": 2,
    "flap": 1,
    "replay": 2,
    "storm": 1,
}
CALLS = {"trigger": 3, "pause": 1, "resume": 1, "cancel": 1, "retry": 2, "edit": 1, "put": 1, "delete": 1}
