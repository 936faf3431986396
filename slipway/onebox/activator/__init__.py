"""The activator: holds requests for a predictor at rest, wakes it, and puts it back to rest when nobody asks."""
