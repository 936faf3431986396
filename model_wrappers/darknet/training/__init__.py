"""Train a cfg with PyTorch. Serving never imports this package."""
