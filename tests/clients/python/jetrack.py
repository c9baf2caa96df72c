"""A report on an account's websites, with `requests` and its exceptions."""

import json
import os
from typing import Any

import requests

API = os.environ["BASE_URL"] + "/api/v1"
KEY = os.environ["JETRACK_KEY"]


def read(path: str, key: str = KEY, **params: str) -> Any:
    """What a path answers; raises `requests.HTTPError` for a status that is none of success."""
    answer = requests.get(f"{API}{path}", headers={"X-API-Key": key}, params=params, timeout=30)
    answer.raise_for_status()
    return answer.json()


def refusal(path: str, key: str = KEY, **params: str) -> Any:
    """How a path refuses."""
    try:
        return read(path, key, **params)
    except requests.HTTPError as error:
        return [error.response.status_code, error.response.json()["meta"]]


def main() -> None:
    """Print everything that was learned."""
    websites = read("/websites")["data"]
    first = f"/websites/{websites[0]['id']}/stats/main"
    report = {
        "email": read("/account")["data"]["email"],
        "websites": websites,
        "stats": read(first, **{"from": "2025-01-01", "to": "2025-01-31"})["data"],
        "unauthorized": refusal("/account", key="bj_live_nobody"),
        "forbidden": refusal(f"/websites/{os.environ['FOREIGN']}/stats/main"),
        "invalid": refusal(first, **{"from": "January", "to": "2025-01-31"}),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
