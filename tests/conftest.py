"""What all tests rely on."""

import signal

# A shell that starts the tests in the background lets them, and all that they start, ignore Ctrl-C, which some test.
signal.signal(signal.SIGINT, signal.default_int_handler)
