"""What answers look like, for the reference; a test has each of them pass its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from api import email_types, greeting_types, types, voicemail_types, webhook_types

_TIMES: Final = {"created_at": "2026-11-23T12:00:00.000Z", "updated_at": "2026-11-23T12:00:00.000Z"}

_ROUTING: Final = {
    "agent_id": "agt_sales",
    "fallback": {"agent_id": "agt_overflow"},
    "voicemail_message": "Sorry, we missed you. Please leave a message.",
}

_NUMBER: Final = {
    "id": "phn_4f8k2m9qx7tz1c3v",
    "phone_number": "+14155550100",
    "friendly_name": "Sales Line",
    "provider": "twilio",
    "agent_id": "agt_sales",
    "status": "active",
    "provisioning": None,
    "purchased": False,
    "inbound_trunk_id": None,
    "outbound_trunk_id": None,
    "dispatch_rule_id": None,
    "credential_id": "crd_7c1m5k8r2d9f4g6h",
    "provider_config": {
        "trunk_address": "yourtrunk.pstn.twilio.com",
        "auth_username": "oneinbox",
        "auth_password_set": True,
    },
    "inbound_routing": _ROUTING,
    **_TIMES,
    "version": 1,
}

_AGENT: Final[dict[str, Any]] = {
    "id": "agt_sales",
    "name": "Sales agent",
    "endpoints": [
        {
            "url": "sip:bot@192.0.2.10:5060",
            "protocol": None,
            "priority": 10,
            "weight": 10,
            "max_calls": 50,
            "headers": {},
            "auth_token": None,
            "options": {},
            "region": None,
        }
    ],
    "voicemail_message": "Sorry, we missed you. Please leave a message.",
    "recording": None,
    "voicemail_greeting": None,
    "numbers": 1,
    **_TIMES,
    "version": 1,
}

_INTEGRATION: Final = {
    "id": "crd_7c1m5k8r2d9f4g6h",
    "name": "My Twilio Account",
    "provider": "twilio",
    "masked_key": "••••9f2c",
    "metadata": {
        "account_sid": "AC00000000000000000000000000000000",
        "sip_trunk": "yourtrunk.pstn.twilio.com",
    },
    **_TIMES,
    "version": 1,
}

_KEY: Final = {
    "id": "key_2b6n8p4s1w3x5y7z",
    "name": "Dashboard",
    "prefix": "oi_sk_Ab3d",
    "scopes": ["read"],
    "created_at": "2026-11-23T12:00:00.000Z",
    "expires_at": None,
    "last_used_at": None,
}

_AVAILABLE: Final = {
    "phone_number": "+14155550100",
    "country": "US",
    "region": "CA",
    "locality": "San Francisco",
    "type": "local",
    "capabilities": ["voice"],
    "monthly_price": "1.15",
    "upfront_price": None,
    "currency": "USD",
}

_PROVISIONING: Final = {
    "state": "wiring",
    "steps": [
        {
            "step": "purchase",
            "status": "done",
            "started_at": "2026-11-23T12:00:00.000Z",
            "finished_at": "2026-11-23T12:00:00.812Z",
        },
        {
            "step": "trunk",
            "status": "done",
            "started_at": "2026-11-23T12:00:00.812Z",
            "finished_at": "2026-11-23T12:00:01.644Z",
        },
        {
            "step": "origination",
            "status": "failed",
            "started_at": "2026-11-23T12:00:01.644Z",
            "error": "service unavailable (20503)",
        },
        {"step": "attachment", "status": "waiting"},
        {"step": "permissions", "status": "waiting"},
    ],
    "attempts": 1,
    "next_attempt_at": "2026-11-23T12:00:02.700Z",
}


_VOICEMAIL: Final = {
    "id": "vm_5d1f0c9a7b3e2468",
    "phone_number": "+14155550100",
    "from_number": "+14155550111",
    "call_id": "5d1f0c9a7b3e2468",
    "carrier": "twilio",
    "agent_id": "agt_sales",
    "duration_seconds": 12.5,
    "too_short": False,
    "heard": False,
    "transcription": "done",
    "transcript": "Hello, this is Ada. Please call me back.",
    "audio_url": "/v1/voicemails/vm_5d1f0c9a7b3e2468/audio",
    **_TIMES,
    "version": 1,
}


_GREETING: Final = {
    "id": "grt_6e1h9k3m7q2s5t8w",
    "name": "Closed on Sundays",
    "duration_seconds": 6.48,
    "size_bytes": 103724,
    "audio_url": "/v1/greetings/grt_6e1h9k3m7q2s5t8w/audio",
    "created_at": "2026-11-23T12:00:00.000Z",
}

_EMAIL: Final = {
    "id": "dlv_2a4c6e8g1j3m5p7r",
    "voicemail_id": "vm_5d1f0c9a7b3e2468",
    "to": "sales@example.com",
    "status": "failed",
    "attempts": 1,
    "error": "550 no such user",
    "next_attempt_at": None,
    **_TIMES,
}

_WEBHOOK: Final = {
    "id": "whk_3k9m2n7q5r8t1v4x",
    "name": "Call log",
    "url": "https://hooks.example.com/voice",
    "events": ["call.ended", "voicemail.created"],
    "status": "active",
    **_TIMES,
    "version": 1,
}

_DELIVERY: Final = {
    "id": "dlv_8c2d5f7h1j4k6m9n",
    "event_id": "evt_5d1f0c9a7b3e2468",
    "event": "call.ended",
    "status": "failed",
    "attempts": 11,
    "response_status": 500,
    "error": "answered 500",
    "next_attempt_at": None,
    **_TIMES,
}


def _page(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"items": [item], "total": 1, "limit": 20, "offset": 0}


EXAMPLES: Final[Mapping[type, Mapping[str, Any]]] = {
    types.PhoneNumberShown: _NUMBER,
    types.PhoneNumberPage: _page(_NUMBER),
    types.PhoneNumberCursorPage: {
        "items": [_NUMBER],
        "next_cursor": "czE",
        "has_more": True,
        "limit": 100,
    },
    types.Provisioning: _PROVISIONING,
    types.InboundRoutingBody: _ROUTING,
    types.AgentShown: _AGENT,
    types.AgentPage: _page(_AGENT),
    types.IntegrationShown: _INTEGRATION,
    types.IntegrationPage: _page(_INTEGRATION),
    types.ApiKeyMade: {**_KEY, "key": "oi_sk_Ab3dXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX"},
    types.ApiKeyPage: _page(_KEY),
    voicemail_types.VoicemailShown: _VOICEMAIL,
    voicemail_types.VoicemailPage: _page(_VOICEMAIL),
    voicemail_types.VoicemailCursorPage: {
        "items": [_VOICEMAIL],
        "next_cursor": "czE",
        "has_more": True,
        "limit": 100,
    },
    email_types.EmailShown: _EMAIL,
    email_types.EmailPage: _page(_EMAIL),
    greeting_types.GreetingShown: _GREETING,
    greeting_types.GreetingPage: _page(_GREETING),
    webhook_types.WebhookMade: {**_WEBHOOK, "secret": "whsec_XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX"},
    webhook_types.WebhookShown: _WEBHOOK,
    webhook_types.WebhookPage: _page(_WEBHOOK),
    webhook_types.WebhookTested: {"delivered": True, "response_status": 200, "error": ""},
    webhook_types.DeliveryShown: _DELIVERY,
    webhook_types.DeliveryPage: _page(_DELIVERY),
    types.AvailableNumbers: {"items": [_AVAILABLE]},
    types.ImportResult: {
        "created": 1,
        "updated": 0,
        "unchanged": 0,
        "skipped": 0,
        "failed": 1,
        "errors": [
            {
                "index": 1,
                "field": "phone_number",
                "rule": "pattern",
                "detail": "expected str matching a pattern",
                "fix": "write it in E.164, with a plus and the country code, as in +14155550100",
            }
        ],
    },
}
