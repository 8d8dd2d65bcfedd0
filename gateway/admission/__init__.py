"""Who may call, how many at a time, and when we take no calls."""
