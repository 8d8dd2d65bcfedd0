"""One inbound call from INVITE to goodbye: a plan of destinations, tried in order until one takes it."""
