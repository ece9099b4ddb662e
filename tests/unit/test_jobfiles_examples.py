"""The example table is sound, and its scripts do what they say: run here as a worker would run them."""

import io
import json
import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from schedulerd.adapters.jobfiles import load
from schedulerd.core.splitting import chunked, items_in, parts_of
from schedulerd.hostkit.settings import load_schedulerd, load_workerd
from schedulerd.model.job import Line, ListedItems, Script, Work
from schedulerd.offline.check import check_paths
from schedulerd.offline.schema import schema_text

CONFIG = Path(__file__).parent.parent.parent / "config"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def test_the_example_table_is_sound() -> None:
    out = io.StringIO()
    assert check_paths([CONFIG / "jobs.d"], out, strict=True) == 0, out.getvalue()
    names = [definition.job.name for definition in load(CONFIG / "jobs.d")]
    assert names == [
        "compressors",
        "disk-and-memory",
        "etc-manifest",
        "first-look",
        "heartbeat",
        "load",
        "text-lines",
    ]


def test_the_schema_for_editors_is_of_today() -> None:
    assert (CONFIG / "job-file.schema.json").read_text(encoding="utf-8") == schema_text()


def test_the_example_settings_are_sound() -> None:
    schedulerd = load_schedulerd(CONFIG / "schedulerd.toml", {})
    workerd = load_workerd(CONFIG / "workerd.toml", {})
    assert schedulerd.jobs_dir == CONFIG / "jobs.d"
    assert schedulerd.cluster == workerd.cluster


def example(name: str) -> Any:
    return next(definition.job for definition in load(CONFIG / "jobs.d") if definition.job.name == name)


def run(work: Work, folder: Path, env: dict[str, str], stdin: str = "") -> subprocess.CompletedProcess[bytes]:
    """The work as a worker runs it: the line by its shell, the script by its own first line."""
    if isinstance(work, Line):
        argv = [*work.shell, work.line]
    else:
        assert isinstance(work, Script)
        script = folder / "script"
        script.write_text(work.text, encoding="utf-8")
        script.chmod(0o700)
        argv = [str(script)] if work.text.startswith("#!") else [work.shell[0], str(script)]
    return subprocess.run(
        argv,
        env={"PATH": PATH, "LANG": "C.UTF-8", **env},
        input=stdin.encode(),
        capture_output=True,
        timeout=60,
    )


class Manifest:
    """The etc-manifest job over another tree."""

    def __init__(self, folder: Path) -> None:
        self.job = example("etc-manifest")
        self.folder = folder
        self.tree = folder / "tree"
        self.tree.mkdir()
        self.target = folder / "manifest.txt"
        self.env = {**self.job.env, "TREE": str(self.tree), "MANIFEST": str(self.target)}

    def listed(self) -> list[str]:
        """The items of each subtask, as JSON texts."""
        assert isinstance(self.job.split, ListedItems)
        done = run(self.job.split.work, self.folder, self.env)
        assert done.returncode == 0, done.stderr
        return [item for _, item in chunked(items_in(done.stdout), self.job.split.chunk) if item is not None]

    def hashed(self, item: str) -> subprocess.CompletedProcess[bytes]:
        return run(self.job.work, self.folder, {**self.env, "SCHEDULERD_ITEM": item})

    def gathered(self, items: list[str], outputs: list[str]) -> subprocess.CompletedProcess[bytes]:
        lines = [
            json.dumps(
                {
                    "subtask": index,
                    "item": json.loads(item),
                    "state": "succeeded",
                    "code": 0,
                    "output": output,
                }
            )
            for index, (item, output) in enumerate(zip(items, outputs, strict=True))
        ]
        return run(self.job.gather, self.folder, self.env, "".join(line + "\n" for line in reversed(lines)))

    def expected(self) -> bytes:
        """What the tools themselves say."""
        line = 'find "$TREE" -type f -readable -print0 | LC_ALL=C sort -z | xargs -0 sha256sum'
        return run(Line(line=line), self.folder, self.env).stdout


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return Manifest(tmp_path)


def test_the_manifest_equals_sha256sum_byte_for_byte_whatever_files_are_called(manifest: Manifest) -> None:
    names = [f"file{number:03d}" for number in range(120)]
    names += [
        "-n",
        "a b",
        "a%20b",
        "new\nline",
        "back\\slash",
        "quote'\"",
        "é",
        "tab\t",
        "cr\r",
        "{{ x }}",
        "a*",
        "zz",
    ]
    for name in map(os.fsencode, names):
        (manifest.tree / os.fsdecode(name)).write_bytes(name)
    (manifest.tree / os.fsdecode(b"latin\xe9")).write_bytes(b"latin")
    (manifest.tree / "deep" / "er").mkdir(parents=True)
    (manifest.tree / "deep" / "er" / "x").write_bytes(b"")
    os.symlink("zz", manifest.tree / "link")
    items = manifest.listed()
    assert len(items) == 3
    done = [manifest.hashed(item) for item in items]
    assert [attempt.returncode for attempt in done] == [0, 0, 0]
    gathered = manifest.gathered(items, [attempt.stdout.decode("ascii") for attempt in done])
    assert gathered.stdout.decode() == f"134 files in {manifest.target}\n", gathered.stderr
    assert manifest.target.read_bytes() == manifest.expected()


def test_a_file_that_vanished_is_left_out_and_said(manifest: Manifest) -> None:
    for name in ("a", "b", "c"):
        (manifest.tree / name).write_text(name)
    (item,) = manifest.listed()
    (manifest.tree / "b").unlink()
    done = manifest.hashed(item)
    assert (done.returncode, done.stdout.split()[1]) == (0, b"-")
    assert b"vanished: " in done.stderr
    assert manifest.gathered([item], [done.stdout.decode()]).returncode == 0
    assert manifest.target.read_bytes() == manifest.expected()


def test_an_empty_tree_has_an_empty_manifest_and_a_missing_one_has_none(manifest: Manifest) -> None:
    assert manifest.listed() == []
    assert manifest.gathered([], []).returncode == 0
    assert manifest.target.read_bytes() == b""
    manifest.tree.rmdir()
    assert isinstance(manifest.job.split, ListedItems)
    assert run(manifest.job.split.work, manifest.folder, manifest.env).returncode != 0


def test_what_cannot_be_hashed_fails_its_subtask(manifest: Manifest) -> None:
    (manifest.tree / "a").write_text("a")
    (item,) = manifest.listed()
    (manifest.tree / "a").unlink()
    (manifest.tree / "a").mkdir()  # still there, but no file any more
    done = manifest.hashed(item)
    assert done.returncode == 1
    assert b"sha256sum" in done.stderr


def test_without_every_subtask_the_old_manifest_stays(manifest: Manifest) -> None:
    manifest.target.write_text("old")
    failed = json.dumps({"subtask": 1, "item": ["/x"], "state": "failed", "code": 1, "output": ""})
    done = run(manifest.job.gather, manifest.folder, manifest.env, failed + "\n")
    assert done.returncode == 1
    assert b"subtask 1 failed" in done.stderr
    assert manifest.gathered(['["/a","/b"]'], ["00\n"]).returncode == 1
    assert manifest.target.read_text() == "old"


def test_many_long_names_come_in_a_file(manifest: Manifest) -> None:
    (manifest.tree / "a").write_text("a")
    (item,) = manifest.listed()
    (manifest.folder / "items").write_text(item)
    done = run(
        manifest.job.work,
        manifest.folder,
        {**manifest.env, "SCHEDULERD_ITEMS_FILE": str(manifest.folder / "items")},
    )
    assert done.stdout.split() == [manifest.expected().split()[0]]


def test_the_shards_together_count_every_line_once(tmp_path: Path) -> None:
    job = example("text-lines")
    assert isinstance(job.work, Line)
    line = job.work.line.replace("/usr/share", str(tmp_path)).replace("{{ subtasks }}", "4")
    (tmp_path / "sub").mkdir()
    for number in range(11):
        (tmp_path / "sub" / f"{number} n.txt").write_text("line\n" * number)
    (tmp_path / "copyright").write_text("all\nrights")
    (tmp_path / "other.md").write_text("not counted")
    outputs = []
    for subtask in range(4):
        done = run(Line(line=line.replace("{{ subtask }}", str(subtask))), tmp_path, {})
        assert (done.returncode, done.stderr) == (0, b"")
        outputs.append(done.stdout.decode())
    counts = [int(output) for output in outputs]
    assert sum(counts) == 56
    outcomes = [
        json.dumps({"subtask": index, "state": "succeeded", "output": output}) + "\n"
        for index, output in enumerate(outputs)
    ]
    gathered = run(job.gather, tmp_path, {}, "".join(outcomes)).stdout.decode()
    assert gathered == f"56 lines in 4 shards: {' + '.join(map(str, counts))}\n"


@pytest.mark.parametrize(
    ("name", "word"), [("load", "load "), ("first-look", "Linux"), ("disk-and-memory", "MemTotal")]
)
def test_the_small_jobs_run_on_this_machine(tmp_path: Path, name: str, word: str) -> None:
    done = run(example(name).work, tmp_path, {})
    assert (done.returncode, done.stderr) == (0, b"")
    assert word in done.stdout.decode()


def test_every_example_file_names_its_schema() -> None:
    for file in sorted((CONFIG / "jobs.d").glob("[a-z]*.toml")):
        text = file.read_text(encoding="utf-8")
        assert text.startswith("#:schema ../job-file.schema.json\n"), file
        assert set(tomllib.loads(text)) == {"job"}


def test_the_compressors_are_compared_combination_by_combination(tmp_path: Path) -> None:
    job = example("compressors")
    sample = tmp_path / "sample"
    env = {"SAMPLE": str(sample)}
    assert run(job.setup, tmp_path, env).returncode == 0
    lines = []
    parts = parts_of(job)
    assert parts is not None
    for index, item in parts:
        assert item is not None
        values = json.loads(item)
        done = run(job.work, tmp_path, {**env, "MODULE": values["module"], "LEVEL": str(values["level"])})
        assert done.returncode == 0, done.stderr
        size, packed = map(int, done.stdout.split())
        assert 0 < packed < size == sample.stat().st_size
        output = done.stdout.decode()
        lines.append(
            {
                "subtask": index,
                "item": values,
                "state": "succeeded",
                "code": 0,
                "output": output,
                "worker": "w",
            }
        )
    assert [(line["item"]["module"], line["item"]["level"]) for line in lines] == [
        ("zlib", 1),
        ("zlib", 9),
        ("bz2", 1),
        ("bz2", 9),
        ("lzma", 1),
        ("lzma", 3),
    ]
    table = run(job.gather, tmp_path, env, "".join(f"{json.dumps(line)}\n" for line in lines))
    assert table.returncode == 0, table.stderr
    assert table.stdout.decode().startswith("zlib 1 ")
    assert len(table.stdout.splitlines()) == 6
    lines[2]["state"] = "cancelled"
    assert run(job.gather, tmp_path, env, "".join(f"{json.dumps(line)}\n" for line in lines)).returncode == 1
