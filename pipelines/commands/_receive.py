"""`lockstep labels receive`: Coop's callbacks, over HTTP or from a file, become verdict events."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer


def receive(
    to: Annotated[Path, typer.Option(help="Folder of verdicts, within a source of events.")],
    key: Annotated[
        list[Path], typer.Option(help="Coop's public key in PEM; may repeat while it is rotated.")
    ],
    abuse: Annotated[list[str], typer.Option(help="Id of an action that says abuse; may repeat.")],
    clear: Annotated[
        list[str] | None, typer.Option(help="Id of an action that says not abuse; may repeat.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(help="Id of an action that says nothing; may repeat.")
    ] = None,
    account_type: Annotated[
        list[str] | None, typer.Option(help="Id of an item type that is an account; may repeat.")
    ] = None,
    subject_prefix: Annotated[
        str, typer.Option(help="Put before an item's id, such as 'message:' for ingest's ids.")
    ] = "",
    source: Annotated[
        Path | None, typer.Option("--from", help="Take callbacks of this file, and end.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Coop must reach it; what it signed is taken.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for a free one.")] = 9190,
    most_bytes: Annotated[int, typer.Option(min=1024, help="Most bytes of a body.")] = 1 << 20,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
) -> None:
    """Take signed callbacks of Coop as verdicts, until SIGTERM; each is on the disk before 200."""
    from pipelines.coop import (
        Ledger,
        ReceiveRequest,
        Rules,
        Signatures,
        import_callbacks,
    )
    from pipelines.coop import receive as run
    from pipelines.progress import choose_progress

    said = [*abuse, *(clear or ()), *(ignore or ())]
    twice = sorted({one for one in said if said.count(one) > 1})
    if twice:
        raise typer.BadParameter(
            f"actions {', '.join(twice)} are named more than once by --abuse, --clear and --ignore"
        )
    rules = Rules(
        abuse=frozenset(abuse),
        clear=frozenset(clear or ()),
        ignored=frozenset(ignore or ()),
        account_types=frozenset(account_type or ()),
        subject_prefix=subject_prefix,
    )
    signatures = Signatures(key)
    progress = choose_progress(quiet)
    with Ledger(to, _now_us) as ledger:
        if ledger.ahead_us > _AHEAD_US:
            progress.say(
                f"the last verdict in {to} is {ledger.ahead_us / 1e6:,.0f} s ahead of this clock; "
                "new ones get times right after it until the clock has caught up"
            )
        if source is None:
            run(ReceiveRequest(host, port, most_bytes), ledger, signatures, rules, progress)
            return
        made = import_callbacks(source, ledger, signatures, rules, _now_us())
    print(f"{made.added:,} verdicts added, {made.known:,} known already, {made.ignored:,} ignored")


_AHEAD_US = 60_000_000


def _now_us() -> int:
    return time.time_ns() // 1000
