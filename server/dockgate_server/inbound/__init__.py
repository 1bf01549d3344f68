"""What devices say: answers, events, requests, their topology and their state."""
