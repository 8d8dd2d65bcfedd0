"""What the cloud says about the machine that we run on: its public IPv4 address.

Each cloud answers on a link-local address, to machines of its own alone, and wants a header that a redirected
browser could not send.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import ClientError, ClientSession

MAX_ANSWER: Final = 1024
"""Bytes; an address has fifteen."""

SECONDS: Final = 2.0
"""For all questions together; a metadata service answers within milliseconds, or is not there."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """Where to ask, and how.

    token: a path that is asked by PUT first; its answer goes into `token_header` of the question.
    """

    root: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    token: str = ""
    token_header: str = ""


CLOUDS: Final = {
    "aws": Cloud(  # IMDSv2
        "http://169.254.169.254",
        "/latest/meta-data/public-ipv4",
        {"X-aws-ec2-metadata-token-ttl-seconds": "60"},
        "/latest/api/token",
        "X-aws-ec2-metadata-token",
    ),
    "gcp": Cloud(
        "http://169.254.169.254",
        "/computeMetadata/v1/instance/network-interfaces/0/access-configs/0/external-ip",
        {"Metadata-Flavor": "Google"},
    ),
    "azure": Cloud(
        "http://169.254.169.254",
        "/metadata/instance/network/interface/0/ipv4/ipAddress/0/publicIpAddress"
        "?api-version=2021-02-01&format=text",
        {"Metadata": "true"},
    ),
}


class MetadataError(Exception):
    """The cloud did not say; the message tells what it said instead."""


async def public_address(session: ClientSession, cloud: Cloud) -> str:
    """What it answers: an address, unless it lies. The caller bounds the time.

    Raises:
        MetadataError: nobody answers there, or not with success.

    """
    try:
        headers = dict(cloud.headers)
        if cloud.token:
            token = await _ask(session, "PUT", cloud.root + cloud.token, headers)
            headers = {cloud.token_header: token}
        return await _ask(session, "GET", cloud.root + cloud.path, headers)
    except ClientError as error:
        raise MetadataError(f"no metadata service: {error}") from error
    except ValueError as error:
        raise MetadataError("an answer that is no text") from error


async def _ask(session: ClientSession, method: str, url: str, headers: Mapping[str, str]) -> str:
    async with session.request(method, url, headers=headers, allow_redirects=False) as answer:
        body = await answer.content.read(MAX_ANSWER)
        if answer.status != 200:
            raise MetadataError(
                f"{answer.status} from its metadata service: has the machine a public address?"
            )
        return body.decode("ascii").strip()
