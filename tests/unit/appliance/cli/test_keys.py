"""`appliance keys`."""

from __future__ import annotations

from appliance.api_keys import FILE_NAME, ApiKeys
from tests.unit.appliance.cli.conftest import Shell


def test_a_key_is_made_used_and_taken_away(shell: Shell) -> None:
    made = shell.run("keys", "create", "warehouse")
    key = made.stdout.strip()
    assert "only now" in made.stderr  # so that KEY=$(appliance keys create ...) holds the key alone
    keys = ApiKeys(shell.data / FILE_NAME)
    assert keys.verify(key) == "warehouse"
    assert "warehouse" in shell.ok("keys", "list")
    assert key not in shell.ok("keys", "list")
    shell.ok("keys", "revoke", "warehouse")
    assert ApiKeys(shell.data / FILE_NAME).verify(key) is None


def test_a_key_that_is_not_there_cannot_be_revoked(shell: Shell) -> None:
    assert "There is no key 'x'" in shell.fails("keys", "revoke", "x")


def test_without_keys_it_says_how_to_make_one(shell: Shell) -> None:
    result = shell.run("keys", "list")
    assert result.exit_code == 0
    assert "appliance keys create NAME" in result.stderr
