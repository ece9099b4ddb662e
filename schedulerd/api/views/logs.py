"""What attempts wrote, as lines: for programs as LogLine, for people as text. Knows no terminal."""

from collections.abc import Iterable, Iterator

from schedulerd.protocol.api_answers import LogLine
from schedulerd.protocol.api_types import AttemptOutput

STREAMS = ("stdout", "stderr")


def log_lines(outputs: Iterable[AttemptOutput], streams: tuple[str, ...]) -> Iterator[LogLine]:
    """Line by line, attempt by attempt; where bytes were dropped, one line that says how many."""
    for output in outputs:
        for stream in streams:
            if stream == "stdout":
                parts = (output.stdout_head, output.stdout_dropped, output.stdout_tail)
            else:
                parts = (output.stderr_head, output.stderr_dropped, output.stderr_tail)
            for text, dropped in _lines(*parts):
                yield LogLine(
                    run=output.run,
                    subtask=output.subtask,
                    attempt=output.attempt,
                    worker=output.worker,
                    stream=stream,
                    started_at=output.started_at,
                    text=text,
                    dropped=dropped,
                )


def log_text(lines: Iterable[LogLine], has_prefix: bool, has_times: bool) -> Iterator[str]:
    """Plain text, a line each with its end: `[TIME ][WORKER/SUBTASK: ]TEXT`."""
    for line in lines:
        time = f"{line.started_at or '-'} " if has_times else ""
        prefix = f"{line.worker}/{line.subtask}: " if has_prefix else ""
        text = line.text if line.text is not None else f"[{line.dropped} bytes were not kept]"
        yield f"{time}{prefix}{text}\n"


def _lines(head: bytes, dropped: int, tail: bytes) -> Iterator[tuple[str | None, int]]:
    if not dropped:
        yield from _split(head + tail)
        return
    yield from _split(head)
    yield None, dropped
    yield from _split(tail)


def _split(data: bytes) -> Iterator[tuple[str, int]]:
    if not data:
        return
    for line in data.removesuffix(b"\n").split(b"\n"):
        yield line.removesuffix(b"\r").decode("utf-8", "replace"), 0
