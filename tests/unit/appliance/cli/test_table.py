"""Columns for people."""

from __future__ import annotations

from appliance.cli.table import table


def test_columns_are_as_wide_as_they_need_to_be() -> None:
    assert table(("name", "ms"), [("a", "1.5"), ("longer", "12.0")], right=(1,)).splitlines() == [
        "name      ms",
        "a        1.5",
        "longer  12.0",
    ]


def test_a_table_without_rows_is_its_heads() -> None:
    assert table(("name", "ms"), []) == "name  ms"
