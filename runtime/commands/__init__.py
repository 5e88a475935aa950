"""One module a command: its arguments, and a `run` that imports what is heavy only when called."""
