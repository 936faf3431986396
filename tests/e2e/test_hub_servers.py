"""A hub user's server and its kernel: what it can do, whose it is, its limits and its end."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pwd
import re
import shutil
import signal
import stat
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from slipway.onebox.services.hub.accounts import account_of, kubeconfig_of
from slipway.onebox.services.hub.limits import KILLED_FIRST, MAX_MEMORY_BYTES, MAX_PROCESSES
from slipway.onebox.services.hub.programs import find_programs
from slipway.onebox.services.hub.running import load_running
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.supervisor.history import Phase
from slipway.onebox.supervisor.procfs import command_line, pids
from slipway.onebox.supervisor.state import load_states
from tests.e2e.hub import PASSWORD, CellError, Hub, HubSession
from tests.e2e.platform import Platform
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
POLL_INTERVAL_S = 30
"""How often JupyterHub looks whether a server still runs."""
OTHER_NAMESPACES = ("default", "slipway-system", "istio-system", "user-eve")
DETECTOR = """
import subprocess, json, pathlib
manifest = {
    "apiVersion": "machinelearning.seldon.io/v1", "kind": "SeldonDeployment", "metadata": {"name": "mine"},
    "spec": {"predictors": [{"name": "main", "replicas": 1,
        "graph": {"name": "image-transformer", "type": "TRANSFORMER",
            "parameters": [{"name": "input", "value": "192x192", "type": "STRING"}],
            "children": [{"name": "yolo-detector", "type": "MODEL", "modelUri": "models:/shapes/1"}]},
        "componentSpecs": [{"spec": {"containers": [
            {"name": "image-transformer", "image": "slipway/image-transformer:0.1.0"},
            {"name": "yolo-detector", "image": "slipway/yolo-detector:0.1.0"}]}}]}]}}
print(subprocess.run(["kubectl", "apply", "-f", "-"], input=json.dumps(manifest), text=True, check=True,
                     capture_output=True).stdout)
"""
KUBECTL = """
import subprocess
done = subprocess.run(["kubectl", *{words!r}], capture_output=True, text=True)
print(done.returncode, done.stdout, done.stderr)
"""
TRACKING = """
import mlflow
mlflow.set_experiment("ada-first")
with mlflow.start_run() as run:
    mlflow.log_metric("loss", 0.5)
    mlflow.log_text("a note", "note.txt")
print(mlflow.artifacts.load_text(run.info.artifact_uri + "/note.txt"))
client = mlflow.MlflowClient()
client.create_registered_model("ada-model-" + run.info.run_id)
client.set_registered_model_tag("ada-model-" + run.info.run_id, "owner", "ada")
print(client.search_runs([run.info.experiment_id])[0].data.metrics)
"""
FOREIGN_MODEL = """
import mlflow
try:
    mlflow.MlflowClient().set_registered_model_tag("shapes", "owner", "ada")
except mlflow.MlflowException as error:
    print(error)
"""
BUCKET = """
import boto3
from botocore.exceptions import ClientError
s3 = boto3.client("s3")
refused = []
for name, call in {
    "bucket": lambda: s3.create_bucket(Bucket="mine"),
    "versioning": lambda: s3.put_bucket_versioning(
        Bucket="slipway-models", VersioningConfiguration={"Status": "Suspended"}),
    "version": lambda: [
        s3.delete_object(Bucket="slipway-models", Key=one["Key"], VersionId=one["VersionId"])
        for one in s3.list_object_versions(Bucket="slipway-models", MaxKeys=1)["Versions"]],
}.items():
    try:
        call()
    except ClientError as error:
        refused.append((name, error.response["Error"]["Code"]))
print(refused)
"""
LEFT_BEHIND = """
import os, subprocess
job = subprocess.Popen(["sleep", "1000"], start_new_session=True)
hidden = subprocess.Popen(["sleep", "1000"], start_new_session=True, env={}) if os.getuid() in range(20000, 60000) else job
print(os.getpid(), os.getppid(), job.pid, hidden.pid)
"""
REMEMBERED = """
import asyncio, os, signal
from slipway.onebox.services.hub.spawner import SlipwaySpawner
from slipway.onebox.supervisor.procfs import identify

async def main():
    pid = int(os.environ["PID"])
    now = identify(pid)
    same = {"pid": pid, "start_ticks": now.start_ticks, "boot": now.boot}
    for state in (same, {**same, "boot": "another"}, {**same, "start_ticks": now.start_ticks - 1}, {"pid": pid}):
        one, other = SlipwaySpawner(), SlipwaySpawner()
        one.load_state(state)
        other.load_state(state)
        print(await one.poll(), await other._signal(0 if state is same else signal.SIGKILL))

asyncio.run(main())
"""
HOLD_MEMORY = """
import subprocess, sys
code = "held = bytearray(900 << 20); held[::4096] = b'1' * len(held[::4096]); import time; time.sleep(50)"
done = subprocess.run([sys.executable, "-c", code])
print(done.returncode)
"""
SPARK = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
rows = spark.range(1000).selectExpr("id % 7 AS rest").groupBy("rest").count().orderBy("rest").collect()
print(spark.version, spark.sparkContext.master, [row["count"] for row in rows])
spark.stop()
"""
SERVE = """
import base64, json, pathlib, socket, subprocess, time, urllib.request
import cv2
from models.shapes.draw import draw
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
words = ["mlflow", "models", "serve", "-m", "models:/shapes/1", "--env-manager", "local", "--port", str(port)]
log = open("serve.log", "wb")
process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT)
deadline = time.monotonic() + 100
while True:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/ping").close()
        break
    except OSError:
        assert process.poll() is None and time.monotonic() < deadline, pathlib.Path("serve.log").read_text()
        time.sleep(0.2)
truth = draw(900_007)  # a seed of no training
encoded = cv2.imencode(".png", truth.pixels[..., ::-1])[1].tobytes()
table = {"columns": ["image"], "data": [[base64.b64encode(encoded).decode()]]}
question = urllib.request.Request(
    f"http://127.0.0.1:{port}/invocations", data=json.dumps({"dataframe_split": table}).encode(),
    headers={"Content-Type": "application/json"})
found = json.load(urllib.request.urlopen(question))["predictions"][0]["detections"]
process.terminate()
print(json.dumps([len(truth.boxes), len(found)]), process.wait())
"""
READ = """
import pathlib
for name in {names!r}:
    try:
        path = pathlib.Path(name)
        path.read_bytes() if path.is_file() else list(path.iterdir())
        print("read", name)
    except OSError as error:
        print(error.strerror, name)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ada(hub: Hub) -> AsyncIterator[HubSession]:
    async with hub.user("ada") as session:
        yield session


async def kubectl(session: HubSession, *words: str) -> str:
    return (await session.run_cell(KUBECTL.format(words=words))).text


async def test_kernel_is_the_users_own(ada: HubSession, platform: Platform) -> None:
    home = platform.paths.hub_home("ada")
    result = await ada.run_cell("import os; print(os.getcwd(), os.environ['SLIPWAY_GATEWAY'], os.getuid())")
    folder, gateway, uid = result.text.split()
    assert (folder, gateway) == (str(home), f"http://{platform.gateway}")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert home.stat().st_uid == int(uid)
    assert (int(uid) == os.getuid()) == (os.getuid() != 0)


async def test_error_of_a_cell_is_told(ada: HubSession) -> None:
    with pytest.raises(CellError, match="ZeroDivisionError"):
        await ada.run_cell("1 / 0")


async def test_notebook_tracks_runs_and_owns_its_models(ada: HubSession) -> None:
    result = await ada.run_cell(TRACKING)
    assert "a note" in result.text
    assert "{'loss': 0.5}" in result.text
    assert "PERMISSION_DENIED" in (await ada.run_cell(FOREIGN_MODEL)).text.upper().replace(" ", "_")


async def test_notebook_cannot_change_buckets_or_destroy_versions(ada: HubSession) -> None:
    result = await ada.run_cell(BUCKET)
    assert {name for name, _ in eval(result.text)} == {"bucket", "versioning", "version"}


async def test_notebook_may_work_in_its_own_namespace(ada: HubSession) -> None:
    assert (await kubectl(ada, "config", "view", "--minify", "-o", "jsonpath={..namespace}")).startswith("0 user-ada")
    assert (await kubectl(ada, "create", "configmap", "settings", "--from-literal=a=b")).startswith("0 ")
    assert (await kubectl(ada, "get", "sdep,pods,deployments,events,jobs")).startswith("0 ")


@pytest.mark.parametrize("namespace", OTHER_NAMESPACES)
async def test_notebook_is_refused_in_every_other_namespace(ada: HubSession, namespace: str) -> None:
    for words in (
        ("get", "sdep"),
        ("get", "pods"),
        ("get", "secrets"),
        ("create", "configmap", "x", "--from-literal=a=b"),
        ("delete", "sdep", "yolo"),
    ):
        out = await kubectl(ada, *words, "-n", namespace)
        assert out.startswith("1 "), out
        assert "forbidden" in out.lower(), out


@pytest.mark.parametrize(
    "words",
    [
        ("get", "secrets"),
        ("create", "role", "more", "--verb=get", "--resource=secrets"),
        ("create", "rolebinding", "more", "--clusterrole=admin", "--serviceaccount=user-ada:tenant"),
        ("create", "clusterrolebinding", "more", "--clusterrole=admin", "--serviceaccount=user-ada:tenant"),
        ("patch", "role", "tenant", "--type=json", "-p", '[{"op": "remove", "path": "/rules/0"}]'),
        ("create", "serviceaccount", "another"),
        ("create", "token", "tenant"),
        ("create", "namespace", "another"),
        ("get", "sdep", "-A"),
        ("get", "sdep", "--as", "slipway:admin", "--as-group", "system:masters"),
    ],
)
async def test_notebook_cannot_widen_its_rights(ada: HubSession, words: tuple[str, ...]) -> None:
    out = await kubectl(ada, *words)
    assert out.startswith("1 "), out
    assert "forbidden" in out.lower(), out


async def test_model_is_served_in_the_users_namespace(ada: HubSession, platform: Platform) -> None:
    await ada.run_cell(DETECTOR)
    platform.wait_available("mine", "user-ada")
    out = await kubectl(ada, "get", "sdep", "mine", "-o", "jsonpath={.status.state}")
    assert out.startswith("0 Available")
    assert (await kubectl(ada, "delete", "sdep", "mine")).startswith("0 ")


async def test_training_job_of_a_user_finds_the_users_keys(ada: HubSession, platform: Platform) -> None:
    """training/job.yaml reads them from this Secret, which the user's Pods may have and the user need not see."""
    found = platform.get("secret", "slipway-training", "user-ada")["data"]
    user = (await ada.run_cell("import os; print(os.environ['MLFLOW_TRACKING_USERNAME'])")).text.strip()
    assert base64.b64decode(found["MLFLOW_TRACKING_USERNAME"]).decode() == user
    written = "import boto3; boto3.client('s3').put_object(Bucket='training', Key='ada/checkpoint', Body=b'1')"
    await ada.run_cell(written)


async def test_keys_of_users_are_in_no_command_line_and_no_log(ada: HubSession, platform: Platform) -> None:
    account = account_of("ada", ensure_secrets(platform.paths.secrets))
    kubeconfig = kubeconfig_of(platform.paths.hub_home("ada"))
    assert account.api_token in kubeconfig.read_text()
    assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600
    searched = {str(pid): command_line(pid) for pid in pids()}
    searched |= {str(path): path.read_text(errors="replace") for path in platform.paths.logs.iterdir()}
    assert len(searched) > 10
    keys = (account.api_token, account.mlflow_password, PASSWORD)
    assert [name for name, text in searched.items() if any(key in text for key in keys)] == []


async def test_what_a_user_can_read_is_what_up_says(ada: HubSession, platform: Platform) -> None:
    """As root nothing of the platform's or of another user's; else everything, and `up` warns."""
    names = [str(path) for path in (platform.paths.secrets, platform.paths.kubeconfig, platform.paths.logs)]
    lines = (await ada.run_cell(READ.format(names=names))).text.splitlines()
    expected = "Permission denied" if os.getuid() == 0 else "read"
    assert [line.startswith(expected) for line in lines] == [True] * len(names), lines


async def test_killed_hub_finds_its_servers_again(ada: HubSession, platform: Platform) -> None:
    await ada.run_cell("kept = 42")
    before = load_states(platform.paths.run)["hub"].identity
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)

    def is_back() -> bool:
        state = load_states(platform.paths.run).get("hub")
        return state is not None and state.phase is Phase.READY and state.identity not in (None, before)

    await eventually(is_back, timeout_s=60, what="another hub")
    assert await ada.has_server()
    assert (await ada.run_cell("print(kept)")).text == "42\n"


async def test_stopped_server_leaves_nothing(hub: Hub) -> None:
    """As root not even what took the mark out of its environment."""
    async with hub.user("eve") as eve:
        result = await eve.run_cell(LEFT_BEHIND)
        started = set(map(int, result.text.split()))
        assert len(started) == (4 if os.getuid() == 0 else 3)
        assert started <= set(pids())
    await eventually(lambda: not started & set(pids()), what="the end of eve's server, kernel and background job")


async def test_server_that_ends_by_itself_leaves_nothing(hub: Hub) -> None:
    async with HubSession(hub.url, "eve", PASSWORD) as eve:
        await hub.let_in(eve)
        await eve.start_server()
        started = list(map(int, (await eve.run_cell(LEFT_BEHIND)).text.split()))
        os.kill(started[1], signal.SIGKILL)  # JupyterLab
        await eventually(eve.has_no_server, timeout_s=POLL_INTERVAL_S * 2, what="the hub's notice")
    await eventually(lambda: not set(started) & set(pids()), what="the end of eve's kernel and jobs")


async def test_server_runs_within_its_limits(ada: HubSession, platform: Platform) -> None:
    text = (await ada.run_cell("print(open('/proc/self/limits').read(), open('/proc/self/oom_score_adj').read())")).text
    lines = {line[:26].strip(): line[26:].split()[0] for line in text.splitlines() if line.startswith("Max")}
    assert lines["Max core file size"] == "0"
    assert (lines["Max processes"] == str(MAX_PROCESSES)) == (os.getuid() == 0)
    assert text.split()[-1] == str(KILLED_FIRST)
    (running,) = [running for running in load_running(platform.paths) if running.name == "ada"]
    assert running.memory_bytes == MAX_MEMORY_BYTES
    assert f"hub/{running.name}" in platform.slipway("image", "list")


async def test_reused_process_number_is_not_the_server(hub: Hub) -> None:
    """After a restart of the machine the number that the hub remembers may be anybody's."""
    programs = find_programs(hub.platform.paths)
    other = await asyncio.create_subprocess_exec("sleep", "600")
    try:
        words = (str(programs.python), "-c", REMEMBERED)
        done = hub.platform.run(*words, PYTHONPATH=str(programs.root), PID=str(other.pid))
        assert done.split() == ["None", "True", "0", "False", "0", "False", "0", "False"]
        assert other.returncode is None
    finally:
        other.kill()
        await other.wait()


async def test_removed_user_leaves_nothing(hub: Hub) -> None:
    platform = hub.platform
    home, account = platform.paths.hub_home("zed"), account_of("zed", ensure_secrets(platform.paths.secrets))
    async with hub.user("zed") as zed:
        uid = int((await zed.run_cell("import os; print(os.getuid())")).text)
    kubeconfig = str(home.parent.parent / "zed-copied-it")
    shutil.copyfile(kubeconfig_of(home), kubeconfig)
    assert "may log in at the hub" in platform.slipway("hub", "remove", "zed", "--yes", check=False)
    async with hub.admin() as admin:
        assert await admin.log_in()
        await admin.authorize("zed")
    said = platform.slipway("hub", "remove", "zed", "--yes")
    assert len(said.splitlines()) == (4 if os.getuid() == 0 else 3)
    assert "is not there" not in said
    assert not home.exists()
    assert "You must be logged in" in platform.kubectl("get", "sdep", check=False, KUBECONFIG=kubeconfig)
    login = aiohttp.encode_basic_auth(account.namespace, account.mlflow_password)
    async with aiohttp.ClientSession(headers={"Authorization": login}) as session:
        address = f"http://127.0.0.1:{platform.ports[2]}/api/2.0/mlflow/experiments/search?max_results=1"
        async with session.get(address) as answer:
            assert answer.status == 401
    if os.getuid() == 0:
        with pytest.raises(KeyError):
            pwd.getpwuid(uid)


async def test_spark_profile_runs_a_job(hub: Hub) -> None:
    async with hub.user("sam", profile="spark") as sam:
        result = await sam.run_cell(SPARK, timeout_s=300)
        said = re.search(r"3\.5\.\d+ (\S+) (\[[\d, ]+\])\n", result.text)  # behind what Java says
        assert said is not None, result.text
        assert (said[1], json.loads(said[2])) == ("local[2]", [143] * 6 + [142])


async def test_mlflow_serves_a_registered_model_in_a_notebook(ada: HubSession) -> None:
    """From the user's own environment: nothing is installed for it."""
    result = await ada.run_cell(SERVE, timeout_s=300)
    counts, _, code = result.text.strip().rpartition(" ")
    drawn, found = json.loads(counts)
    assert drawn > 0
    assert found > 0
    assert int(code) in (0, -signal.SIGTERM)


async def test_process_above_the_memory_limit_ends_and_idle_servers_too(hub: Hub) -> None:
    """Both limits as docs/hub.md says that an owner sets them. The restarts end everybody's servers: the last test."""
    with hub.settings('c.Spawner.mem_limit = "800M"\n'):
        async with hub.user("eve") as eve:
            assert (await eve.run_cell(HOLD_MEMORY)).text == f"{-signal.SIGKILL}\n"
            assert (await eve.run_cell("print(6 * 7)")).text == "42\n"
    assert "eve: the server uses" in (hub.platform.paths.logs / "hub.log").read_text()
    with hub.settings("c.SlipwaySpawner.idle_s = 20\nc.SlipwaySpawner.cull_every_s = 1\n"):
        async with HubSession(hub.url, "eve", PASSWORD) as eve:
            assert await eve.log_in()
            await eve.start_server()
            await eventually(eve.has_no_server, timeout_s=90, what="the end of eve's idle server")
