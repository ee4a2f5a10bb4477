from transforms.dead_letter import (
    DEAD_LETTER_SCHEMA,
    DeadLetter,
    Reason,
    Stage,
    dead_letter_table,
)


def test_a_table_has_a_row_for_each():
    letters = [
        DeadLetter(Stage.READ, Reason.BROKEN_ROW, "a.csv", 3),
        DeadLetter(Stage.DECODE, Reason.TOO_LARGE, "a.csv", 9, "text", "expected at most 5 bytes"),
    ]
    table = dead_letter_table(letters)
    assert table.schema == DEAD_LETTER_SCHEMA
    assert table.to_pylist()[1] == {
        "stage": "decode",
        "reason": "too_large",
        "source": "a.csv",
        "position": 9,
        "column": "text",
        "detail": "expected at most 5 bytes",
    }


def test_no_letters_are_an_empty_table():
    assert dead_letter_table([]).schema == DEAD_LETTER_SCHEMA


def test_the_names_of_reasons_are_a_contract():
    assert list(map(str, Reason)) == [
        "not_utf8",
        "not_json",
        "not_an_object",
        "too_deep",
        "duplicate_key",
        "broken_row",
        "unknown_kind",
        "missing_column",
        "wrong_type",
        "out_of_range",
        "not_finite",
        "too_large",
        "bad_time",
        "duplicate_id",
        "lone_surrogate",
        "internal_error",
    ]
