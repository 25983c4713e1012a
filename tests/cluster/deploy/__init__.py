"""The deployment files: run with stand-ins where they can be, else held to schemas and to one another."""
