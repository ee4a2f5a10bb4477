"""A page in headless Chromium: how wide it is, and what sticks out."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed: layout is not looked at"
)
_MEASURE = """<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe src="page.html" style="width:{width}px;height:900px;border:0"></iframe>
<pre id="told"></pre>
<script>
onload = () => {{
  const page = document.querySelector("iframe").contentDocument;
  page.querySelectorAll("details").forEach((one) => {{ one.open = true; }});
  const edge = page.documentElement.clientWidth;
  const out = [...page.querySelectorAll("body *")]
    .filter((one) => one.getBoundingClientRect().right > edge + 1)
    .map((one) => one.tagName + ":" + one.textContent.trim().slice(0, 40));
  document.querySelector("#told").textContent = "TOLD" + JSON.stringify({{
    edge, scroll: page.documentElement.scrollWidth, out,
    vanished: [...page.querySelectorAll("tbody td, tbody th")]
      .filter((one) => one.textContent.trim() && one.getBoundingClientRect().width === 0)
      .map((one) => one.textContent.trim().slice(0, 40)),
    unnamed: [...page.querySelectorAll("thead")]
      .filter((one) => one.getBoundingClientRect().width === 0)
      .flatMap((one) => [...one.parentElement.querySelectorAll("tbody td:not([data-l])")])
      .filter((one) => one.textContent.trim() && one.colSpan === 1)
      .map((one) => one.textContent.trim().slice(0, 40)),
    cards: page.querySelectorAll(".card").length,
    cut: [...page.querySelectorAll(".card")]
      .filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.id),
    clash: [...page.querySelectorAll("svg")].flatMap((svg) => {{
      const box = svg.getBoundingClientRect();
      const texts = [...svg.querySelectorAll("text")].filter((one) => one.textContent.trim())
        .map((one) => [one.textContent.trim(), one.getBoundingClientRect()]);
      return texts.flatMap(([name, a], at) => [
        ...(a.left < box.left - 1 || a.right > box.right + 1 ? [name + " is cut"] : []),
        ...texts.slice(at + 1)
          .filter(([, b]) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
            && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4)
          .map(([other]) => name + " on " + other)]);
    }}),
    drawn: [...page.querySelectorAll("svg")].map((one) => one.getBoundingClientRect().height),
  }}) + "END";
}};
</script>"""


def measure(page: str, width: int, folder: Path) -> dict[str, Any]:
    """What a browser makes of a page at a width in pixels.

    `edge`, `scroll`: widths; `out`, `vanished`, `unnamed`: what sticks out, has no width, has no
    column's name; `cards`, `drawn`: how many, and heights of plots; `clash`: labels of plots that
    are cut or lie on each other; `cut`: cards whose content is wider than they are; `console`:
    what the browser complains of.
    """
    (folder / "page.html").write_text(page, "utf-8")
    (folder / "frame.html").write_text(_MEASURE.format(width=width), "utf-8")
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
            "--allow-file-access-from-files",
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1600,1000",
            "--virtual-time-budget=5000",
            "--enable-logging=stderr",
            "--dump-dom",
            (folder / "frame.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    dumped = done.stdout
    found = re.search(r"TOLD(\{.*\})END", dumped)
    assert found is not None, dumped[-2000:]
    told: dict[str, Any] = json.loads(
        found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    )
    told["console"] = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return told
