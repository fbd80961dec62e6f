"""The networks of the course, each a function that returns a new one with random weights; a module a session."""
