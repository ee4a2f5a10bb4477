"""The page in a real browser: nothing sticks out at 400 and at 1,400 pixels."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from pipelines.report import render

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MEASURE = """<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe src="page.html" style="width:{width}px;height:900px;border:0"></iframe>
<pre id="told"></pre>
<script>
onload = () => {{
  const page = document.querySelector("iframe").contentDocument;
  const edge = page.documentElement.clientWidth;
  const out = [...page.querySelectorAll("body *")]
    .filter((one) => one.getBoundingClientRect().right > edge + 1)
    .map((one) => one.tagName + ":" + one.textContent.trim().slice(0, 40));
  document.querySelector("#told").textContent = "TOLD" + JSON.stringify({{
    edge, scroll: page.documentElement.scrollWidth, out,
    cards: page.querySelectorAll(".card").length,
    drawn: [...page.querySelectorAll("svg")].map((one) => one.getBoundingClientRect().height),
  }}) + "END";
}};
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: layout is not looked at")
@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_sticks_out(sample_report, tmp_path, width):
    (tmp_path / "page.html").write_text(render(sample_report), "utf-8")
    (tmp_path / "frame.html").write_text(MEASURE.format(width=width), "utf-8")
    assert CHROMIUM is not None
    dumped = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
            "--allow-file-access-from-files",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=1600,1000",
            "--virtual-time-budget=5000",
            "--dump-dom",
            (tmp_path / "frame.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    found = re.search(r"TOLD(\{.*\})END", dumped)
    assert found is not None, dumped[-2000:]
    told = json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert told["cards"] == 13
    assert told["scroll"] <= told["edge"] <= width
    assert told["out"] == []
    assert all(height > 150 for height in told["drawn"])
