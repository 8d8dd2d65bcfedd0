"""Text to telephone audio: engines, and a cache that has messages ready before they are needed."""
