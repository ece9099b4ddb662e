"""Where the tests' Consul comes from: the machine's own sources, in both of apt's formats."""

from pathlib import Path

import pytest
from support import apt_fetch

ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb http://one.example/debian bookworm main contrib
deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] https://two.example/debian/ bookworm main # remark
deb-src http://source.example/debian bookworm main
deb http://security.example/debian-security bookworm-security main
deb https://vendor.example/linux/debian bookworm stable
deb cdrom:[Debian 12]/ bookworm main
deb http://one.example/debian bookworm main
"""

DEB822 = """\
# a remark
Types: deb deb-src
# a remark in the middle
URIs: http://three.example/debian
 http://four.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://alias.example/debian
Suites: stable
Components: main non-free
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 URIs: http://not-a-field.example/
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text(ONE_LINE)
    (parts / "debian.sources").write_text(DEB822)
    (parts / "old.list.disabled").write_text("deb http://disabled.example/debian bookworm main\n")
    return tmp_path


def test_both_formats_give_the_archives_of_this_release_once_and_nobody_elses(sources: Path):
    assert apt_fetch.archive_uris(sources, "bookworm") == [
        "http://one.example/debian",
        "https://two.example/debian/",
        "http://three.example/debian",
        "http://four.example/debian",
        "http://alias.example/debian",
    ]


def test_another_release_finds_only_what_names_no_release(sources: Path):
    assert apt_fetch.archive_uris(sources, "trixie") == ["http://alias.example/debian"]


def test_a_machine_without_sources_has_none(tmp_path: Path):
    assert apt_fetch.archive_uris(tmp_path, "bookworm") == []


def test_a_package_that_is_none_leaves_what_was_there(tmp_path: Path):
    target = tmp_path / "consul"
    target.mkdir()
    (target / "kept").write_text("")
    broken = tmp_path / "broken.deb"
    broken.write_bytes(b"!<arch>\nnonsense")
    with pytest.raises(apt_fetch.FetchError, match=r"^unpack: "):
        apt_fetch.unpack(broken, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.deb", "consul"]
    assert (target / "kept").exists()
