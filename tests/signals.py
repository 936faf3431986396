"""Signals for processes of tests."""

HEARS_SIGNALS = ("env", "--default-signal=HUP,INT")
"""Before a command: SIGHUP and SIGINT do to it what they do in a terminal, also where whoever runs the tests ignores them
(nohup, a shell's background)."""
