"""The benchmark of selective labels tells what its table says, on one seed of a world."""

from benchmarks.selective import (
    FIGURES,
    estimates,
    labels_of,
    live,
    main,
    small_world,
    true_figures,
)


def test_weights_find_what_enforcement_hid_and_naive_figures_do_not():
    lived = live(small_world(), seed=3)
    true, found = true_figures(lived), estimates(lived)
    for figure in FIGURES:
        for method in ("ipw", "self_normalised", "doubly_robust"):
            made = found[method][figure]
            assert made.low <= true[figure] <= made.high, (figure, method)
        assert found["naive: unjudged is harmless"][figure].high < true[figure]
    # Only what was looked at by chance has a label that counts, and all of it has matured.
    audited = labels_of(lived, ["audit"]) >= 0
    chance = lived.truth["audit"].to_numpy()
    through = lived.wanted & ~lived.truth["blocked"].to_numpy()
    assert audited[through].all()
    assert 0.03 < audited[~lived.wanted].mean() < 0.07
    assert set(chance[lived.wanted].tolist()) == {0.1}


def test_the_table_has_a_row_per_figure_and_method(capsys):
    main(["--seeds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 5 * len(FIGURES)
    assert all(line.count("|") == 10 for line in lines)
