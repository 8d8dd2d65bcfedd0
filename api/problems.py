"""Errors as the API tells them: problem documents (RFC 9457) that name field, rule and fix.

Every kind of problem has an entry in `KINDS`, which the page at `/docs/problems` is made of; a problem's
`type` is that entry's address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from msgspec import Struct

CONTENT_TYPE: Final = "application/problem+json"

TYPE_PREFIX: Final = "/docs/problems#"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem.

    status: HTTP status; title: short, the same every time; meaning: for people, with what to do.
    """

    status: int
    title: str
    meaning: str


KINDS: Final[Mapping[str, Kind]] = {
    "malformed": Kind(
        400, "Malformed request", "The body is not JSON, or not UTF-8. Correct it and send it again."
    ),
    "unauthorized": Kind(
        401,
        "No valid API key",
        "Send `Authorization: Bearer oi_sk_…` with a key that exists, has not expired and was not revoked.",
    ),
    "insufficient-funds": Kind(
        402,
        "The account's balance does not pay for it",
        "The carrier will not sell on credit: add funds to the account in its console, then ask again.",
    ),
    "forbidden": Kind(
        403,
        "Not allowed with this key",
        "The key lacks the scope that the operation needs. Use one that has it.",
    ),
    "bad-signature": Kind(
        403,
        "Signature not valid",
        "A webhook must be signed by the carrier: check the integration's key, and `carriers.public_url`.",
    ),
    "not-found": Kind(404, "Not found", "Nothing is at this address: check the id, or list what there is."),
    "method-not-allowed": Kind(
        405,
        "Method not allowed",
        "The address exists, but not with this method; `Allow` lists those that do.",
    ),
    "request-timeout": Kind(
        408, "Request not complete", "The body did not arrive in time. Send it again, in one go."
    ),
    "number-exists": Kind(
        409,
        "Number already registered",
        "A number is registered once. The problem names the holder: change that one, or delete it first.",
    ),
    "number-unavailable": Kind(
        409, "Number not available", "Somebody else has it, or the carrier has none like it. Search again."
    ),
    "documents-needed": Kind(
        409,
        "A regulation wants documents",
        "The country asks for an address or documents (a bundle) first: file them in the carrier's console.",
    ),
    "credentials-refused": Kind(
        409,
        "The carrier does not take the account's key",
        "Put the account's present key into the integration: `PATCH /v1/integrations/{id}`.",
    ),
    "account-suspended": Kind(
        409,
        "The account may not do this",
        "The carrier has suspended or restricted the account: its console says why, its support lifts it.",
    ),
    "id-exists": Kind(409, "Id already taken", "Choose another id, or leave it out and one is made."),
    "in-use": Kind(
        409,
        "Still in use",
        "Others refer to it, which the problem lists. Change those, or cut the references: `?force=true`.",
    ),
    "last-key": Kind(
        409,
        "Last key that may write",
        "Without it nobody could make another. Create a key with scope `write` first.",
    ),
    "in-progress": Kind(
        409,
        "Still being worked on",
        "An earlier request for the same thing has not finished. Wait for `Retry-After`, then ask again.",
    ),
    "too-many": Kind(409, "Too many of them", "There are as many as may be. Delete one first."),
    "precondition-failed": Kind(
        412,
        "Changed meanwhile",
        "`If-Match` names an older state. Get the resource again, and repeat the change with its new ETag.",
    ),
    "too-large": Kind(413, "Request too large", "Send less: the problem names the limit in bytes."),
    "range-not-satisfiable": Kind(
        416, "No such part", "`Range` begins after the end: `Content-Range` tells how many bytes there are."
    ),
    "unsupported-media-type": Kind(
        415,
        "Unsupported media type",
        "Send `application/json` (to PATCH also `application/merge-patch+json`), in UTF-8, uncompressed;"
        " or a file of a type that the operation lists.",
    ),
    "invalid": Kind(
        422, "Invalid request", "`errors` names each field, the rule that it breaks, and the fix."
    ),
    "idempotency-key-reused": Kind(
        422,
        "Idempotency-Key reused",
        "The key came with another request before. Use a fresh one for each; repeat one only to retry.",
    ),
    "too-many-requests": Kind(
        429, "Too many requests", "Wait as many seconds as `Retry-After` says. The limit is `api.rate_limit`."
    ),
    "carrier-throttled": Kind(
        429,
        "Too many requests, says the carrier",
        "The account is asked too often, by us or by others. Wait as many seconds as `Retry-After` says.",
    ),
    "internal": Kind(
        500,
        "Internal error",
        "A fault of ours; it is in the log under the `request_id` that the problem gives.",
    ),
    "carrier-failed": Kind(
        502, "The carrier failed", "`detail` says what the carrier answered. Nothing was lost: ask again."
    ),
    "unavailable": Kind(
        503, "Not available now", "The store or the carrier cannot be reached. Ask again after `Retry-After`."
    ),
}


class FieldError(Struct, frozen=True, omit_defaults=True):
    """What is wrong with one field.

    field: its path in body, query or headers, as in `inbound_routing.fallback.agent_id`.
    rule: which rule is broken, as one word; detail: for people; fix: what to do.
    """

    field: str
    rule: str
    detail: str
    fix: str


class ProblemDocument(Struct, frozen=True, omit_defaults=True):
    """A problem as it is sent (RFC 9457 §3); some kinds have members of their own besides."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []


class Problem(Exception):  # noqa: N818 - as RFC 9457 calls it
    """A request cannot be granted.

    Args:
        kind: a key of `KINDS`.
        detail: what happened this time, for people.
        errors: what is wrong with which fields.
        headers: HTTP headers of the response.
        extra: further members of the document.

    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        errors: list[FieldError] | None = None,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.status = KINDS[kind].status
        self.detail = detail
        self.errors = errors or []
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def document(self) -> dict[str, Any]:
        """The problem as it is sent."""
        document: dict[str, Any] = {
            "type": TYPE_PREFIX + self.kind,
            "title": KINDS[self.kind].title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = self.errors
        return document | self.extra


def invalid(*errors: FieldError) -> Problem:
    """A request whose fields break rules."""
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem("invalid", f"{first.field}: {first.detail}{more}", errors=list(errors))


def not_found(what: str, name: str) -> Problem:
    """Nothing of that id."""
    return Problem("not-found", f"no {what} {name}")
