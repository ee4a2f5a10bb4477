"""Settings that came later leave fingerprints as they were, and only where they came."""

import dataclasses

from configs.fingerprint import _LATER, _plain
from configs.schema import Labels


@dataclasses.dataclass(frozen=True)
class Other:
    """It had these settings from the first day."""

    source: str | None = None
    expires_us: int | None = None


def test_a_later_setting_is_known_by_what_has_it():
    assert _plain(Other()) == {"source": None, "expires_us": None}
    unused = Labels("verdict", "subject", None, None)
    assert not {"source", "precedence", "expires_us"} & _plain(unused).keys()
    used = dataclasses.replace(unused, expires_us=5, source="who")
    assert _plain(used) == _plain(unused) | {"expires_us": 5, "source": "who"}


def test_each_later_setting_is_there_and_can_be_left_out():
    for kind, names in _LATER.items():
        fields = {one.name: one for one in dataclasses.fields(kind)}
        for name in names:
            given = fields[name].default, fields[name].default_factory
            assert given != (dataclasses.MISSING, dataclasses.MISSING)
