"""Addresses in settings: their forms, and which of them are open to other hosts. Opens no socket.

A daemon that listens beyond loopback without keys would let everybody run commands, so that has to be said
twice.
"""

import ipaddress
import re
from urllib.parse import urlsplit

from schedulerd.hostkit.settings_source import Source

_HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%a-z]+\]|[A-Za-z0-9._-]+|\*):(?P<port>[0-9]{1,5}|\*)")
_EVERY_INTERFACE = ("*", "0.0.0.0", "[::]")


def split(text: str) -> tuple[str, str] | None:
    """(host, port) of HOST:PORT, with an IPv6 address still in brackets; None when it is not of that form.

    A port of 0 or `*` stands for a free one and comes back as `*`.
    """
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        return None
    port = match["port"]
    if port != "*" and int(port) > 65535:
        return None
    return match["host"], "*" if port == "*" or int(port) == 0 else port


def is_loopback(host: str) -> bool:
    """Whether only this host can reach `host`. A name other than localhost may be anything, so it is not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_of(endpoint: str) -> str:
    """The host in `tcp://HOST:PORT`, for an endpoint that was checked here."""
    return (split(endpoint.removeprefix("tcp://")) or ("127.0.0.1", "*"))[0]


def listening(source: Source, section: str, key: str, default: str, insecure: bool) -> str:
    """A ZeroMQ address to listen on, `tcp://HOST:PORT`, with `*` for a free port."""
    text = source.text(section, key, default)
    parts = split(text.removeprefix("tcp://")) if text.startswith("tcp://") else None
    if parts is None:
        source.fault(section, key, f'"{text}" is not of the form tcp://HOST:PORT')
        return default
    _refuse_open(source, section, key, parts[0], insecure)
    return f"tcp://{parts[0]}:{parts[1]}"


def listening_http(source: Source, section: str, key: str, default: str, insecure: bool) -> str:
    """An address for HTTP to listen on, `HOST:PORT` with 0 for a free port, or nothing at all."""
    text = source.text(section, key, default)
    if not text:
        return ""
    parts = split(text)
    if parts is None:
        source.fault(section, key, f'"{text}" is not of the form HOST:PORT (empty = no TCP)')
        return default
    _refuse_open(source, section, key, parts[0], insecure)
    host = "0.0.0.0" if parts[0] == "*" else parts[0]
    return f"{host}:{'0' if parts[1] == '*' else parts[1]}"


def advertised(source: Source, section: str, key: str, listen: str, listens: str) -> str:
    """What others connect to, `HOST:PORT`; empty when it is known only once a free port is bound."""
    text = source.text(section, key, "")
    host, port = split(listen.removeprefix("tcp://")) or ("", "*")
    if text:
        if (parts := split(text)) is None or parts[1] == "*" or parts[0] in _EVERY_INTERFACE:
            source.fault(section, key, f'"{text}" is not of the form HOST:PORT that others can connect to')
        return text
    if host in _EVERY_INTERFACE:
        source.fault(section, key, f"has to be set, because {listens} names every interface of this host")
    return "" if port == "*" else f"{host}:{port}"


def advertised_http(source: Source, section: str, key: str) -> str:
    """Where an HTTP API is written to, `HOST:PORT` or `http://HOST:PORT` (also https); empty = not said."""
    text = source.text(section, key, "").rstrip("/")
    if not text:
        return ""
    parts = urlsplit(text if "://" in text else f"http://{text}")
    found = split(parts.netloc)
    if parts.scheme not in ("http", "https") or found is None or found[1] == "*" or parts.path:
        source.fault(section, key, f'"{text}" is not of the form HOST:PORT or http://HOST:PORT')
    elif found[0] in _EVERY_INTERFACE:
        source.fault(
            section, key, f'"{text}" names every interface of this host; others need one they can reach'
        )
    return text


def agent(source: Source, section: str, key: str, default: str) -> str:
    """The address of an HTTP agent, `http://HOST:PORT` or https."""
    text = source.text(section, key, default)
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or split(parts.netloc) is None or parts.path not in ("", "/"):
        source.fault(section, key, f'"{text}" is not of the form http://HOST:PORT')
    return text.rstrip("/")


def _refuse_open(source: Source, section: str, key: str, host: str, insecure: bool) -> None:
    if not is_loopback(host) and not insecure:
        source.fault(
            section,
            key,
            f"{host} is not a loopback address: without keys everybody who reaches it could run commands; "
            "set insecure = true under [transport] if the network is yours alone",
        )
