"""The checks: each module holds its questions, and decides from the answers."""
