"""Envoy's side of ext_authz: gRPC's own client with the messages generated from Envoy's own .proto files."""

import json
import os

import grpc
from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc

world = json.loads(os.environ["WORLD"])
channel = grpc.insecure_channel(world["address"])
envoy = external_auth_pb2_grpc.AuthorizationStub(channel)
OVERWRITE = base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


def check(method="GET", path="/v1/voices/a", headers=None, source="192.0.2.1", pipe=False, **extensions):
    question = external_auth_pb2.CheckRequest()
    attributes = question.attributes
    if pipe:
        attributes.source.address.pipe.path = "/run/envoy"
    elif source:
        attributes.source.address.socket_address.address = source
        attributes.source.address.socket_address.port_value = 40000
    attributes.destination.address.socket_address.address = "198.51.100.1"
    attributes.request.time.GetCurrentTime()
    http = attributes.request.http
    http.id, http.method, http.path = "1234", method, path
    http.host, http.scheme, http.protocol = "service.example", "https", "HTTP/2"
    http.headers.update({":method": method, ":path": path, "user-agent": "test"})
    http.headers.update(headers or {})
    attributes.context_extensions.update(extensions)
    attributes.metadata_context.filter_metadata["any"].update({"a": "b"})
    return envoy.Check(question, timeout=10)


def key(name):
    return {"xi-api-key": world[name]}


def allowed(answer, account):
    assert answer.status.code == 0 and answer.WhichOneof("http_response") == "ok_response", answer
    headers = {option.header.key: option for option in answer.ok_response.headers}
    names = ["account-id", "key-id", "path", "permissions", "workspace-id"]
    assert sorted(headers) == ["x-stead-" + name for name in names], answer
    for option in headers.values():
        assert option.append_action == OVERWRITE and option.keep_empty_value, answer
    assert headers["x-stead-account-id"].header.value == account
    return {name: option.header.value for name, option in headers.items()}


def denied(answer, status, code):
    assert answer.status.code != 0 and answer.WhichOneof("http_response") == "denied_response", answer
    assert answer.denied_response.status.code == status, answer
    detail = json.loads(answer.denied_response.body)["detail"]
    assert detail["code"] == code, detail
    headers = {option.header.key: option.header.value for option in answer.denied_response.headers}
    assert headers["content-type"] == "application/json"
    return detail, headers


answer = check(headers=key("good"))
told = allowed(answer, world["account"])
assert told["x-stead-path"] == "/v1/voices/a" and told["x-stead-permissions"] == "text_to_speech", told
assert list(answer.ok_response.headers_to_remove) == ["xi-api-key"]
answer = check(headers={"authorization": "Bearer " + world["good"]})
assert list(answer.ok_response.headers_to_remove) == ["authorization"]

# No key, a wrong one, two of them (Envoy joins what comes twice).
detail, headers = denied(check(), 401, "missing_api_key")
assert "www-authenticate" in headers
denied(check(headers={"xi-api-key": "wrong"}), 401, "invalid_api_key")
denied(check(headers={"xi-api-key": world["good"] + "," + world["good"]}), 401, "invalid_api_key")
denied(check(headers={**key("good"), "authorization": "Bearer x"}), 401, "invalid_authorization_header")

# Paths and methods.
detail, _ = denied(check(path="/admin/x?y", headers=key("good")), 403, "insufficient_permissions")
assert detail["missing_permissions"] == ["workspace_read"], detail
denied(check(method="DELETE", headers=key("good")), 403, "path_not_allowed")
for path in ["/v1//voices", "/v1/../admin", "/v1/%2e%2e/admin", "/v1/;/x", "/v1/%2fadmin", "", "*", "/v1\\admin"]:
    denied(check(path=path, headers=key("good")), 403, "ambiguous_path")
for name in ["x-http-method-override", "x-original-url"]:
    denied(check(headers={**key("good"), name: "/admin"}), 403, "ambiguous_headers")
for name in ["x-stead-account-id", "x_stead_account_id", "x_forwarded_for"]:
    denied(check(headers={**key("good"), name: "forged"}), 403, "ambiguous_headers")
# Forwarding headers of the path are no word of Envoy's: it has told the path itself.
denied(check(path="/admin/x", headers={**key("good"), "x-forwarded-uri": "/v1/voices/a"}), 403, "insufficient_permissions")

# Addresses: the other end, and where that is a declared proxy, who came to it.
allowed(check(headers=key("listed"), source="192.0.2.1"), world["listed_account"])
allowed(check(headers=key("listed"), source="::ffff:192.0.2.1"), world["listed_account"])
detail, _ = denied(check(headers=key("listed"), source="203.0.113.9"), 403, "ip_not_allowed")
assert detail["decision"]["ip"] == "203.0.113.9" and "connection" in detail["decision"]["ip_from"], detail
forged = {**key("listed"), "x-forwarded-for": "192.0.2.1"}
denied(check(headers=forged, source="203.0.113.9"), 403, "ip_not_allowed")
denied(check(headers=key("listed"), source=""), 403, "ip_not_allowed")
denied(check(headers=forged, pipe=True), 403, "ip_not_allowed")
allowed(check(headers=forged, source="10.0.0.1"), world["listed_account"])
behind = {**key("listed"), "x-forwarded-for": "192.0.2.1,203.0.113.9,10.0.0.1"}
denied(check(headers=behind, source="10.0.0.1"), 403, "ip_not_allowed")
denied(check(headers={**key("listed"), "x-forwarded-for": "192.0.2.1:80"}, source="10.0.0.1"), 403, "ambiguous_headers")

# What the route's configuration asks for, added to the rule's; nothing of it is ignored.
allowed(check(headers=key("good"), permissions="text_to_speech", cost="0"), world["account"])
denied(check(headers=key("good"), permissions="voices_read"), 403, "insufficient_permissions")
for mistake in [{"permissions": "no_such"}, {"cost": "-1"}, {"cost": "x"}, {"resource": "voice:a"}, {"permission": "a"}]:
    denied(check(headers=key("good"), **mistake), 500, "proxy_misconfigured")

# A limit.
allowed(check(path="/paid", headers=key("poor")), world["poor_account"])
detail, headers = denied(check(path="/paid", headers=key("poor")), 429, "usage_exceeded")
assert int(headers["retry-after"]) > 0 and detail["decision"]["limit"]["limit"] == 5, detail

# What is no question.
def raw(octets):
    call = channel.unary_unary("/envoy.service.auth.v3.Authorization/Check", lambda octets: octets, lambda octets: octets)
    try:
        return external_auth_pb2.CheckResponse.FromString(call(octets, timeout=10)).status.code
    except grpc.RpcError as error:
        return error.code()


assert raw(b"") != 0
assert raw(b"\xff\xff\xff") == grpc.StatusCode.INVALID_ARGUMENT
assert raw(b"\x0a\x7f\x0a") == grpc.StatusCode.INVALID_ARGUMENT
assert raw(b"\x0a\x02\x0a\x00" * 20000) == grpc.StatusCode.INVALID_ARGUMENT
try:
    channel.unary_unary("/envoy.service.auth.v2.Authorization/Check", bytes, bytes)(b"", timeout=10)
    raise AssertionError("there is no v2")
except grpc.RpcError:
    pass

# Many at once on one connection.
pending = [envoy.Check.future(external_auth_pb2.CheckRequest(), timeout=30) for _ in range(200)]
assert all(call.result().denied_response.status.code == 401 for call in pending)
print("done")
