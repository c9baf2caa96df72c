"""Quotas of plans as they are written."""

import pytest

from schemas.quotas import parse_quotas, refusal


def test_words_and_numbers() -> None:
    assert parse_quotas("") == parse_quotas("off") == {}
    usual = parse_quotas("on")
    assert (usual["free"]["goals"], usual["pro"]["sites"], usual["business"]["team"]) == (5, 10, 20)
    assert "enterprise" not in usual
    assert parse_quotas('{"free": {"events": 5}}') == {"free": {"events": 5}}


@pytest.mark.parametrize("text", ["yes", "3", '{"free": 3}', '{"free": {"houses": 3}}', '{"free": {"sites": -1}}'])
def test_nonsense_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="sites"):
        parse_quotas(text)


def test_refusals_are_those_of_the_contract() -> None:
    assert refusal("keys") == "API key limit reached. Upgrade to create more keys."
    assert refusal("sites") == "Site limit reached. Upgrade to create more sites."
