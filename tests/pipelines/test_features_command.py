"""`lockstep features` lists everything that the model sees, once."""

import json

import pytest

from configs.loader import load, shipped
from pipelines.commands.features import features
from transforms.catalog import CATALOG
from transforms.inputs import numeric_names


@pytest.mark.parametrize("name", ["chat", "card_fraud", "video_comments", "mail"])
def test_every_input_is_listed(name, capsys):
    spec = load(shipped(name), CATALOG)
    features(name, as_json=True)
    infos = json.loads(capsys.readouterr().out)["features"]
    seen = [info["name"] for info in infos if info["role"] not in ("categorical", "text")]
    assert sorted(set(seen) - set(spec.inputs.exclude)) == sorted(numeric_names(spec))
    assert len(seen) == len(set(seen))
    assert [info["name"] for info in infos if info["role"] == "categorical"] == [
        one.column for one in spec.inputs.categorical
    ]
    assert all(info["about"] and info["dtype"] and info["null_rule"] for info in infos)
    features(name, as_json=False)
    text = capsys.readouterr().out
    assert all(info["name"] in text for info in infos)
    assert "short by none" not in text
