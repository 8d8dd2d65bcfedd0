"""What happens to recordings when they are finished: into the store, and deleted in time."""
