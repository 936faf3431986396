-- Beside `mlflow`, which the image makes: MLflow's accounts and permissions.
CREATE DATABASE mlflow_auth;
