"""What operators see in a browser: live calls, history, a call's ladder, numbers, agents, a route tester."""
