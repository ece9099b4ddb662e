"""Calendars: which days and times they hold, and how far a closed stretch reaches."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from schedulerd.adapters.jobfiles import DocumentError, load, parse_job, read_paths, to_document, to_toml
from schedulerd.core.trigger import fires_between, next_fire, next_run
from schedulerd.errors import JobFileError
from schedulerd.model.job import Calendar, Job
from schedulerd.model.run import SkipReason

HOLIDAYS = """
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//
BEGIN:VEVENT
UID:new-year
SUMMARY:New Year
DTSTART;VALUE=DATE:20200101
RRULE:FREQ=YEARLY
END:VEVENT
BEGIN:VEVENT
UID:easter
DTSTART;VALUE=DATE:20270326
DTEND;VALUE=DATE:20270330
END:VEVENT
BEGIN:VEVENT
UID:stocktaking
DTSTART;TZID=Europe/Prague:20260318T100000
DURATION:PT2H
RRULE:FREQ=WEEKLY;UNTIL=20260415T235959Z
EXDATE;TZID=Europe/Prague:20260325T100000
END:VEVENT
BEGIN:VEVENT
UID:stocktaking
RECURRENCE-ID;TZID=Europe/Prague:20260408T100000
DTSTART;TZID=Europe/Prague:20260409T100000
DTEND;TZID=Europe/Prague:20260409T110000
END:VEVENT
BEGIN:VEVENT
UID:called-off
STATUS:CANCELLED
DTSTART;VALUE=DATE:20260501
END:VEVENT
END:VCALENDAR
"""


def one_job(directory: Path, text: str, **files: str) -> Job:
    for name, content in files.items():
        (directory / f"{name}.ics").write_text(content.strip().replace("\n", "\r\n") + "\r\n")
    (directory / "jobs.toml").write_text(text)
    (definition,) = load(directory)
    return definition.job


def faults_of(directory: Path, text: str) -> list[str]:
    (directory / "jobs.toml").write_text(text)
    with pytest.raises(JobFileError) as error:
        load(directory)
    return [fault.removesuffix("; the table in force stays") for fault in error.value.faults]


def fates(job: Job, first: str, last: str) -> dict[str, str]:
    """Local fire time -> run or the reason of its skip."""
    start, end = datetime.fromisoformat(first + "Z"), datetime.fromisoformat(last + "Z")
    return {
        f"{fire.instant:%m-%dT%H:%M}": "run" if fire.skip is None else fire.skip.value
        for fire in fires_between(job, None, start, end)
    }


def a_document(**keys: object) -> Job:
    return parse_job("x", {"argv": ["true"], "schedule": "0 3 * * *", **keys}).job


def test_excluded_days_are_skips_and_their_neighbours_run() -> None:
    job = a_document(not_calendar={"dates": ["2026-12-24/2026-12-26"], "weekdays": ["sun"]})
    assert fates(job, "2026-12-23T00:00", "2026-12-29T00:00") == {
        "12-23T03:00": "run",
        "12-24T03:00": "calendar",
        "12-25T03:00": "calendar",
        "12-26T03:00": "calendar",
        "12-27T03:00": "calendar",
        "12-28T03:00": "run",
    }


def test_with_calendars_only_what_one_of_them_holds_runs() -> None:
    job = a_document(
        schedule="0 */6 * * *",
        calendar=[{"weekdays": "tue"}, {"times": "2026-11-23T06:00:00Z/2026-11-23T12:00:00Z"}],
    )
    assert fates(job, "2026-11-23T00:00", "2026-11-24T01:00") == {
        "11-23T06:00": "run",  # the end of a range of times is not in it
        "11-23T12:00": "calendar",
        "11-23T18:00": "calendar",
        "11-24T00:00": "run",
    }


def test_days_are_those_of_the_jobs_zone() -> None:
    keys = {"schedule": "0 23 * * *", "timezone": "America/New_York"}
    job = a_document(not_calendar={"dates": "2026-07-04"}, **keys)
    assert fates(job, "2026-07-04T00:00", "2026-07-06T00:00") == {
        "07-04T03:00": "run",  # still the 3rd in New York
        "07-05T03:00": "calendar",
    }


def test_an_ics_file_gives_days_times_and_recurrences(tmp_path: Path) -> None:
    text = '[calendar.closed]\nics = "h.ics"\n[job.x]\nargv = ["true"]\nnot_calendar = "closed"\n'
    job = one_job(tmp_path, text, h=HOLIDAYS)
    (calendar,) = job.excluded
    days = [(date.fromordinal(first).isoformat(), date.fromordinal(last)) for first, last in calendar.days]
    assert ("2033-01-01", date(2033, 1, 1)) in days
    assert ("2027-03-26", date(2027, 3, 29)) in days  # the end of an event is not in it
    assert not any(day.startswith("2026-05-01") for day, _ in days)
    spans = [[f"{datetime.fromtimestamp(edge, UTC):%m-%dT%H:%M}" for edge in span] for span in calendar.spans]
    assert spans == [
        ["03-18T09:00", "03-18T11:00"],
        ["04-01T08:00", "04-01T10:00"],  # summer time; 03-25 is an exception
        ["04-09T08:00", "04-09T09:00"],  # moved from 04-08
        ["04-15T08:00", "04-15T10:00"],
    ]


def test_the_job_keeps_the_calendar_and_a_changed_file_is_a_changed_job(tmp_path: Path) -> None:
    text = '[calendar.closed]\nics = "h.ics"\n[job.x]\nargv = ["true"]\nnot_calendar = "closed"\n'
    before = one_job(tmp_path, text, h=HOLIDAYS)
    after = one_job(tmp_path, text, h=HOLIDAYS.replace("20270326", "20270325"))
    assert before != after
    again = parse_job("x", to_document(after)).job
    assert again == after
    (tmp_path / "h.ics").unlink()
    (tmp_path / "jobs.toml").write_text(to_toml(parse_job("x", to_document(after))))
    (definition,) = load(tmp_path)
    assert definition.job == after


def test_a_calendar_may_stand_in_another_file_and_in_defaults(tmp_path: Path) -> None:
    (tmp_path / "z.toml").write_text('[calendar.closed]\nweekdays = ["sat-sun"]\n')
    (tmp_path / "_defaults.toml").write_text('not_calendar = "closed"\n')
    job = one_job(tmp_path, '[job.x]\nargv = ["true"]\n')
    assert job.excluded == (Calendar(name="closed", weekdays=(5, 6)),)


def test_a_file_that_is_checked_alone_may_name_the_calendars_beside_it(tmp_path: Path) -> None:
    (tmp_path / "calendars.toml").write_text('[calendar.closed]\nweekdays = "sun"\n')
    alone = tmp_path / "jobs.toml"
    alone.write_text('[job.x]\nargv = ["true"]\nnot_calendar = "closed"\n')
    assert read_paths([alone]).lines == []
    assert len(read_paths([alone, tmp_path / "calendars.toml"]).definitions) == 1
    alone.write_text('[job.x]\nargv = ["true"]\nnot_calendar = "open"\n')
    (line,) = read_paths([alone]).lines
    assert 'calendar "open" is not defined' in line.text


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('ics = "none.ics"', '2:7: ics: "none.ics" cannot be read (No such file or directory), expected'),
        ('ics = "jobs.toml"', '2:7: ics: "jobs.toml" is no iCalendar file ('),
        ('ics = "/dev/null"', '2:7: ics: "/dev/null" is not a regular file, expected the path'),
        ("dates = [2026-12-24, '2026-13-01']", '2:22: dates[1]: "2026-13-01" is no date of the calendar'),
        ("dates = '2026-12-24/2026-12-01'", '2:9: dates: "2026-12-24/2026-12-01" ends before it begins'),
        ("weekdays = ['sat', 'funday']", '2:20: weekdays[1]: "funday" is no weekday, expected mon,'),
        ("weekdays = 'fri-mon'", '2:12: weekdays: "fri-mon" runs backwards, write ["fri-sun", "mon-mon"]'),
        ("times = '10:00/12:00'", '2:9: times: "10:00" is not understood'),
        ("datse = []", '2:1: datse: unknown key, did you mean "dates"?'),
        ("", "1:11: holds nothing, expected one of dates, weekdays, times, ics"),
    ],
)
def test_a_faulty_calendar_is_told_with_its_place(tmp_path: Path, lines: str, expected: str) -> None:
    text = f"[calendar.closed]\n{lines}\n[job.x]\nargv = ['true']\nnot_calendar = 'closed'\n"
    (fault,) = faults_of(tmp_path, text)
    assert fault.startswith(f"jobs.toml:{expected}")


def test_a_name_that_no_calendar_has_is_told_with_the_nearest(tmp_path: Path) -> None:
    text = "[job.x]\nargv = ['true']\ncalendar = ['closde']\n[calendar.closed]\nweekdays = 'sun'\n"
    assert faults_of(tmp_path, text) == [
        'jobs.toml:3:13: calendar[0]: calendar "closde" is not defined, did you mean "closed"?'
    ]
    (tmp_path / "b.toml").write_text("[calendar.closed]\nweekdays = 'sat'\n")
    (tmp_path / "c.toml").write_text("[calendar.closed]\nweekdays = 'sun'\n")
    assert faults_of(tmp_path, "") == [
        "c.toml:1:11: calendar closed stands here and at b.toml:1, expected each name once"
    ]


def test_the_api_knows_no_names_of_calendars() -> None:
    with pytest.raises(DocumentError, match=r'/calendar: calendar "x" is not defined, expected a table'):
        a_document(calendar="x")
    with pytest.raises(DocumentError, match=r"/calendar/ics: unknown key, a file is named in"):
        a_document(calendar={"ics": "/etc/passwd"})


@pytest.mark.parametrize("rule", ["FREQ=SECONDLY", "FREQ=DAILY;INTERVAL=0", "FREQ=OFTEN"])
def test_a_rule_that_would_not_end_or_makes_no_sense_is_refused(tmp_path: Path, rule: str) -> None:
    (tmp_path / "h.ics").write_text(HOLIDAYS.strip().replace("FREQ=YEARLY", rule))
    (fault,) = faults_of(tmp_path, "[calendar.closed]\nics = 'h.ics'\n")
    assert fault.startswith('jobs.toml:2:7: ics: "h.ics" ')


def test_the_next_run_is_found_beyond_years_of_closed_time() -> None:
    second = timedelta(seconds=1)
    start = datetime(2026, 11, 23, tzinfo=UTC)
    minutely = a_document(schedule="* * * * *", not_calendar={"dates": "2000-01-01/2045-12-30"})
    run = next_run(minutely, None, start)
    assert run is not None
    assert run.instant == datetime(2045, 12, 31, tzinfo=UTC)
    spans = a_document(
        schedule="* * * * * *", calendar={"times": "2031-02-03T04:05:06Z/2031-02-03T04:05:08Z"}
    )
    run = next_run(spans, None, start)
    assert run is not None
    assert run.instant == datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert next_run(spans, None, run.instant + second) is None
    never = a_document(schedule="* * * * *", not_calendar={"weekdays": "mon-sun"})
    assert next_run(never, None, start) is None
    following = next_fire(never, None, start)
    assert following is not None
    assert following.skip is SkipReason.CALENDAR
