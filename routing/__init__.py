"""Which destinations a dialled number has, and how fresh we know it."""
