"""A voice agent to talk to before you have one of your own."""
