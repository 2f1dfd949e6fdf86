"""The run folder: its layout, status, lock, and the trained model in it."""
