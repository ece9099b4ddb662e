"""Who must not take part in an election: a scheduler whose ledger is not the one that the others keep."""

from schedulerd.hostkit.clock import boot_id
from schedulerd.protocol import consul_names
from schedulerd.protocol.leader_card import LeaderCard


def foreign(cluster: str, own: str, theirs: LeaderCard) -> str:
    """One sentence: our ledger, with the id `own` (empty: nobody has led by it), is not that of who led or leads."""
    ours = own or "one by which nobody has led yet"
    return (
        f'[ledger] url: cluster "{cluster}" keeps the ledger {theirs.ledger_id} (epoch {theirs.epoch} is that of '
        f"{theirs.words()}), and this is {ours}: all schedulers of a cluster share one ledger; if the cluster has "
        f"moved to this one for good, delete the key {consul_names.leader_key(cluster)} in Consul; this schedulerd "
        "takes no part"
    )


def refusal(cluster: str, ours: LeaderCard, theirs: LeaderCard, *, is_live: bool) -> str:
    """One sentence, or nothing. `theirs` leads (`is_live`) or was the last to lead."""
    if theirs.id == ours.id and not is_live:
        return ""  # state directory and ledger have moved together
    is_ours_sqlite, is_theirs_sqlite = ours.ledger.startswith("sqlite"), theirs.ledger.startswith("sqlite")
    is_one_host = theirs.host == ours.host or theirs.boot == boot_id()
    if is_ours_sqlite and is_theirs_sqlite and not is_one_host:
        return (
            f'[ledger] url: a SQLite ledger serves one host, and that of cluster "{cluster}" is on another, '
            f"{theirs.words()}: use postgresql:// for schedulers on several hosts, or, if the ledger has moved here "
            f"for good, delete the key {consul_names.leader_key(cluster)} in Consul; this schedulerd takes no part"
        )
    if is_live and theirs.ledger and (is_ours_sqlite or is_theirs_sqlite) and theirs.ledger != ours.ledger:
        return (
            f'[ledger] url: cluster "{cluster}" is led by {theirs.words()} with the ledger {theirs.ledger}, and this '
            f"is {ours.ledger}: all schedulers of a cluster share one ledger; this schedulerd takes no part"
        )
    return ""
