"""The run folder: its layout, and one reader and one writer of each of its files. Nothing else knows the format."""
