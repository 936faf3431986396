"""What stands in Secrets that nobody has filled in yet (``mlflow/components/placeholder-secrets``)."""

PLACEHOLDER = "CHANGE-ME"
