"""Several processes that share one machine's SIP ports: whose a message is, and how it gets there."""
