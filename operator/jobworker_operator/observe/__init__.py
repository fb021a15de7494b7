"""What is: reflectors of the API server, the activity of workers in Redis."""
