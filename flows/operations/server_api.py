"""What Prefect's REST API answers, to a process that shall not import all of Prefect for a question."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import httpx

# How often the API is asked once more while its database is busy.
_ASKS = 20
_BUSY = 503


@dataclass(frozen=True)
class ServerApi:
    """The API at an address, e.g. ``http://127.0.0.1:4200/api``."""

    url: str
    login: str | None = None
    """``user:password``, where the API asks for one."""

    def ask(self, path: str, method: str = "POST", **body: Any) -> Any:
        """What it answers.

        Raises:
            httpx.HTTPError: nobody answers, or it refuses.
        """
        user, _, password = (self.login or "").partition(":")
        auth = httpx.BasicAuth(user, password) if self.login else None
        attempts = 0
        while True:
            answer = httpx.request(
                method, f"{self.url}/{path}", auth=auth, json=None if method == "GET" else body, timeout=30,
                trust_env=False,
            )  # fmt: skip
            attempts += 1
            # SQLite is busy, by Prefect's word for it.
            if answer.status_code != _BUSY or attempts == _ASKS:
                break
            time.sleep(1)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def answers(self) -> bool:
        """Whether anybody does."""
        try:
            self.ask("health", "GET")
        except httpx.HTTPError:
            return False
        return True
