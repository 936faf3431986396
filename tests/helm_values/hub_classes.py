"""Runs in the environment of JupyterHub's cluster classes: merged values as JSON on stdin → what they become, on stdout.

{"unknown": [settings that no class has], "people": {name: gets in}, "pods": {profile: the user's Pod}}
"""

import asyncio
import json
import logging
import sys

from jupyterhub.app import JupyterHub
from jupyterhub.auth import Authenticator
from kubernetes_asyncio.client import ApiClient
from kubespawner import KubeSpawner
from oauthenticator.google import GoogleOAuthenticator
from oauthenticator.oauth2 import OAuthenticator
from tornado.web import HTTPError
from traitlets.config import Config

CLASSES = {
    kind.__name__: kind for kind in (JupyterHub, Authenticator, OAuthenticator, GoogleOAuthenticator, KubeSpawner)
}
SPAWNER = {  # what the chart makes of `singleuser`: value → trait, by the descriptions in its schema
    "cmd": "cmd",
    "defaultUrl": "default_url",
    "extraEnv": "environment",
    "fsGid": "fs_gid",
    "profileList": "profile_list",
    "serviceAccountName": "service_account",
    "startTimeout": "start_timeout",
    "uid": "uid",
}
USER = "ada"
PEOPLE = {  # name at the hub → what Google says of the person
    "ada": {"domain": "example.org", "hd": "example.org", "verified_email": True},
    "grace": {"domain": "example.org", "hd": "example.org", "verified_email": True},
    "eve": {"domain": "example.org", "hd": "example.org", "verified_email": True},
    "ada-of-elsewhere": {"name": "ada", "domain": "example.com", "hd": "example.com", "verified_email": True},
    "unverified": {"name": "ada", "domain": "example.org", "hd": "example.org", "verified_email": False},
}


class Hub:
    public_host = base_url = ""
    url = api_url = "http://hub:8081/hub/api"


class User:
    name = USER
    id = 1
    url = f"/user/{USER}/"


def unknown(settings):
    for kind, own in settings.items():
        traits = CLASSES[kind].class_traits(config=True) if kind in CLASSES else {}
        yield from (f"{kind}.{name}" for name in own if name not in traits)


def spawner(values, profile):
    own = values["singleuser"]
    traits = {trait: own[key] for key, trait in SPAWNER.items() if own.get(key) is not None}
    traits["image"] = f"{own['image']['name']}:{own['image']['tag']}"
    traits["mem_limit"], traits["mem_guarantee"] = own["memory"]["limit"], own["memory"]["guarantee"]
    traits["cpu_guarantee"] = own["cpu"]["guarantee"]
    home, name = own["storage"]["homeMountPath"], "volume-{user_server}"
    traits["pvc_name_template"] = "claim-{user_server}"
    traits["volumes"] = [
        {"name": name, "persistentVolumeClaim": {"claimName": "{pvc_name}"}},
        *own["storage"]["extraVolumes"].values(),
    ]
    traits["volume_mounts"] = [{"mountPath": home, "name": name}, *own["storage"]["extraVolumeMounts"].values()]
    config = Config({"KubeSpawner": {**traits, **values["hub"]["config"]["KubeSpawner"]}})
    made = KubeSpawner(_mock=True, config=config, user=User(), hub=Hub())
    made.user_options = {"profile": profile}
    return made


async def pod(values, profile):
    made = spawner(values, profile)
    await made.load_user_options()
    return ApiClient().sanitize_for_serialization(await made.get_pod_manifest())


async def gets_in(authenticator, name, says):
    said = {"email": f"{name}@{says['domain']}", **says}
    model = {
        "admin": name in authenticator.admin_users or None,
        "auth_state": {authenticator.user_auth_state_key: said},
    }
    if not (authenticator.validate_username(name) and authenticator.check_blocked_users(name, model)):
        return False
    try:
        return bool(await authenticator.check_allowed(name, model))
    except HTTPError:  # an address that Google has not verified
        return False


async def main():
    values = json.load(sys.stdin)
    settings = values["hub"]["config"]
    logging.disable()
    authenticator = GoogleOAuthenticator(config=Config(settings))
    people = {key: await gets_in(authenticator, says.pop("name", key), says) for key, says in PEOPLE.items()}
    slugs = [item["slug"] for item in values["singleuser"]["profileList"]]
    pods = {slug: await pod(values, slug) for slug in slugs}
    JupyterHub(config=Config({"JupyterHub": settings["JupyterHub"]}))
    told = {"unknown": sorted(unknown(settings)), "people": people, "pods": pods, "login": authenticator.client_id}
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
