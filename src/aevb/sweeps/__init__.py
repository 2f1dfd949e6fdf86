"""Many runs: launchers, search, and the table at the end."""
