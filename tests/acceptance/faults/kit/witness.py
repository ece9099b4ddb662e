"""The jobs are their own witnesses: one durable line as a process begins, one as it ends. The script and its reader.

A line is on the disk before the work goes on, so that what a killed process has done is known all the same.
"""

import re
from datetime import datetime
from pathlib import Path

from acceptance.faults.kit.history import End, JobPlan, Start

# /proc/uptime is the boot-time clock in hundredths; reading it costs no process
SCRIPT = """\
#!/bin/sh
# witness SECONDS CODE [first]: say that it begins, take SECONDS, say that it ends, end with CODE
# with `first` only attempt 1 ends with CODE
lines={directory}/$SCHEDULERD_WORKER
read up idle < /proc/uptime
who="$SCHEDULERD_ATTEMPT_ID $SCHEDULERD_JOB $SCHEDULERD_FIRE_TIME"
echo "begin $who $$ $SCHEDULERD_EPOCH $up $(date +%s.%N)" >> $lines
sync -d $lines
code=$2
if [ "$3" = first ] && [ "$SCHEDULERD_ATTEMPT" -gt 1 ]; then code=0; fi
if [ "$1" != 0 ]; then sleep "$1"; fi
read up idle < /proc/uptime
echo "end $SCHEDULERD_ATTEMPT_ID $$ $code $up" >> $lines
sync -d $lines
exit $code
"""


def write_script(directory: Path) -> Path:
    """The witness program; its lines go into `directory`, a file for each worker."""
    lines = directory / "witness"
    lines.mkdir(parents=True, exist_ok=True)
    script = directory / "witness.sh"
    script.write_text(SCRIPT.format(directory=lines))
    script.chmod(0o755)
    return script


def read_lines(directory: Path) -> tuple[tuple[Start, ...], tuple[End, ...]]:
    """Everything that was witnessed, in the order of each file. A line that is no line of ours is an error."""
    starts: list[Start] = []
    ends: list[End] = []
    for path in sorted((directory / "witness").iterdir()):
        for line in path.read_text().splitlines():
            words = line.split()
            match words:
                case ["begin", attempt, job, fire, pid, epoch, moment, wall]:
                    starts.append(
                        Start(
                            attempt=attempt,
                            job=job,
                            fire_time=_unix(fire),
                            host=path.name,
                            pid=int(pid),
                            epoch=int(epoch),
                            moment=float(moment),
                            wall=float(wall),
                        )
                    )
                case ["end", attempt, pid, code, moment]:
                    ends.append(
                        End(
                            attempt=attempt,
                            host=path.name,
                            pid=int(pid),
                            code=int(code),
                            moment=float(moment),
                        )
                    )
                case _:
                    raise AssertionError(f"{path}: no line of a witness: {line!r}")
    return tuple(starts), tuple(ends)


def job_text(job: JobPlan, script: Path, seconds: float) -> str:
    """The job's TOML: a plan of which fire times there are, carried out by the witness script taking `seconds`."""
    argv = [str(script), f"{seconds:g}", "1" if job.fails_first else "0", "first"]
    lines = [f"[job.{job.name}]", "argv = [" + ", ".join(f'"{word}"' for word in argv) + "]"]
    if job.period:
        lines += [f'every = "{job.period:g}s"', "anchor = 2026-01-01T00:00:00Z"]
    else:
        lines += ["at = [" + ", ".join(_toml_instant(instant) for instant in job.instants) + "]"]
    lines += [f'misfire = "{job.misfire}"', 'catchup = "2h"', "catchup_max = 100000"]
    lines += [f'overlap = "{job.overlap}"', f'on_lost = "{job.on_lost}"']
    if job.overlap == "queue":
        lines += ["queue_max = 10000"]
    if job.retries:
        lines += [f"retry = {{ max = {job.retries} }}"]
    if job.subtasks > 1:
        lines += [f"split = {{ shards = {job.subtasks} }}"]
    return "\n".join(lines) + "\n"


def _unix(text: str) -> float:
    # microseconds, exactly: a fire time is compared with what was planned
    seconds = datetime.fromisoformat(re.sub(r"Z$", "+00:00", text)).timestamp()
    return round(seconds * 1e6) / 1e6


def _toml_instant(instant: float) -> str:
    return datetime.fromtimestamp(instant).astimezone().isoformat()
