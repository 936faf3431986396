"""SIGHUP for processes of tests."""

HEARS_HANGUPS = ("env", "--default-signal=HUP")
"""Before a command: SIGHUP does to it what it does in a terminal, also where whoever runs the tests ignores it (nohup)."""
