"""Keys of the format that do not work yet are refused by name and place: never ignored, never called unknown."""

from pathlib import Path

import pytest
from test_jobfiles_faults import faults_of, job
from test_jobfiles_reading import write

LATER = [  # a key, as it would be written, and where its name stands in that text
    ("python", "python = 'a.b:c'"),
    ("args", "args = [1]"),
    ("kwargs", "kwargs = { a = 1 }"),
    ("http", "http = { method = 'GET', url = 'http://x' }"),
    ("env_file", "env_file = '/etc/x'"),
    ("user", "user = 'www-data'"),
    ("group", "group = 'www-data'"),
    ("umask", "umask = '022'"),
    ("stdin", "stdin = 'x'"),
    ("retry.on", "retry.on = ['failure']"),
    ("retry.codes", "retry.codes = [1]"),
    ("retry.backoff", "retry.backoff = '1s'"),
    ("retry.factor", "retry.factor = 2.0"),
    ("retry.max_backoff", "retry.max_backoff = '1h'"),
    ("retry.jitter", "retry.jitter = 0.1"),
    ("retry.where", "retry.where = 'other'"),
    ("priority", "priority = 3"),
    ("prefers", "prefers = ['x']"),
    ("hosts", "hosts = ['x']"),
    ("balance", "balance = 'random'"),
    ("hash_key", "hash_key = 'x'"),
    ("gather.python", "gather.python = 'a.b:c'"),
    ("setup.http", "setup.http = { method = 'GET', url = 'http://x' }"),
    ("teardown.stdin", "teardown = { stdin = 'x', argv = ['x'] }"),
    ("after", "after = ['y']"),
    ("after_on", "after_on = 'failure'"),
    ("on_success", "on_success = ['y']"),
    ("on_failure", "on_failure = ['y']"),
    ("limits", "[job.x.limits]\nmemory = '1GiB'"),
    ("notify", "[[job.x.notify]]\non = ['failure']"),
    ("expect_within", "expect_within = '26h'"),
    ("owner", "owner = 'me'"),
    ("runbook", "runbook = 'https://x'"),
    ("keep", "keep = { runs = 10 }"),
]


@pytest.mark.parametrize(("key", "text"), LATER, ids=[key for key, _ in LATER])
def test_a_key_of_the_format_is_known_and_refused(tmp_path: Path, key: str, text: str) -> None:
    leaf = key.rsplit(".", 1)[-1]
    column = (text.index(f".{leaf}") + 2) if f".{leaf}" in text else text.index(leaf) + 1
    if "[job.x." in text:
        column = text.index(leaf) + 1
    assert faults_of(write(tmp_path, a=job(text))) == [
        f"a.toml:3:{column}: {key}: not supported yet, leave it out"
    ]


@pytest.mark.parametrize("key", [key for key, _ in LATER if "." not in key])
def test_it_is_refused_as_a_default_as_well(tmp_path: Path, key: str) -> None:
    assert faults_of(write(tmp_path, _defaults=f"{key} = 1")) == [
        f"_defaults.toml:1:1: {key}: not supported yet, leave it out"
    ]


def test_work_that_is_not_supported_yet_is_still_work(tmp_path: Path) -> None:
    text = "[job.x]\nhttp = { method = 'GET', url = 'http://x' }"
    assert faults_of(write(tmp_path, a=text)) == ["a.toml:2:1: http: not supported yet, leave it out"]
