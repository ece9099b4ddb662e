"""The units as systemd reads them, with the installed programs in place of /usr/bin."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.daemons import PROGRAMS

UNITS = Path(__file__).resolve().parents[2] / "systemd"

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (apt install systemd)"
)


def installed(directory: Path, name: str) -> Path:
    """A copy of one unit in `directory` that starts the program of this environment."""
    text = (UNITS / f"{name}.service").read_text()
    assert f"ExecStart=/usr/bin/{name} " in text
    unit = directory / f"{name}.service"
    unit.write_text(text.replace(f"/usr/bin/{name} ", f"{PROGRAMS / name} "))
    return unit


def analyze(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *command], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("name", ["schedulerd", "workerd"])
def test_systemd_finds_no_fault(name: str, tmp_path: Path):
    done = analyze("verify", installed(tmp_path, name))
    assert (done.returncode, done.stderr) == (0, "")  # what it does not know it only warns of


def test_systemd_finds_no_fault_in_a_worker_for_root(tmp_path: Path):
    unit = installed(tmp_path, "workerd")
    (tmp_path / "workerd.service.d").mkdir()
    shutil.copy(UNITS / "workerd-root.conf", tmp_path / "workerd.service.d")
    done = analyze("verify", unit)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_fault_would_be_found(tmp_path: Path):
    unit = installed(tmp_path, "schedulerd")
    unit.write_text(unit.read_text().replace("[Install]", "Wachdog=1\n[Install]"))
    assert "Wachdog" in analyze("verify", unit).stderr


@pytest.mark.parametrize(("name", "most"), [("schedulerd", 1.5), ("workerd", 2.2)])
def test_a_daemon_may_do_little_that_it_does_not_need(name: str, most: float):
    done = analyze("security", "--offline=true", "--no-pager", UNITS / f"{name}.service")
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert level, done.stdout + done.stderr
    assert float(level[1]) <= most


@pytest.mark.parametrize("name", ["schedulerd", "workerd"])
def test_the_unit_says_what_the_daemons_count_on(name: str):
    text = (UNITS / f"{name}.service").read_text()
    for line in (
        "Type=notify",
        "NotifyAccess=main",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Restart=always",
        "StartLimitIntervalSec=0",
        "KillMode=mixed",
        f"StateDirectory={name}",
        f"RuntimeDirectory={name}",
        "LimitNOFILE=65536",
    ):
        assert f"\n{line}\n" in text
    assert re.search(r"^WatchdogSec=\d+$", text, re.MULTILINE)
    assert ("\nDelegate=yes\n" in text) is (name == "workerd")


def test_the_users_of_the_units_can_be_made():
    if shutil.which("systemd-sysusers") is None:
        pytest.skip("systemd-sysusers is not installed (apt install systemd)")
    done = subprocess.run(
        ["systemd-sysusers", "--dry-run", UNITS / "sysusers.conf"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    for name in ("schedulerd", "workerd"):
        assert f"User={name}\n" in (UNITS / f"{name}.service").read_text()
        assert re.search(rf"^u {name} ", (UNITS / "sysusers.conf").read_text(), re.MULTILINE)
