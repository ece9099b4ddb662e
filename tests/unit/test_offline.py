"""What schedulerctl does without a daemon."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from test_jobfiles_reading import EVERYTHING, write

from schedulerd.offline.check import check_paths
from schedulerd.offline.next_expr import next_expr
from schedulerd.offline.schema import schema_text
from schedulerd.protocol.api_types import NextFire

GOLDEN = Path(__file__).parent.parent / "golden" / "check"


def check(*paths: Path, strict: bool = False) -> tuple[int, str]:
    out = io.StringIO()
    code = check_paths(paths, out, strict=strict)
    return code, out.getvalue()


def test_a_good_table_is_summed_up(tmp_path: Path) -> None:
    write(tmp_path, a=EVERYTHING, b="[job.b]\nargv = ['x']", _defaults="timeout = '5m'")
    assert check(tmp_path) == (0, "2 jobs in 3 files: ok\n")
    assert check(tmp_path / "b.toml") == (0, "1 job in 2 files: ok\n")


def test_check_shows_every_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    code, text = check(Path("jobs.d"))
    assert text == Path("output.txt").read_text(encoding="utf-8")
    assert code == 1


def test_check_shows_every_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    out = io.StringIO()
    now = datetime(2026, 11, 23, tzinfo=UTC)
    assert check_paths([Path("lint.toml")], out, now=now) == 0
    assert out.getvalue() == Path("lint.txt").read_text(encoding="utf-8")


def test_several_paths_are_one_table(tmp_path: Path) -> None:
    write(tmp_path, a="[job.x]\nargv = ['x']", b="[job.x]\nargv = ['x']")
    a, b = tmp_path / "a.toml", tmp_path / "b.toml"
    assert check(a)[0] == check(b)[0] == 0
    assert check(a, b) == (
        1,
        f"{b}:1:6: job x stands here and at {a}:1, expected each name once\n1 fault in 2 files: not accepted\n",
    )


def test_a_path_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    code, text = check(tmp_path / "none.toml")
    assert code == 1
    assert "No such file or directory" in text


def test_defaults_of_the_settings_are_checked_as_well(tmp_path: Path) -> None:
    out = io.StringIO()
    assert check_paths([tmp_path], out, defaults={"timeout": 5}) == 1
    assert out.getvalue().startswith("schedulerd.toml [defaults]: timeout: 5 is an integer")


@pytest.mark.parametrize(
    ("schedule", "warning"),
    [
        ("*/60 * * * *", 'minute "*/60" means only 0, its step is wider than 0-59'),
        ("0 9-12/5 * * *", 'hour "9-12/5" means only 9, its step is wider than 9-12'),
        ("0 0 20/12 * *", 'day of month "20/12" means only 20, its step is wider than 20-31'),
    ],
)
def test_a_step_wider_than_its_range_is_a_warning(tmp_path: Path, schedule: str, warning: str) -> None:
    write(tmp_path, a=f"[job.x]\nargv = ['x']\nschedule = ['@daily', '{schedule}']")
    line = f"{tmp_path}/a.toml:3: schedule: warning: {warning}\n"
    assert check(tmp_path) == (0, f"{line}1 job in 1 file: ok, 1 warning\n")
    assert check(tmp_path, strict=True) == (1, f"{line}1 warning in 1 file: not accepted\n")


def test_usual_steps_are_no_warning(tmp_path: Path) -> None:
    write(
        tmp_path,
        a="[job.x]\nargv = ['x']\nschedule = ['*/30 8-18/2 1-31/30 */3 ?', '0 4 * * MON-FRI', '@hourly']",
    )
    assert check(tmp_path, strict=True) == (0, "1 job in 1 file: ok\n")


def test_next_of_an_expression_tells_of_changed_clocks() -> None:
    after = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert next_expr("30 2 * * *", after=after, timezone="Europe/Prague", count=2) == [
        NextFire(
            fire_time="2026-03-29T01:00:00Z",
            local="2026-03-29T03:00:00+02:00",
            note="clocks go forward: 2026-03-29 02:30:00 does not exist",
        ),
        NextFire(fire_time="2026-03-30T00:30:00Z", local="2026-03-30T02:30:00+02:00", note=None),
    ]


def test_next_of_an_expression_ends_where_it_is_told() -> None:
    after = datetime(2026, 1, 1, tzinfo=UTC)
    until = datetime(2026, 1, 1, 3, tzinfo=UTC)
    assert [fire.fire_time for fire in next_expr("@hourly", after=after, until=until)] == [
        "2026-01-01T01:00:00Z",
        "2026-01-01T02:00:00Z",
        "2026-01-01T03:00:00Z",
    ]
    assert [fire.fire_time for fire in next_expr("@every 90s", after=after, count=2)] == [
        "2026-01-01T00:01:30Z",
        "2026-01-01T00:03:00Z",
    ]


@pytest.mark.parametrize(
    ("expression", "zone"), [("61 * * * *", "UTC"), ("* * * * *", "Europe/Prage"), ("@ever 5s", "UTC")]
)
def test_next_of_what_is_no_expression_is_a_sentence(expression: str, zone: str) -> None:
    with pytest.raises(ValueError, match=r"61|Prage|@ever"):
        next_expr(expression, after=datetime(2026, 1, 1, tzinfo=UTC), timezone=zone)


def test_the_schema_holds_exactly_the_supported_keys() -> None:
    schema = json.loads(schema_text())
    job = schema["$defs"]["JobDocument"]
    keys = (
        "schedule every every_from anchor at start end max_runs timezone dst_gap dst_fold calendar not_calendar jitter"
        " argv command script shell env cwd timeout kill_after success_codes overlap"
        " queue_max misfire catchup catchup_max dispatch_timeout on_lost requires pools split gather retry paused"
        " description tags setup teardown run_timeout"
    )
    assert " ".join(sorted(job["properties"])) == " ".join(sorted(keys.split()))
    assert set(schema["$defs"]["Split"]["properties"]) == {
        "shards",
        "items",
        "argv",
        "command",
        "per_worker",
        "chunk",
        "matrix",
        "include",
        "exclude",
        "max_items",
        "max_parallel",
        "fail_fast",
        "need",
    }
    assert job["additionalProperties"] is False
    assert job["properties"]["at"]["anyOf"][0] == {"type": "string", "format": "date-time"}
    assert '"null"' not in schema_text()
    assert all("description" in key for key in job["properties"].values())
