"""Text of errors is safe to print."""

from aevb.errors import ConfigError, one_line, printable


def test_text_is_printable_and_errors_are_one_line():
    assert printable("a\tb\né\x1b[31m\x07\x9b\u202e\ud800") == "a\tb\né\\x1b[31m\\x07\\x9b\\u202e\\ud800"
    assert one_line("a\n  b\r") == "a b\\r"
    assert str(ConfigError("a\n\x1b]0;title\x07")) == "a \\x1b]0;title\\x07"
    assert len(one_line("x" * 10**6)) < 3000
