"""TXT records of a name server on loopback."""

import asyncio

import dns.rcode
import pytest

from api.lookup import LookupFailed, text_records
from tests.nameserver import serving_names


def test_records_of_a_name() -> None:
    with serving_names() as names:
        names.records["a.example"] = ['"one"', '"two parts" " of one"']
        names.records["empty.example"] = []
        assert sorted(asyncio.run(text_records("a.example", names.address))) == ["one", "two parts of one"]
        assert asyncio.run(text_records("empty.example", names.address)) == []
        assert asyncio.run(text_records("nobody.example", names.address)) == []


def test_no_answer_is_not_no_record() -> None:
    with serving_names() as names:
        names.code = dns.rcode.SERVFAIL
        with pytest.raises(LookupFailed):
            asyncio.run(text_records("a.example", names.address))
