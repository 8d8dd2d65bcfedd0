"""What agents speak on a WebSocket: text messages in, events out. Sans-IO; knows no socket and no codec."""
