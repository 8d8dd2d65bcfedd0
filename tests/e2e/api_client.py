"""A customer of the phone-number API: plain HTTP, no code of ours."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from tests.e2e.patience import PATIENCE
from tests.e2e.wire import Address

KEY = "oi_sk_the-key-of-the-end-to-end-tests"


class ApiClient:
    """Asks the API of one gateway."""

    def __init__(self, address: Address) -> None:
        self._root = f"http://{address[0]}:{address[1]}/v1"

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The body of the answer, which must be a success."""
        request = urllib.request.Request(
            self._root + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                text = answer.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                raise AssertionError(f"{method} {path}: {refusal.code} {refusal.read().decode()}") from None
        return json.loads(text) if text else None

    def agent(self, agent_id: str, url: str) -> None:
        self.ask("POST", "/agents", {"id": agent_id, "name": agent_id, "endpoints": [{"url": url}]})

    def number(self, phone_number: str, agent_id: str) -> str:
        """Register a number that an agent answers; returns its id."""
        body = {
            "phone_number": phone_number,
            "provider": "twilio",
            "inbound_routing": {"agent_id": agent_id},
        }
        return str(self.ask("POST", "/phone-numbers", body)["id"])
