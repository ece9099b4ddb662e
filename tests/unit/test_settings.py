"""What a settings file and the environment give, and that every fault is told at once with its place."""

import os
from pathlib import Path

import pytest

from schedulerd.adapters.ledger.open import look_at
from schedulerd.errors import SettingsError
from schedulerd.hostkit.settings import SchedulerdSettings, load_schedulerd, load_workerd
from schedulerd.protocol.timing import ElectionTerms

SCHEDULERD = """\
cluster   = "west"
jobs_dir  = "table"
state_dir = "/srv/schedulerd"
log_level = "debug"
[api]
listen = "127.0.0.1:0"
advertise = "http://west.example:7480"
socket = ""
[results]
listen    = "tcp://127.0.0.1:*"
output    = "tcp://[::1]:7483"
advertise = "west.example:7481"
[ledger]
url = "sqlite:////srv//ledger.db"
[election]
kind = "file"
[discovery]
kind = "static"
[discovery.consul]
address    = "http://127.0.0.1:8501/"
token_file = "token"
[discovery.static]
workers = ["127.0.0.1:7482", "[::1]:7482"]
[timing]
suspect_seconds = 8
[defaults]
timezone = "Europe/Vienna"
retry = { max = 2 }
"""

WORKERD = """\
name      = "web-01"
state_dir = "state"
slots     = 8
labels    = ["role=db", "disk=ssd", "spot"]
[listen]
address   = "tcp://0.0.0.0:7482"
advertise = "web-01.example:7482"
[transport]
insecure = true
[discovery]
kind = "static"
"""


def faults(
    text: str, tmp_path: Path, environ: dict[str, str] | None = None, load=load_schedulerd
) -> list[str]:
    """The lines of the SettingsError that `text` raises, without the directory."""
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(path, environ or {})
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def test_defaults_of_schedulerd_need_no_file():
    settings = load_schedulerd(None, {})
    assert settings.origin is None
    assert settings.cluster == "default"
    assert settings.jobs_dir == Path.cwd() / "jobs.d"
    assert settings.state_dir == Path("/var/lib/schedulerd")
    assert settings.log_level == "info"
    assert settings.api.listen == "127.0.0.1:7480"
    assert settings.api.socket == Path("/run/schedulerd/api.sock")
    assert settings.results.listen == "tcp://127.0.0.1:7481"
    assert settings.results.output == "tcp://127.0.0.1:*"
    assert settings.results.advertise == "127.0.0.1:7481"
    assert settings.ledger.url == "sqlite:///var/lib/schedulerd/ledger.db"
    assert settings.ledger.path == Path("/var/lib/schedulerd/ledger.db")
    assert settings.election.kind == "file"
    assert settings.election.terms == ElectionTerms()
    assert settings.name == os.uname().nodename
    assert settings.discovery.kind == "consul"
    assert settings.discovery.consul.address == "http://127.0.0.1:8500"
    assert settings.discovery.consul.token() == ""
    assert settings.defaults == {}
    assert not settings.insecure


def test_defaults_of_workerd_need_no_file():
    settings = load_workerd(None, {})
    assert settings.name == os.uname().nodename
    assert settings.slots == len(os.sched_getaffinity(0))
    assert settings.labels == ()
    assert settings.state_dir == Path("/var/lib/workerd")
    assert settings.listen == "tcp://127.0.0.1:7482"
    assert settings.advertise == "127.0.0.1:7482"


def test_every_key_of_schedulerd_is_read_and_paths_are_relative_to_the_file(tmp_path: Path):
    path = tmp_path / "schedulerd.toml"
    path.write_text(SCHEDULERD)
    (tmp_path / "token").write_text("secret\n")
    settings = load_schedulerd(path, {})
    assert settings.origin == path
    assert settings.cluster == "west"
    assert settings.jobs_dir == tmp_path / "table"
    assert settings.state_dir == Path("/srv/schedulerd")
    assert settings.log_level == "debug"
    assert settings.api.listen == "127.0.0.1:0"
    assert settings.api.advertise == "http://west.example:7480"
    assert settings.api.socket is None
    assert settings.results.listen == "tcp://127.0.0.1:*"
    assert settings.results.output == "tcp://[::1]:7483"
    assert settings.results.advertise == "west.example:7481"
    assert settings.ledger.path == Path("/srv/ledger.db")
    assert settings.discovery.kind == "static"
    assert settings.discovery.consul.address == "http://127.0.0.1:8501"
    assert settings.discovery.consul.token() == "secret"
    assert settings.discovery.workers == ("127.0.0.1:7482", "[::1]:7482")
    assert settings.timing.suspect == 8.0
    assert settings.timing.lost == 60.0
    assert settings.defaults == {"timezone": "Europe/Vienna", "retry": {"max": 2}}


def test_every_key_of_workerd_is_read(tmp_path: Path):
    path = tmp_path / "workerd.toml"
    path.write_text(WORKERD)
    settings = load_workerd(path, {})
    assert settings.name == "web-01"
    assert settings.state_dir == tmp_path / "state"
    assert settings.slots == 8
    assert settings.labels == ("role=db", "disk=ssd", "spot")
    assert settings.listen == "tcp://0.0.0.0:7482"
    assert settings.advertise == "web-01.example:7482"
    assert settings.insecure
    assert settings.discovery.kind == "static"


def test_the_environment_wins_over_the_file(tmp_path: Path):
    path = tmp_path / "schedulerd.toml"
    path.write_text(SCHEDULERD)
    settings = load_schedulerd(
        path,
        {
            "SCHEDULERD_CLUSTER": "east",
            "SCHEDULERD_JOBS_DIR": "here",
            "SCHEDULERD_API_LISTEN": "",
            "SCHEDULERD_DISCOVERY_KIND": "consul",
            "SCHEDULERD_DISCOVERY_CONSUL_ADDRESS": "https://consul.example:8501",
            "SCHEDULERD_DISCOVERY_STATIC_WORKERS": "a:1, b:2,",
            "SCHEDULERD_TRANSPORT_INSECURE": "true",
            "SCHEDULERD_RESULTS_LISTEN": "tcp://10.0.0.1:7000",
            "SCHEDULERD_TIMING_BEAT_SECONDS": "0.5",
            "SCHEDULERD_DEFAULTS_TIMEZONE": "Asia/Tokyo",
            "SCHEDULERD_DEFAULTS_CATCHUP_MAX": "7",
        },
    )
    assert settings.cluster == "east"
    assert settings.jobs_dir == Path.cwd() / "here"  # a variable's path is the caller's, not the file's
    assert settings.api.listen == ""
    assert settings.discovery.kind == "consul"
    assert settings.discovery.consul.address == "https://consul.example:8501"
    assert settings.discovery.workers == ("a:1", "b:2")
    assert settings.insecure
    assert settings.results.listen == "tcp://10.0.0.1:7000"
    assert settings.timing.beat == 0.5
    assert settings.defaults == {"timezone": "Asia/Tokyo", "retry": {"max": 2}, "catchup_max": 7}


def test_both_daemons_take_their_own_variables_from_one_environment():
    environ = {"SCHEDULERD_SLOTS": "3", "SCHEDULERD_LABELS": "a=1,b", "SCHEDULERD_API_LISTEN": "127.0.0.1:1"}
    assert load_workerd(None, environ).slots == 3
    assert load_workerd(None, environ).labels == ("a=1", "b")
    assert load_schedulerd(None, environ).api.listen == "127.0.0.1:1"


def test_variables_of_schedulerctl_and_of_jobs_are_no_settings():
    theirs = """ADDR TOKEN JOB RUN_ID FIRE_TIME SUBTASK SUBTASKS ITEM ATTEMPT ATTEMPT_ID EPOCH FENCE
        IDEMPOTENCY_KEY WORKER PREVIOUS_OUTCOME"""
    environ = {f"SCHEDULERD_{name}": "x" for name in theirs.split()}
    assert load_schedulerd(None, environ) == load_schedulerd(None, {})
    assert load_workerd(None, environ) == load_workerd(None, {})


def test_all_faults_are_told_at_once_with_file_line_and_column(tmp_path: Path):
    text = """\
cluser = "x"
  jobs_dir = 3
[api]
listn = "a"
listen = "nonsense"
[results]
listen = "127.0.0.1:7481"
[election]
kind = "fil"
[foo]
a = 1
[discovery]
kind = 4
consul = 5
[discovery.static]
workers = ["a"]
"""
    assert sorted(faults(text, tmp_path)) == [
        "s.toml:10:1: foo: unknown key",
        "s.toml:13:1: discovery.kind: 4 is not a text in quotes",
        "s.toml:14:1: discovery.consul: 5 is not a table [discovery.consul]",
        's.toml:16:1: discovery.static.workers: "a" is not of the form HOST:PORT',
        's.toml:1:1: cluser: unknown key, did you mean "cluster"?',
        "s.toml:2:3: jobs_dir: 3 is not a text in quotes",
        's.toml:4:1: api.listn: unknown key, did you mean "listen"?',
        's.toml:5:1: api.listen: "nonsense" is not of the form HOST:PORT (empty = no TCP)',
        's.toml:7:1: results.listen: "127.0.0.1:7481" is not of the form tcp://HOST:PORT',
        's.toml:9:1: election.kind: "fil" is not one of file, consul, did you mean "file"?',
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("slots = 0", "s.toml:1:1: slots: 0 is not a whole number from 1 to 10000"),
        ("slots = true", "s.toml:1:1: slots: True is not a whole number from 1 to 10000"),
        ('slots = "8"', 's.toml:1:1: slots: "8" is not a whole number from 1 to 10000'),
        ('labels = "a"', 's.toml:1:1: labels: "a" is not a list of texts'),
        ('labels = ["a", "a"]', 's.toml:1:1: labels: "a" stands there twice'),
        ('labels = ["a b"]', 's.toml:1:1: labels: "a b" is not of the form NAME or NAME=VALUE'),
        ('name = " "', "s.toml:1:1: name: a name is 1 to 255 bytes of printable text"),
        ('cluster = "A"', 's.toml:1:1: cluster: "A" is not 1 to 32 of a-z, 0-9 and - (not at an end)'),
        ('log_level = "loud"', 's.toml:1:1: log_level: "loud" is not one of debug, info, warning, error'),
        ('state_dir = "a\\u0000b"', "s.toml:1:1: state_dir: the text has a line break or a NUL in it"),
        ('[transport]\ninsecure = "yes"', 's.toml:2:1: transport.insecure: "yes" is not true or false'),
        (
            '[listen]\naddress = "tcp://127.0.0.1:99999"',
            ('s.toml:2:1: listen.address: "tcp://127.0.0.1:99999" is not of the form tcp://HOST:PORT'),
        ),
        (
            '[discovery.consul]\naddress = "8500"',
            ('s.toml:2:1: discovery.consul.address: "8500" is not of the form http://HOST:PORT'),
        ),
        (
            "[timing]\nbeat_seconds = 0",
            ("s.toml:2:1: timing.beat_seconds: 0 is not a number of seconds above 0 and up to 86400"),
        ),
        (
            "[timing]\nlost_seconds = 45",
            (
                "s.toml:2:1: timing.lost_seconds: fence_kill_seconds (45) has to be below "
                "lost_seconds (45): when a worker is called lost, nothing of it may still run"
            ),
        ),
        (
            "[timing]\nbeat_seconds = 5",
            (
                "s.toml:2:1: timing.beat_seconds: lost_seconds (60) has to be above fence_kill_seconds and "
                "three times beat_seconds (60): when a worker is called lost, nothing of it may still run"
            ),
        ),
    ],
)
def test_a_faulty_value_says_what_was_expected(text: str, fault: str, tmp_path: Path):
    assert faults(text, tmp_path, load=load_workerd) == [fault]


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "[::]", "192.168.0.1", "[fe80::1]", "db.example"])
def test_listening_beyond_loopback_has_to_be_asked_for_twice(host: str, tmp_path: Path):
    said = " is not a loopback address: without keys everybody who reaches it could run commands; "
    text = f'[listen]\naddress = "tcp://{host}:7482"\nadvertise = "a:1"\n'
    (fault,) = faults(text, tmp_path, load=load_workerd)
    assert fault.startswith(f"s.toml:2:1: listen.address: {host}{said}")
    path = tmp_path / "open.toml"
    path.write_text(text + "[transport]\ninsecure = true\n")
    assert load_workerd(path, {}).listen == f"tcp://{host}:7482"


@pytest.mark.parametrize("key", ["api.listen", "results.listen", "results.output"])
def test_no_listener_of_schedulerd_is_open_by_accident(key: str, tmp_path: Path):
    section, name = key.split(".")
    address = "10.0.0.1:7" if section == "api" else "tcp://10.0.0.1:7"
    text = f'[{section}]\n{name} = "{address}"\nadvertise = "a:1"\n'
    assert "10.0.0.1 is not a loopback address" in faults(text, tmp_path)[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
def test_loopback_needs_no_leave(host: str):
    assert load_workerd(None, {"SCHEDULERD_LISTEN_ADDRESS": f"tcp://{host}:1"}).advertise == f"{host}:1"


def test_a_free_port_is_advertised_only_once_it_is_bound():
    assert load_workerd(None, {"SCHEDULERD_LISTEN_ADDRESS": "tcp://127.0.0.1:0"}).advertise == ""
    assert (
        load_workerd(None, {"SCHEDULERD_LISTEN_ADDRESS": "tcp://127.0.0.1:*"}).listen == "tcp://127.0.0.1:*"
    )


def test_every_interface_needs_an_address_for_others(tmp_path: Path):
    text = '[transport]\ninsecure = true\n[listen]\naddress = "tcp://*:7482"\n'
    assert faults(text, tmp_path, load=load_workerd) == [
        "s.toml: listen.advertise: has to be set, because [listen] address names every interface of this host"
    ]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgre://ann:s3cret@db/x", '"postgre://***@db/x" is not of the form sqlite:///ABSOLUTE/PATH'),
        ("sqlite://relative.db", '"sqlite://relative.db" is not of the form sqlite:///ABSOLUTE/PATH'),
        ("mysql:///x", '"mysql:///x" is not of the form sqlite:///ABSOLUTE/PATH'),
        ("sqlite:///dir/", '"sqlite:///dir/" is not of the form sqlite:///ABSOLUTE/PATH'),
    ],
)
def test_a_url_that_names_no_ledger_is_refused(url: str, said: str, tmp_path: Path):
    assert faults(f'[ledger]\nurl = "{url}"', tmp_path) == [
        f"s.toml:2:1: ledger.url: {said} or postgresql://USER@HOST/DATABASE"
    ]


def test_election_terms_are_read_and_those_that_do_not_fit_together_are_refused(tmp_path: Path):
    path = tmp_path / "s.toml"
    path.write_text(
        '[election]\nkind = "consul"\nttl_seconds = 18\nlease_seconds = 15\nlock_delay_seconds = 1.5\n'
    )
    found = load_schedulerd(path, {"SCHEDULERD_ELECTION_RENEW_SECONDS": "2.5"}).election
    assert found.kind == "consul"
    assert found.terms == ElectionTerms(ttl=18, renew=2.5, lease=15, lock_delay=1.5)
    (said,) = faults("[election]\nlease_seconds = 10", tmp_path)
    assert said == (
        "s.toml:2:1: election.lease_seconds: lease_seconds (10) has to be below ttl_seconds (10): "
        "a leader has to stop before Consul may give its lock to another"
    )
    (said,) = faults("[election]\nrenew_seconds = 8", tmp_path)
    assert said == (
        "s.toml:2:1: election.renew_seconds: renew_seconds (8) has to be below lease_seconds (7): "
        "a lease that is not renewed in time would end every leadership"
    )
    assert faults("[election]\nlock_delay_seconds = 61", tmp_path) == [
        "s.toml:2:1: election.lock_delay_seconds: 61 is not a number of seconds above 0 and up to 60"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a", '"a" is not of the form HOST:PORT or http://HOST:PORT'),
        ("ftp://a:1", '"ftp://a:1" is not of the form HOST:PORT or http://HOST:PORT'),
        ("http://a:1/x", '"http://a:1/x" is not of the form HOST:PORT or http://HOST:PORT'),
        ("a:0", '"a:0" is not of the form HOST:PORT or http://HOST:PORT'),
        ("0.0.0.0:1", '"0.0.0.0:1" names every interface of this host; others need one they can reach'),
    ],
)
def test_an_address_that_nobody_can_be_sent_to_is_refused(text: str, said: str, tmp_path: Path):
    assert faults(f'[api]\nadvertise = "{text}"', tmp_path) == [f"s.toml:2:1: api.advertise: {said}"]


def test_a_fault_in_a_variable_names_the_variable(tmp_path: Path):
    environ = {
        "SCHEDULERD_SLOTS": "many",
        "SCHEDULERD_LISTEN_ADRESS": "x",
        "SCHEDULERD_TRANSPORT_INSECURE": "si",
    }
    assert faults("", tmp_path, environ, load_workerd) == [
        '$SCHEDULERD_TRANSPORT_INSECURE: transport.insecure: "si" is not true or false',
        '$SCHEDULERD_SLOTS: slots: "many" is not a whole number from 1 to 10000',
        '$SCHEDULERD_LISTEN_ADRESS: unknown setting, did you mean "SCHEDULERD_LISTEN_ADDRESS"?',
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a = \n", ":1:5: not valid TOML: Invalid value"),
        (b"a = 1\na = 2\n", ":2:6: not valid TOML: Cannot overwrite a value"),
        (b"caf\xe9 = 1", ": byte 3 is not UTF-8; settings are TOML in UTF-8"),
        (b"a = " + b"[" * 10_000, ": not valid TOML: "),
    ],
)
def test_a_file_that_is_no_toml_says_where(content: bytes, said: str, tmp_path: Path):
    path = tmp_path / "s.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_schedulerd(path, {})
    assert str(caught.value).startswith(f"{path}{said}")


def test_a_missing_file_and_a_missing_token_are_one_sentence(tmp_path: Path):
    with pytest.raises(
        SettingsError, match=r"no\.toml: the settings cannot be read: No such file or directory$"
    ):
        load_schedulerd(tmp_path / "no.toml", {})
    path = tmp_path / "s.toml"
    path.write_text('[discovery.consul]\ntoken_file = "no"')
    with pytest.raises(SettingsError, match="Consul's token cannot be read"):
        load_schedulerd(path, {}).discovery.consul.token()


def test_a_takeover_that_takes_longer_than_workers_wait_is_refused(tmp_path: Path):
    slow = '[election]\nkind = "consul"\nttl_seconds = 20\n'
    (said,) = faults(slow, tmp_path)
    assert said.startswith(
        "s.toml:3:1: election.ttl_seconds: twice ttl_seconds and lock_delay_seconds (45), in which"
    )
    patient = "[timing]\nfence_seconds = 50\nfence_kill_seconds = 55\nlost_seconds = 70\n"
    (tmp_path / "s.toml").write_text(slow + patient)
    assert load_schedulerd(tmp_path / "s.toml", {}).election.terms.ttl == 20
    (tmp_path / "s.toml").write_text(slow.replace("consul", "file"))
    assert load_schedulerd(tmp_path / "s.toml", {}).election.kind == "file"


def test_a_broken_pair_of_terms_is_said_at_the_one_that_was_set(tmp_path: Path):
    assert faults("[timing]\nsuspect_seconds = 41", tmp_path) == [
        (
            "s.toml:2:1: timing.suspect_seconds: suspect_seconds (41) has to be below fence_seconds (40): "
            "a suspect worker keeps its work for a while"
        )
    ]


def test_a_postgresql_ledger_has_no_file_and_may_have_its_password_in_one(tmp_path: Path):
    file = tmp_path / "schedulerd.toml"
    file.write_text('[ledger]\nurl = "postgresql://schedulerd@db/ledger"\npassword_file = "the password"\n')
    ledger = load_schedulerd(file, {}).ledger
    assert ledger.path is None
    assert ledger.url == f"postgresql://schedulerd@db/ledger?password_file={tmp_path}/the%20password"
    file.write_text(
        '[ledger]\nurl = "postgresql://u:s3cret@db/ledger?sslmode=require"\npassword_file = "/p"\n'
    )
    ledger = load_schedulerd(file, {}).ledger
    assert ledger.url == "postgresql://u:s3cret@db/ledger?sslmode=require&password_file=/p"
    assert "s3cret" not in repr(ledger)
    file.write_text('[ledger]\npassword_file = "/p"\n')
    with pytest.raises(
        SettingsError, match=r"toml:2:1: ledger.password_file: a SQLite ledger has no password"
    ):
        load_schedulerd(file, {})


def looked_at(path: Path | None, environ: dict[str, str]) -> SchedulerdSettings:
    """As the program loads them."""
    return load_schedulerd(path, environ, look_at)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "postgresql://ann:s3cret@db/x?no_such=1",
            "it is not a PostgreSQL URL, expected postgresql://USER@HOST/DATABASE",
        ),
        (
            "postgresql://ann:s3cret@[db/x",
            "it is not a PostgreSQL URL, expected postgresql://USER@HOST/DATABASE",
        ),
        (
            "postgresql://ann:s3cret@db:port/x",
            "its port is no whole number, expected postgresql://USER@HOST/DATABASE",
        ),
        (
            "postgresql://ann:s3cret@db:66666/x",
            "its port is not from 1 to 65535, expected postgresql://USER@HOST/DATABASE",
        ),
        ("postgresql://ann@db/x?connect_timeout=soon", "its connect_timeout is no whole number, expected"),
    ],
)
def test_a_wrong_postgresql_url_is_told_with_its_place_and_without_its_password(
    url: str, said: str, tmp_path: Path
):
    (line,) = faults(f'[ledger]\n  url = "{url}"', tmp_path, load=looked_at)
    assert line.startswith(f"s.toml:2:3: ledger.url: {said}")
    assert "s3cret" not in line


def test_a_ledger_that_takes_longer_than_a_leader_may_be_stuck_is_refused(tmp_path: Path):
    usual = '[ledger]\nurl = "postgresql://ann@db/x"\n'
    (tmp_path / "s.toml").write_text(usual)
    settings = looked_at(tmp_path / "s.toml", {})
    assert (settings.ledger.answer, settings.election.terms.stuck) == (10, 17)
    (line,) = faults(f"{usual}answer_seconds = 11", tmp_path, load=looked_at)
    assert line.startswith(
        "s.toml:3:1: ledger.answer_seconds: answer_seconds, 1 more, and connecting anew (17: connect_timeout of the"
    )
    assert (
        "have to be below [election] stuck_seconds (17): a server that is silent has to be given up" in line
    )
    for url, key in (("db,eb", "2:1: ledger.url"), ("db/x?connect_timeout=0", "2:1: ledger.url")):
        (line,) = faults(f'[ledger]\nurl = "postgresql://ann@{url}"', tmp_path, load=looked_at)
        assert line.startswith(f"s.toml:{key}: answer_seconds, 1 more, and connecting anew (")
    (line,) = faults(f"{usual}[election]\nstuck_seconds = 16", tmp_path, load=looked_at)
    assert line.startswith("s.toml:4:1: election.stuck_seconds: answer_seconds, 1 more")
    assert faults("[election]\nstuck_seconds = 2", tmp_path) == [
        "s.toml:2:1: election.stuck_seconds: 2 is less than 3: a round in which nothing comes takes 2 s"
    ]
    (tmp_path / "s.toml").write_text("[ledger]\nanswer_seconds = 100\n")
    assert looked_at(tmp_path / "s.toml", {}).ledger.answer == 100  # a file answers or fails
