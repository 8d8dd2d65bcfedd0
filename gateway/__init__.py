"""The service that carriers call: SIP, media, calls, operations."""
