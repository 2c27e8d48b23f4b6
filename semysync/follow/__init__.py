"""What follows on events: hooks, and the listener for the service's webhooks."""
