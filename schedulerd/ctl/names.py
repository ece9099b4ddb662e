"""What people write for jobs and runs -> their names: globs, `tag:x`, `JOB/last`, the beginning of a run id."""

from collections.abc import Sequence
from typing import Any

import click

from schedulerd.ctl.client import Client, path_of
from schedulerd.ctl.exits import Exit, Failure

_GLOB = frozenset("*?[")
_LAST = {"last": None, "last-failed": "failed"}


def jobs(client: Client, words: Sequence[str]) -> list[dict[str, Any]]:
    """The jobs that `words` mean, each once, in their order; all of them without words.

    Raises Failure not found for a word that means none.
    """
    if not words:
        return list(client.items("/v1/jobs"))
    found: dict[str, dict[str, Any]] = {}
    for word in words:
        matches = _matching(client, word)
        if not matches and not _is_pattern(word):
            client.get(path_of("jobs", word))  # refused with the nearest names
        if not matches:
            raise Failure(Exit.NOT_FOUND, f'no job matches "{word}"')
        found.update((match["name"], match) for match in matches)
    return list(found.values())


def job_names(client: Client, words: Sequence[str]) -> list[str]:
    """As `jobs`, but a plain name is taken as it is: the request that follows says whether it is there."""
    names: dict[str, None] = {}
    for word in words:
        if _is_pattern(word):
            names.update((job["name"], None) for job in jobs(client, [word]))
        else:
            names[word] = None
    return list(names)


def one_job(client: Client, word: str) -> str:
    """The single job that `word` means. Raises Failure when a pattern means none or several."""
    if not _is_pattern(word):
        return word
    names = [job["name"] for job in jobs(client, [word])]
    if len(names) > 1:
        raise Failure(Exit.USAGE, f'"{word}" means {len(names)} jobs; expected one', names[:10])
    return str(names[0])


def run_id(client: Client, word: str) -> str:
    """The run that `word` means; an id or its beginning is taken as it is, the server looks it up."""
    job, slash, which = word.rpartition("/")
    if not slash:
        return word
    if which not in _LAST:
        raise Failure(Exit.USAGE, f'"{word}" is no run; expected a run id, JOB/last or JOB/last-failed')
    state = _LAST[which]
    name = one_job(client, job)
    page = client.get("/v1/runs", job=name, state=state, limit=1)
    if not page["items"]:
        raise Failure(Exit.NOT_FOUND, f"{name} has no {'failed ' if state else ''}run")
    return str(page["items"][0]["id"])


def run_or_last(client: Client, word: str) -> str:
    """As `run_id`; a plain job name means its newest run."""
    if "@" in word or "/" in word:
        return run_id(client, word)
    return run_id(client, f"{word}/last")


def variables(words: Sequence[str]) -> dict[str, str]:
    """What `--env K=V` means, given any number of times. Raises UsageError."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise click.UsageError(f'--env "{word}" is not of the form NAME=VALUE')
        found[name] = value
    return found


def _is_pattern(word: str) -> bool:
    return word.startswith("tag:") or not _GLOB.isdisjoint(word)


def _matching(client: Client, word: str) -> list[dict[str, Any]]:
    if word.startswith("tag:"):
        return list(client.items("/v1/jobs", tag=word.removeprefix("tag:")))
    return list(client.items("/v1/jobs", name=word))
