"""leader: who leads the cluster, and having another lead."""

from typing import Any

import click

from schedulerd.ctl import times
from schedulerd.ctl.exits import Exit, Failure, printable
from schedulerd.ctl.session import Session, common, pass_session


@click.command("leader")
@click.option("--step-down", is_flag=True, help="Have the leader let a standby lead.")
@common
@pass_session
def leader_verb(session: Session, step_down: bool) -> None:
    """Who leads, since when, and who would take over."""
    if step_down:
        _step_down(session)
        return
    cluster = session.client.get("/v1/cluster")
    if cluster["leader"] is None:
        raise Failure(Exit.UNREACHABLE, "nobody leads", cluster["reasons"])
    names = ("leader", "standbys", "election", "lease_age_seconds")
    session.show_one(
        {name: cluster[name] for name in names} | {"name": cluster["leader"]["name"]},
        "name",
        lambda found: _show(session, found),
    )


def _show(session: Session, found: dict[str, Any]) -> None:
    leader, standbys, age = found["leader"], found["standbys"], found["lease_age_seconds"]
    since = "-"
    if leader["since"]:
        since = f"{times.shown(leader['since'], session.zone)} ({times.ago(leader['since'], session.now())})"
    election = found["election"] if age is None else f"{found['election']}, lease renewed {age:.1f} s ago"
    others = "not known" if standbys is None else ", ".join(standbys) or "none"
    for name, text in (
        ("leader", f"{leader['name']}  {leader['id']}"),
        ("epoch", str(leader["epoch"])),
        ("since", since),
        ("address", leader["url"] or "-"),
        ("version", leader["version"] or "-"),
        ("election", election),
        ("standbys", others),
    ):
        click.echo(f"{name:<10} {printable(text)}")


def _step_down(session: Session) -> None:
    answer = session.client.post("/v1/cluster/step-down")
    leader = answer["leader"]
    if leader is None:
        raise Failure(Exit.UNREACHABLE, "the leader stepped down, and nobody leads yet")
    who = f"{leader['name']}, epoch {leader['epoch']}"
    if not answer["handed_over"]:
        raise Failure(Exit.FAILED, f"no standby took over: the same scheduler leads again, {who}")
    session.show_one(
        leader,
        "name",
        lambda found: session.say(f"{printable(found['name'])} leads now, epoch {found['epoch']}"),
    )
