"""MLflow's tracking server besides serving: its databases' schema, its accounts, their backup."""
