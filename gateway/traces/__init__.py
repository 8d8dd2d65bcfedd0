"""What went over the wire for each call: written while calls go on, put together when somebody asks."""
