"""Where a call can end up: agents over SIP, voicemail."""
