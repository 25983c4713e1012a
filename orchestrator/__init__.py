"""What is to be run, and what has happened.

The front door re-exports the contracts only, so that importing any sub-package stays cheap.
Imports run one way: cli, app, then workers and surrogates, then metadataset and scheduling, then contracts.
"""
