"""Countries of addresses, from a database written here."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.ingest.countries import Countries, CountriesUnreadable
from tests.api.ingest.maxmind import write_countries


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    networks = {"203.0.113.0/24": "DE", "198.51.100.7/32": "FR", "2001:db8::/32": "US"}
    return write_countries(tmp_path_factory.mktemp("countries") / "countries.mmdb", networks)


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("203.0.113.9", "DE"),
        ("203.0.113.255", "DE"),
        ("203.0.114.1", None),
        ("198.51.100.7", "FR"),
        ("198.51.100.8", None),
        ("2001:db8::1", "US"),
        ("2001:db9::1", None),
        ("127.0.0.1", None),
        ("nonsense", None),
        ("", None),
        (None, None),
    ],
)
def test_the_country_of_an_address(file: Path, address: str | None, code: str | None) -> None:
    with Countries(file) as countries:
        assert countries.code(address) == code


def test_without_a_file_every_country_is_unknown() -> None:
    with Countries(None) as countries:
        assert countries.code("203.0.113.9") is None


def test_after_closing_nothing_is_found(file: Path) -> None:
    countries = Countries(file)
    assert countries.code("203.0.113.9") == "DE"
    countries.close()
    assert countries.code("203.0.113.9") is None
    countries.close()


def test_a_record_without_a_country_code_of_two_letters_is_unknown(tmp_path: Path) -> None:
    with Countries(write_countries(tmp_path / "odd.mmdb", {"203.0.113.0/24": "Germany"})) as countries:
        assert countries.code("203.0.113.9") is None


def test_a_missing_file_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        CountriesUnreadable, match=r"absent\.mmdb: No such file or directory; name a MaxMind"
    ) as failure:
        Countries(tmp_path / "absent.mmdb")
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("content", [b"", b"not a database", b"\xab\xcd\xefMaxMind.com", bytes(4096)])
def test_a_corrupt_file_is_said_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "corrupt.mmdb"
    path.write_bytes(content)
    with pytest.raises(CountriesUnreadable, match=r"corrupt\.mmdb is not a MaxMind database; name") as failure:
        Countries(path)
    assert "\n" not in str(failure.value)


def test_a_truncated_file_is_refused_at_the_start(tmp_path: Path, file: Path) -> None:
    path = tmp_path / "truncated.mmdb"
    path.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(CountriesUnreadable):
        Countries(path)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CountriesUnreadable):
        Countries(tmp_path)


@given(st.text(st.characters(exclude_categories=())))
def test_no_address_makes_it_raise(file: Path, text: str) -> None:
    with Countries(file) as countries:
        assert countries.code(text) is None or "." in text or ":" in text
