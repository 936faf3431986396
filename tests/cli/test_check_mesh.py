"""`slipway check` says beforehand what the mesh of one machine would not carry out: it asks the mesh's own translation."""

from __future__ import annotations

import base64
import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from slipway.cli.check_mesh import mesh_problems
from slipway.cli.check_world import World
from slipway.cli.main import main
from tests.onebox_mesh.certificates import tls_secret

Object = dict[str, Any]
GUARDED = {"selector": {"matchLabels": {"istio": "ingressgateway"}}}
FRONT = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front"}, "spec": {"ports": [{"port": 80}]}}
TO_FRONT = {"route": [{"destination": {"host": "front"}}]}
KEYS = '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'


def check(folder: Path, *objects: Object, code: int = 1) -> list[str]:
    """What is said of each, without the file."""
    path = folder / "a.yaml"
    path.write_text(yaml.safe_dump_all(objects, sort_keys=False))
    result = CliRunner().invoke(main, ["check", str(path)])
    assert result.exit_code == code, result.output
    return [line.partition(f"{path}:")[2] for line in result.output.splitlines()[:-1]]


def virtual_service(*routes: Object, **spec: Any) -> Object:
    whole = {"hosts": ["*"], "gateways": ["istio-system/seldon-gateway"], "http": list(routes), **spec}
    api = "networking.istio.io/v1"
    return {"apiVersion": api, "kind": "VirtualService", "metadata": {"name": "own"}, "spec": whole}


def of_the_gateway(kind: str, **spec: Any) -> Object:
    metadata = {"name": "own", "namespace": "istio-system"}
    return {"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": metadata, "spec": {**GUARDED, **spec}}


def tokens(*rules: Object) -> Object:
    return of_the_gateway("RequestAuthentication", jwtRules=list(rules))


def rule(rule: Object) -> Object:
    return of_the_gateway("AuthorizationPolicy", rules=[rule])


@pytest.mark.parametrize(
    ("obj", "said"),
    [
        (tokens({"issuer": "i", "jwks": "x"}), "spec.jwtRules[0].jwks: is not JSON (Expecting value: line 1 column 1"),
        (
            tokens({"issuer": "i", "jwks": "{}"}),
            "spec.jwtRules[0].jwks: has no `keys`, each with a `kty`, but it has to",
        ),
        (
            tokens({"issuer": "i", "jwks": KEYS.replace('"k"', '"n"')}),
            "spec.jwtRules[0].jwks: keys[0] has no `k` in base64url, which a key of `kty` oct needs",
        ),
        (tokens({"jwks": KEYS}), "spec.jwtRules[0].issuer: is missing: say what its tokens have in `iss`"),
        (tokens({"issuer": "i", "jwksUri": "ftp://a/b"}), "spec.jwtRules[0].jwksUri: 'ftp://a/b' is not http://host"),
        (
            rule({"to": [{"operation": {"paths": ["/a*b"]}}]}),
            "spec.rules[0].to[0].operation.paths: '/a*b' is not a text with one * at most",
        ),
        (
            rule({"from": [{"source": {"ipBlocks": ["here"]}}]}),
            "spec.rules[0].from[0].source.ipBlocks: 'here' is not an address or a block such as 10.0.0.0/8",
        ),
        (
            virtual_service({**TO_FRONT, "match": [{"uri": {"regex": "/(a"}}]}),
            "spec.http[0].match[0].uri.regex: '/(a' is not a regular expression of RE2: missing ): /(a",
        ),
        (
            virtual_service({**TO_FRONT, "match": [{"headers": {"x-user": {"regex": "(?=a)"}}}]}),
            "spec.http[0].match[0].headers.x-user.regex: '(?=a)' is not a regular expression of RE2: invalid perl operator: (?=",
        ),
        (
            virtual_service({"route": [{"destination": {"host": "front", "port": {"number": 81}}}]}),
            "spec.http[0].route[0].destination.port: Service 'front' has no port 81; it has: 80 ()",
        ),
        (
            virtual_service({**TO_FRONT, "timeout": "soon"}),
            "spec.http[0].timeout: 'soon' is not a duration such as 1.5s",
        ),
        (
            virtual_service({**TO_FRONT, "headers": {"response": {"set": {"x-share": "5%"}}}}),
            "spec.http[0].headers.response.set.x-share: '5%' has a % that begins no command",
        ),
        (virtual_service(TO_FRONT, hosts=["a_b"]), "spec.hosts: 'a_b' is not *, *.domain or a host name"),
    ],
)
def test_what_the_mesh_cannot_carry_out_is_an_error_with_its_line(tmp_path: Path, obj: Object, said: str) -> None:
    (found,) = check(tmp_path, FRONT, obj)
    line, _, rest = found.partition(": error: ")
    assert rest.startswith(f"{obj['kind']} own: {said}")
    assert int(line) > len(yaml.safe_dump(FRONT).splitlines())


def test_an_error_in_a_match_hides_no_other(tmp_path: Path) -> None:
    route = {"route": [{"destination": {"host": "front", "port": {"number": 81}}}], "match": [{"uri": {"regex": "("}}]}
    assert [
        line.partition("own: ")[2].partition(": ")[0] for line in check(tmp_path, FRONT, virtual_service(route))
    ] == [
        "spec.http[0].route[0].destination.port",
        "spec.http[0].match[0].uri.regex",
    ]


@pytest.mark.parametrize(
    ("obj", "said"),
    [
        (
            virtual_service({**TO_FRONT, "corsPolicy": {"maxAge": "1s"}}),
            "spec.http[0].corsPolicy: not supported on one",
        ),
        (
            virtual_service(TO_FRONT, gateways=["mine"]),
            "spec.gateways[0]: Gateway mine in namespace default must exist",
        ),
        (
            virtual_service({**TO_FRONT, "mirror": {"host": "dark"}}),
            "spec.http[0].mirror.host: Service dark in namespace default must exist before",
        ),
        (
            virtual_service({"route": [{"destination": {"host": "front", "subset": "b"}}]}),
            "spec.http[0].route[0].destination.subset: no DestinationRule of front.default.svc.cluster.local has a subset",
        ),
        (tokens({"issuer": "i"}), "spec.jwtRules[0].jwks: is missing, and so is jwksUri"),
        (
            rule({"when": [{"key": "connection.sni", "values": ["a"]}]}),
            "spec.rules[0].when[0].key: 'connection.sni' is not",
        ),
    ],
)
def test_what_a_cluster_may_have_is_a_warning(tmp_path: Path, obj: Object, said: str) -> None:
    (found,) = check(tmp_path, FRONT, obj, code=0)
    assert found.partition(": warning: ")[2].startswith(f"{obj['kind']} own: {said}")


def test_what_is_right_passes(tmp_path: Path) -> None:
    right = virtual_service({**TO_FRONT, "match": [{"uri": {"regex": r"/v\d+/.*"}}], "timeout": "5s"})
    members = rule({"from": [{"source": {"requestPrincipals": ["i/*"]}}], "to": [{"operation": {"paths": ["/a/*"]}}]})
    assert check(tmp_path, FRONT, right, tokens({"issuer": "i", "jwks": KEYS}), code=0) == []
    assert check(tmp_path, members, code=0) == []


def test_what_istio_alone_refuses_is_an_error_with_its_line_too(tmp_path: Path) -> None:
    about = {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "own"}}
    (found,) = check(tmp_path, FRONT, {**about, "spec": {"host": "front", "trafficPolicy": {}}})
    place = "15: error: DestinationRule own: spec.trafficPolicy"
    assert found == f"{place}: traffic policy must have at least one field"
    (found,) = check(tmp_path, FRONT, virtual_service({**TO_FRONT, "match": [{"headers": {"a b": {"exact": "x"}}}]}))
    assert found.endswith('spec.http[0].match[0].headers: header name "a b" is not a valid header name')


@pytest.mark.parametrize(("is_whole", "code"), [(True, 0), (False, 1)])
def test_the_secret_of_a_gateway_is_looked_into(tmp_path: Path, is_whole: bool, code: int) -> None:
    data = tls_secret("front.example")["data"] if is_whole else {}
    texts = {key: base64.b64decode(value).decode() for key, value in data.items()}
    tls = {"mode": "SIMPLE", "credentialName": "front-tls"}
    server = {"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": ["front.example"], "tls": tls}
    metadata = {"name": "front", "namespace": "istio-system"}
    gateway = {"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": metadata}
    about = {"apiVersion": "v1", "kind": "Secret", "metadata": {**metadata, "name": "front-tls"}}
    secret = {**about, "data": None, "stringData": texts}
    found = check(tmp_path, {**gateway, "spec": {"servers": [server]}}, secret, code=code)
    assert ["has no tls.crt and tls.key in PEM" in line for line in found] == ([] if is_whole else [True])


def test_what_the_controller_makes_is_looked_at_too(tmp_path: Path) -> None:
    container = {"name": "m", "image": "example/m:1"}
    predictor = {
        "name": "p",
        "graph": {"name": "m", "type": "MODEL"},
        "componentSpecs": [{"spec": {"containers": [container]}}],
    }
    metadata = {"name": "yolo", "annotations": {"seldon.io/istio-host": "a_b"}}
    sdep = {"apiVersion": "machinelearning.seldon.io/v1", "kind": "SeldonDeployment", "metadata": metadata}
    found = check(tmp_path, {**sdep, "spec": {"predictors": [predictor]}})
    said = "the VirtualService yolo that is made of it: spec.hosts: 'a_b' is not *, *.domain or a host name"
    assert [line for line in found if said in line], found


def test_what_others_make_is_known_and_not_blamed(tmp_path: Path) -> None:
    """Two kustomizations: the Service of one, the route of the other; a broken one is named once, where it stands."""
    for name, obj in (
        ("a", FRONT),
        ("b", virtual_service({"route": [{"destination": {"host": "front", "port": {"number": 9}}}]})),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "it.yaml").write_text(yaml.safe_dump(obj))
        (tmp_path / name / "kustomization.yaml").write_text("resources: [it.yaml]\n")
    output = CliRunner().invoke(main, ["check", str(tmp_path)]).output.splitlines()
    assert [line.partition(": ")[0].rpartition("/b/")[2].partition(":")[0] for line in output[:-1]] == ["it.yaml"]
    assert "Service 'front' has no port 9" in output[0]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=3),
    lambda below: st.lists(below, max_size=2) | st.dictionaries(st.text(max_size=4), below, max_size=2),
    max_leaves=4,
)
WHOLE = (
    virtual_service({**TO_FRONT, "match": [{"uri": {"regex": "a"}}], "fault": {"abort": {"httpStatus": 500}}}),
    tokens({"issuer": "i", "jwks": KEYS}),
    rule({"from": [{"source": {"ipBlocks": ["::1"]}}], "when": [{"key": "source.ip", "values": ["::1"]}]}),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in _places(item, (*path, key)))]


@given(data=st.data())
def test_a_value_of_any_shape_anywhere_ends_in_problems(data: st.DataObject) -> None:
    obj = copy.deepcopy(data.draw(st.sampled_from(WHOLE)))
    place = data.draw(st.sampled_from([item for item in _places(obj) if item[:1] == ("spec",)]))
    target = obj
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = data.draw(json_values)
    world = World()
    world.add(FRONT)
    assert all(owner in (obj, FRONT) for owner, _ in mesh_problems([FRONT, obj], world))


@pytest.mark.parametrize("empty", [None, {}, []])
def test_uri_of_which_nothing_is_said_is_any_path(empty: Any) -> None:
    assert list(mesh_problems([FRONT, virtual_service({**TO_FRONT, "match": [{"uri": {"": empty}}]})], World())) == []
