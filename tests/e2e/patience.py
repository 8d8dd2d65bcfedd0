"""How long the end-to-end tests wait for what should happen at once."""

from __future__ import annotations

PATIENCE = 30.0
"""Seconds until a test gives up. Nothing is asserted about how long things take; a machine may start several
gateways beside a test, at four seconds of CPU each, and five seconds were too few for that at times.
"""
