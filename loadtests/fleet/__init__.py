"""Thousands of gateways on virtual time, and on paper: what the routing and capacity plane costs, and where
it ends."""
