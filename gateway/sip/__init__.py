"""SIP and nothing but SIP; what is below `transport` and `endpoint` does no input or output."""
