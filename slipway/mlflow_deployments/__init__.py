"""``mlflow deployments`` with the target ``slipway``: a registered model becomes a SeldonDeployment, or a canary in one."""
