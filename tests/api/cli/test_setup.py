"""`init` and `keys` on a metadata database of their own."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from api.cli.main import main


class Shell:
    """Runs commands on one data directory."""

    def __init__(self, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data_dir = data_dir
        self._capsys = capsys

    def run(self, *arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--data-dir", str(self.data_dir)])
        printed = self._capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    def json(self, *arguments: str) -> Any:
        status, out, err = self.run(*arguments, "--json")
        assert (status, err) == (0, "")
        return json.loads(out)


INIT = ("init", "--email", "ann@example.org", "--password", "secret", "--project", "web", "--domain", "example.org")


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return Shell(tmp_path / "data", capsys)


def test_init_prints_account_project_and_a_key_of_each_kind(shell: Shell) -> None:
    made = shell.json(*INIT)

    assert made["account"] == {"email": "ann@example.org"}
    assert {name: made["project"][name] for name in ("id", "name", "domain")} == {
        "id": 1,
        "name": "web",
        "domain": "example.org",
    }
    assert made["project"]["site_id"].startswith("site_")
    assert set(made["keys"]) == {"jcht", "jetrack", "zta", "cohorly", "ovyxa", "ingest", "read"}


def test_init_again_finds_what_is_there_and_mints_further_keys(shell: Shell) -> None:
    first, second = shell.json(*INIT), shell.json(*INIT)

    assert first["project"] == second["project"]
    assert not set(first["keys"].values()) & set(second["keys"].values())
    assert {key["revokedAt"] for key in shell.json("keys", "list")} == {None}
    assert len(shell.json("keys", "list")) == 14


def test_init_with_a_wrong_password_is_refused(shell: Shell) -> None:
    shell.json(*INIT)

    status, out, err = shell.run("init", "--email", "ann@example.org", "--password", "guess", "--project", "web")

    assert (status, out) == (1, "")
    assert err == "streamgauge: wrong password for the account ann@example.org\n"


def test_init_shows_people_every_secret(shell: Shell) -> None:
    status, out, _ = shell.run(*INIT)

    assert status == 0
    assert {"account ann@example.org", "project web", "keys, shown this once:"} <= set(out.splitlines())
    assert len([line for line in out.splitlines() if "_" in line and line.startswith("  ")]) == 9


def test_files_are_the_owners_alone(shell: Shell) -> None:
    shell.json(*INIT)

    assert stat.S_IMODE(shell.data_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((shell.data_dir / "meta.db").stat().st_mode) == 0o600


def test_a_native_key_belongs_to_the_only_project(shell: Shell) -> None:
    shell.json(*INIT)

    made = shell.json("keys", "create", "--email", "ann@example.org", "--scope", "read", "--name", "board")

    assert (made["dialect"], made["scope"], made["project"], made["name"]) == ("jcht", "read", 1, "board")
    assert made["key"].startswith(made["prefix"])


def test_among_several_projects_one_must_be_named(shell: Shell) -> None:
    shell.json(*INIT)
    shell.json("init", "--email", "ann@example.org", "--password", "secret", "--project", "app")

    status, _, err = shell.run("keys", "create", "--email", "ann@example.org")
    made = shell.json("keys", "create", "--email", "ann@example.org", "--project", "app")

    assert (status, err) == (1, "streamgauge: which project? name one with --project; the account has: web, app\n")
    assert made["project"] == 2


def test_an_unknown_project_and_an_unknown_account_are_one_line(shell: Shell) -> None:
    shell.json(*INIT)

    _, _, no_project = shell.run("keys", "create", "--email", "ann@example.org", "--project", "tv")
    _, _, no_account = shell.run("keys", "list", "--email", "bob@example.org")

    assert no_project == "streamgauge: the account has no project 'tv'; it has: web\n"
    assert no_account == "streamgauge: no account bob@example.org; `streamgauge init` makes one\n"


def test_a_dialects_key_is_the_accounts(shell: Shell) -> None:
    shell.json(*INIT)

    assert shell.json("keys", "create", "--email", "ann@example.org", "--dialect", "ovyxa")["project"] is None


def test_a_revoked_key_stays_in_the_list(shell: Shell) -> None:
    secret = shell.json(*INIT)["keys"]["read"]

    revoked = shell.json("keys", "revoke", secret)

    assert revoked["revokedAt"] is not None
    assert [key["id"] for key in shell.json("keys", "list") if key["revokedAt"]] == [revoked["id"]]
    assert shell.run("keys", "revoke", secret)[0] == 1


def test_a_regenerated_key_replaces_its_like(shell: Shell) -> None:
    secret = shell.json(*INIT)["keys"]["read"]

    fresh = shell.json("keys", "regenerate", secret)

    assert (fresh["scope"], fresh["project"]) == ("read", 1)
    assert fresh["key"] != secret
    assert sum(key["revokedAt"] is not None for key in shell.json("keys", "list")) == 1


def test_an_expiry_is_utc_and_in_the_future(shell: Shell) -> None:
    shell.json(*INIT)
    create = ("keys", "create", "--email", "ann@example.org")

    assert shell.json(*create, "--expires", "2999-01-02T03:04:05")["expiresAt"] == "2999-01-02T03:04:05Z"
    assert shell.run(*create, "--expires", "2001-01-01")[2] == "streamgauge: the key would have expired already\n"


def test_the_list_for_people_never_shows_a_secret(shell: Shell) -> None:
    made = shell.json(*INIT)

    status, out, _ = shell.run("keys", "list", "--dialect", "jcht")

    assert status == 0
    assert out.count(" live") == 3
    assert not any(secret in out for secret in made["keys"].values())


def test_account_is_shown_and_its_terms_are_set(shell: Shell) -> None:
    shell.run(*INIT)
    told = shell.json("account", "ANN@example.org")
    assert told == {"id": told["id"], "email": "ann@example.org", "plan": "free", "rateLimit": None}
    assert shell.json("account", "ann@example.org", "--plan", "pro") == told | {"plan": "pro"}
    limited = told | {"plan": "pro", "rateLimit": "5/60"}
    assert shell.json("account", "ann@example.org", "--rate-limit", "5/60") == limited
    assert shell.json("account", "ann@example.org", "--plan", "free", "--rate-limit", "") == told
    assert "rateLimit  usual" in shell.run("account", "ann@example.org")[1]
    for wrong in (("--plan", "gold"), ("--rate-limit", "many")):
        status, _, err = shell.run("account", "ann@example.org", *wrong)
        assert (status, err.count("\n")) == (1, 1)
    assert shell.run("account", "eve@example.org")[0] == 1


def test_key_may_have_limits_of_its_own(shell: Shell) -> None:
    shell.run(*INIT)
    status, _, _ = shell.run("keys", "create", "--email", "ann@example.org", "--rate-limit", "5/60")
    assert status == 0
    status, _, err = shell.run("keys", "create", "--email", "ann@example.org", "--rate-limit", "many")
    assert (status, "no rate limit" in err) == (1, True)
