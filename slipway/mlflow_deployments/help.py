"""``mlflow deployments help -t slipway``."""

from __future__ import annotations

from slipway.mlflow_deployments.settings import GATEWAY, GATEWAY_VARIABLE, table

HELP = f"""
Target `slipway`: a registered Darknet model becomes a SeldonDeployment, an image transformer before a detector, on this
machine (`slipway up`) or on any cluster that KUBECONFIG leads to.

  slipway             the current context of KUBECONFIG
  slipway:/CONTEXT    another context

MODEL_URI is models:/NAME@ALIAS, models:/NAME/VERSION or s3://BUCKET/FOLDER. An endpoint is a namespace.

Examples:
  mlflow deployments create -t slipway --name yolo -m models:/yolov3@champion
  mlflow deployments update -t slipway --name yolo -m models:/yolov3@challenger -C traffic=10
  mlflow deployments update -t slipway --name yolo -C traffic=50
  mlflow deployments update -t slipway --name yolo -C promote=true -C why="finds more"
  mlflow deployments update -t slipway --name yolo -C rollback=true -C why="too many boxes"
  mlflow deployments delete -t slipway --name yolo -C predictor=canary
  mlflow deployments predict -t slipway --name yolo -I photos.json

`predict` asks the gateway at {GATEWAY_VARIABLE} (default {GATEWAY}). photos.json is a table with a column `image`
(base64) or `path`: [{{"path": "photo.jpg"}}]

Keys of -C:
{table()}
"""
