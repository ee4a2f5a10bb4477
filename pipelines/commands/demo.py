"""`lockstep demo`: the main job end to end, on made-up data, in one folder."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Folder to make; an earlier demo's is replaced.")],
    events: Annotated[int, typer.Option(help="About how many events.")] = 250_000,
    workers: Annotated[
        int | None, typer.Option(help="Processes; as many as pay if not given.")
    ] = None,
) -> None:
    """Simulate, backfill, run nightly, stream, evaluate, prove parity; then say what is where."""
    from pipelines.commands._shared import config_path, load_config
    from pipelines.demo import DemoRequest, run_demo
    from pipelines.progress import choose_progress

    if out.exists():
        if not (out / "input").is_dir():
            raise typer.BadParameter(f"{out} is there and no demo made it; give another --out")
        shutil.rmtree(out)
    started = time.monotonic()
    request = DemoRequest(
        spec=load_config("chat_full"),
        config=config_path("chat_full").read_text(),
        out=out,
        events=events,
        workers=workers,
    )
    for line in run_demo(request, choose_progress()):
        print(line)
    print(f"all of it took {time.monotonic() - started:.0f} s")
