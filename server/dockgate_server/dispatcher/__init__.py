"""What happens between a durable command and its end: sending and deadlines."""
