"""Parts of the README, for tests that hold it against the programs."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    """What stands between a heading, `## Companions` for example, and the next one."""
    match = re.search(rf"^{re.escape(heading)}$(.*?)(?=^##)", README, re.MULTILINE | re.DOTALL)
    assert match, f"there is no heading {heading!r} in README.md"
    return match[1]


def rows(text: str, first: str) -> list[list[str]]:
    """The table in `text` whose first head is `first`, without its heads; every cell as it stands."""
    table = re.search(rf"^\| {first} \|.*\n\|---.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table, f"there is no table whose first head is {first!r}"
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[1].splitlines()]
