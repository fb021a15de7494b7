"""What a job is: its name, options, arguments and the context it runs in. Nothing here talks to Redis."""
