"""The command line and the servers: they never touch a tensor."""
