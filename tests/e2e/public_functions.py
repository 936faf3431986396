"""What flavour, plugin and client offer, and the test with the real MLflow, PostgreSQL and S3 that calls it."""

from __future__ import annotations

DESCRIBED = ("test_deployments_plugin.py", "test_created_deployment_is_available_and_described")
LOGGED = ("test_flavour.py", "test_version_is_tagged_described_and_pointed_to")
STORED = ("test_flavour.py", "test_stored_model_says_its_signature_and_its_environment")
SAVED = ("test_flavour.py", "test_saved_folder_is_registered_by_mlflows_own_function")
ASYNCHRONOUS = ("test_client.py", "test_asynchronous_client_does_all_that_the_blocking_one_does")
FORMS = ("test_client.py", "test_photo_in_every_form_gives_the_boxes")
MESSAGES = ("test_client.py", "test_whole_message_and_feedback_pass")

FLAVOUR = {
    "PhotoModel.predict": ("test_flavour.py", "test_mlflow_models_serve_answers_invocations"),
    "SourceFiles.in_folder": LOGGED,
    "_load_pyfunc": ("test_flavour.py", "test_pyfunc_of_the_registry_answers_as_the_detector"),
    "check_file_names": ("test_flavour.py", "test_file_that_would_lie_on_another_is_refused_before_anything_is_logged"),
    "get_default_conda_env": STORED,
    "get_default_pip_requirements": STORED,
    "load_model": ("test_flavour.py", "test_download_is_what_was_registered"),
    "log_model": LOGGED,
    "proof_tags": SAVED,
    "save_model": SAVED,
    "set_alias": ("test_flavour.py", "test_alias_has_a_record_of_who_and_why"),
    "signature": STORED,
    "tag_version": ("test_flavour.py", "test_version_can_be_tagged_again"),
}
PLUGIN = {
    "SlipwayDeploymentClient.create_deployment": DESCRIBED,
    "SlipwayDeploymentClient.delete_deployment": ("test_deployments_plugin.py", "test_canary_can_be_removed_again"),
    "SlipwayDeploymentClient.get_deployment": DESCRIBED,
    "SlipwayDeploymentClient.list_deployments": DESCRIBED,
    "SlipwayDeploymentClient.predict": ("test_deployments_plugin.py", "test_predict_takes_a_photo_in_every_form"),
    "SlipwayDeploymentClient.update_deployment": (
        "test_deployments_plugin.py",
        "test_canary_split_and_promotion_lose_no_request",
    ),
    "parse_target": ("test_deployments_plugin.py", "test_other_context_is_looked_up"),
    "run_local": ("test_deployments_plugin.py", "test_running_locally_leads_to_this_machine_as_a_target"),
    "target_help": ("test_deployments_plugin.py", "test_command_line_does_the_same"),
}
CLIENT = {
    "AsyncClient.close": ASYNCHRONOUS,
    "AsyncClient.detect": ASYNCHRONOUS,
    "AsyncClient.detect_many": ("test_client.py", "test_many_photos_are_split_as_declared"),
    "AsyncClient.feedback": ASYNCHRONOUS,
    "AsyncClient.predict": ASYNCHRONOUS,
    "Client.close": FORMS,
    "Client.detect": FORMS,
    "Client.detect_many": ("test_bccd.py", "test_cells_are_found_through_the_gateway_as_well_as_in_the_readme"),
    "Client.feedback": MESSAGES,
    "Client.predict": MESSAGES,
    "Detections.draw": ("test_client.py", "test_boxes_are_drawn_on_the_photo_that_was_sent"),
}
EVERY = {
    "model_wrappers.mlflow_darknet": FLAVOUR,
    "slipway.mlflow_deployments.plugin": PLUGIN,
    "slipway.client": CLIENT,
}
NO_CALL = {"Tls.context", "Tls.read"}
"""Nothing that stands on one machine has TLS for predictions: tests/client/test_real_servers.py has servers with it."""
