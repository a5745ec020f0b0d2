"""The server: restoring over HTTP, with one queue and one model in memory. It never touches a tensor."""
