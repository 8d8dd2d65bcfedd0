"""Established calls outlive their process: what is kept of them, and who goes on with them."""
