# Everything a person or CI runs. `make help` lists it.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv --system-certs
QUICK := not e2e and not conformance and not browser and not gpu and not containers
SPREAD := --numprocesses=auto --maxprocesses=4 --dist=loadfile

.PHONY: help setup demo drill drill-long test check golden bench conformance training containers images protos

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

setup: $(VENV)/.ready  ## Make .venv with the slipway command (no root)

$(VENV)/.ready: requirements/platform.txt requirements/dev.txt pyproject.toml
	@scripts/preflight $(PYTHON)
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@sed -n '/^uv==/,/[^\\]$$/p' $< > $(VENV)/uv.txt
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/platform.txt -r requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@
	@echo "ready: $(BIN)/slipway"

demo: setup  ## Two versions behind a 90/10 canary: photos in, boxes out; runs until `slipway down`
	@$(BIN)/python -m scripts.demo

drill: setup  ## Break the platform of `make demo` piece by piece under load and count what is lost (9 minutes)
	@$(BIN)/python -m scripts.drill $(DRILL)

drill-long: setup  ## The same with 20,000 requests of each drill, every negative control, 200,000 under rolling updates
	@$(BIN)/python -m scripts.drill --long

test: check  ## Everything but conformance: checks, unit and golden tests, the real platform end to end
	$(BIN)/coverage run -m pytest tests/darknet -m "$(QUICK)" --durations=5
	$(BIN)/coverage report
	$(BIN)/pytest --ignore=tests/darknet -m "$(QUICK)" --durations=5 $(SPREAD)
	$(BIN)/pytest -m "(e2e or browser) and not conformance and not gpu" --timeout=900 --durations=10

conformance: setup  ## Compare with seldon-core 1.17.1 and ask with V2's own clients, in environments of their own
	tests/conformance/environment
	tests/conformance/v2_environment
	tests/helm_values/environment
	$(BIN)/pytest -m conformance --timeout=300 --durations=5

training: setup  ## Types and tests of training, in an environment with PyTorch (.venv-training)
	tests/training/environment
	$(BIN)/mypy --python-executable .venv-training/bin/python model_wrappers/darknet/training/*.py models/shapes/*.py
	.venv-training/bin/pytest tests/training --durations=5

containers: setup  ## seldon/base in real containers, in a Docker daemon of its own: as root, with docker.io and debootstrap
	$(BIN)/pytest tests/containers -m containers --timeout=900 --durations=5

images: setup  ## Container images by Docker or Podman: IMAGES="executor mlflow" ENGINE= BASE_IMAGE= BUILD_IMAGE= PLATFORM= REGISTRY= BUILD="--network host"
	@$(BIN)/python -m scripts.images $(IMAGES) --engine="$(ENGINE)" --base-image="$(BASE_IMAGE)" --build-image="$(BUILD_IMAGE)" \
	  --platform="$(PLATFORM)" --registry="$(REGISTRY)" -- $(BUILD)

bench: setup  ## Time the microservice beside the official one, the executor beside bare calls, a photo beside its network, the path beside one process
	tests/conformance/environment
	$(BIN)/python benchmarks/microservice.py
	$(BIN)/python benchmarks/graph.py
	$(BIN)/python benchmarks/photo.py
	$(BIN)/python benchmarks/path.py

golden: setup  ## Rewrite golden files; read the diff before you commit it
	$(BIN)/pytest -m "$(QUICK)" -k golden --update-golden

check: setup  ## Lint, types, import directions (no network)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

protos: setup  ## Regenerate the protobuf modules from slipway/contract/protos/*.proto
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. slipway/contract/protos/*.proto
	$(BIN)/python -m grpc_tools.protoc -I. --grpc_python_out=. slipway/contract/protos/prediction.proto
	sed -i 's/_descriptor_pool.Default()/_descriptor_pool.DescriptorPool()/' slipway/contract/protos/inference_pb2.py
