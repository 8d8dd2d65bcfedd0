"""What operators see: metrics, logs, ladders."""
