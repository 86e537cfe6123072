"""Drives a running Stead through the official Python SDK, as a customer's script would, and looks at what comes back.

Address and key come from the environment (STEAD_URL, STEAD_API_KEY): an argument would stand in the process list.
One line is printed for each check; the first that fails ends the run with its reason and a non-zero exit code.
The Python SDK is newer than the JavaScript one: `expires_at_unix` and `api_keys.disable` are met here only.
"""

import asyncio
import contextlib
import os
import re
import time

import httpx
from elevenlabs import AsyncElevenLabs, ElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.errors import UnprocessableEntityError

BASE_URL = os.environ["STEAD_URL"]
ADMIN_KEY = os.environ["STEAD_API_KEY"]
UNKNOWN_ID = "nobody_has_this_id"
URL_SAFE_ID = re.compile(r"[A-Za-z0-9_-]+")
HOUR = 3600


# ---- What every answer must be -------------------------------------------------------------------------------------


def watch(response):
    """Asserts what holds for every answer. A status that the SDK would try again is an error here: retries hide it."""
    response.read()
    what = f"{response.request.method} {response.request.url}: {response.status_code}"
    assert response.status_code not in (408, 409, 429) and response.status_code < 500, f"{what} is tried again by the SDK"
    assert response.headers.get("x-request-id"), f"{what} has no x-request-id"
    assert response.headers.get("x-trace-id") == response.headers["x-request-id"], f"{what}: two different ids"
    assert response.headers["content-type"].startswith("application/json"), what
    assert response.content.strip(), f"{what} has no body; the SDK takes an empty 4xx for success"


# No proxy from the environment may stand between the SDK and the server under test.
http = httpx.Client(event_hooks={"response": [watch]}, trust_env=False, timeout=60)


def client_with(api_key):
    return ElevenLabs(base_url=BASE_URL, api_key=api_key, httpx_client=http)


def verify(secret, **question):
    """Asks Stead's own verify endpoint, which the official SDK has no method for."""
    answer = http.post(
        f"{BASE_URL}/v1/api-keys/verify", headers={"xi-api-key": ADMIN_KEY}, json={"api_key": secret, **question}
    )
    assert answer.status_code == 200, answer.text
    decision = answer.json()
    assert decision["valid"] == (decision["code"] == "VALID"), decision
    return decision["code"]


@contextlib.contextmanager
def check(what):
    try:
        yield
    except BaseException:
        print(f"FAILED {what}", flush=True)
        raise
    print(f"ok {what}", flush=True)


# ---- How a refusal must look ---------------------------------------------------------------------------------------


def refusal(call, status):
    try:
        answer = call()
    except ApiError as error:
        assert error.status_code == status, f"{error.status_code} instead of {status}: {error.body}"
        return error
    raise AssertionError(f"was accepted instead of refused with {status}: {answer!r}")


def refused(call, status, kind):
    """The shape of everything but 422: `detail` is an object, and its request id is the header's."""
    error = refusal(call, status)
    detail = error.body["detail"]
    assert detail["type"] == kind, detail
    for field in ("code", "message", "status"):
        assert isinstance(detail[field], str) and detail[field], f"detail.{field}: {detail}"
    assert detail["request_id"] == error.headers["x-request-id"], detail
    return detail


def refused_as_invalid(call, *fields):
    """The shape of 422: `detail` is a list that says where each mistake is; one of `fields` is to blame."""
    error = refusal(call, 422)
    assert isinstance(error, UnprocessableEntityError), type(error)
    mistakes = error.body["detail"]
    assert isinstance(mistakes, list) and mistakes, error.body
    for mistake in mistakes:
        assert all(isinstance(step, (str, int)) for step in mistake["loc"]), mistake
        assert isinstance(mistake["msg"], str) and mistake["msg"], mistake
        assert isinstance(mistake["type"], str) and mistake["type"], mistake
    assert any(mistake["loc"][0] == "body" and set(fields) & set(mistake["loc"]) for mistake in mistakes), mistakes


# ---- What a key looks like in a list -------------------------------------------------------------------------------

admin = client_with(ADMIN_KEY)
api_keys = admin.service_accounts.api_keys


def listed_account(account_id):
    accounts = admin.service_accounts.list().service_accounts
    return next(each for each in accounts if each.service_account_user_id == account_id)


def listed_key(account_id, key_id):
    return next((key for key in api_keys.list(account_id).api_keys if key.key_id == key_id), None)


def limit(key, name):
    """A concurrency limit, which a key without platform limits doesn't have."""
    limits = getattr(key.platform_limits, name, None)
    return None if limits is None else limits.limit


def settings(account_id, key_id):
    """Everything a request can set on a key, flat, so that two states can be compared."""
    key = listed_key(account_id, key_id)
    return {
        "name": key.name,
        "enabled": not key.is_disabled,
        "disable_reason": key.disable_reason,
        "permissions": None if key.permissions is None else sorted(key.permissions),
        "character_limit": key.character_limit,
        "allowed_ips": None if key.allowed_ips is None else sorted(key.allowed_ips),
        "third_party_disable_allowed": key.third_party_disable_allowed,
        "tts": limit(key, "concurrency"),
        "dubbing": limit(key, "dubbing_concurrency"),
        "music": limit(key, "music_concurrency"),
        "expires_at": key.expires_at_unix,
    }


def create_key(account_id, **request):
    """Creates a key and asserts what every create answer and every list entry owes."""
    answer = api_keys.create(account_id, **request)
    assert URL_SAFE_ID.fullmatch(answer.key_id), answer.key_id
    assert answer.api_key_id == answer.key_id
    assert answer.api_key == answer.xi_api_key
    assert 32 <= len(answer.xi_api_key) <= 55, "the secret has between 32 and 55 characters"
    assert answer.name == request["name"]
    assert isinstance(answer.created_at, int)

    listed = listed_key(account_id, answer.key_id)
    assert listed.hint == answer.xi_api_key[-4:]
    assert listed.hashed_xi_api_key, "hashed_xi_api_key is never empty"
    assert answer.xi_api_key not in listed.model_dump_json(), "a list never repeats the secret"
    return answer


# ---- Service accounts ----------------------------------------------------------------------------------------------

with check("service_accounts.create answers with the official name and the brief's"):
    answer = admin.service_accounts.create(name="Conformance")
    account = answer.service_account_user_id
    assert URL_SAFE_ID.fullmatch(account), account
    assert answer.service_account_id == account
    assert answer.name == "Conformance"
    assert isinstance(answer.created_at, int)

with check("service_accounts.list has the official and the brief's fields"):
    listed = listed_account(account)
    assert listed.name == "Conformance"
    assert listed.api_keys == []
    assert listed.service_account_id == account
    assert listed.api_key_count == 0
    assert listed.created_at == listed.created_at_unix
    assert abs(listed.created_at - time.time()) < 600, "created_at is in seconds"
    assert getattr(listed, "last_used_at", None) is None

with check("a description sent with the account is listed"):
    described = admin.service_accounts.create(
        name="Described", request_options={"additional_body_parameters": {"description": "Nightly exports"}}
    )
    assert listed_account(described.service_account_user_id).description == "Nightly exports"

with check("the asynchronous client sees the same accounts"):

    async def names():
        async with httpx.AsyncClient(trust_env=False) as connections:
            client = AsyncElevenLabs(base_url=BASE_URL, api_key=ADMIN_KEY, httpx_client=connections)
            return [each.name for each in (await client.service_accounts.list()).service_accounts]

    assert {"Conformance", "Described"} <= set(asyncio.run(names()))


# ---- Keys: create and list -----------------------------------------------------------------------------------------

with check("api_keys.list of a new account is empty"):
    assert api_keys.list(account).api_keys == []

with check("api_keys.create with a list of permissions"):
    narrow = create_key(account, name="narrow", permissions=["text_to_speech", "voices_read"])
    assert settings(account, narrow.key_id)["permissions"] == ["text_to_speech", "voices_read"]
    assert verify(narrow.api_key, permissions=["text_to_speech"]) == "VALID"
    assert verify(narrow.api_key, permissions=["speech_to_text"]) == "INSUFFICIENT_PERMISSIONS"

with check('api_keys.create with permissions "all" is listed as null or as a list'):
    unrestricted = create_key(account, name="unrestricted", permissions="all")
    permissions_of_all = settings(account, unrestricted.key_id)["permissions"]
    assert permissions_of_all is None or "text_to_speech" in permissions_of_all
    assert verify(unrestricted.api_key, permissions=["text_to_speech", "speech_to_text"]) == "VALID"

with check("api_keys.create with permissions [] may do nothing"):
    bare = create_key(account, name="bare", permissions=[])
    assert settings(account, bare.key_id)["permissions"] == []
    assert verify(bare.api_key) == "VALID"
    assert verify(bare.api_key, permissions=["text_to_speech"]) == "INSUFFICIENT_PERMISSIONS"

with check("api_keys.create takes every setting, and addresses come back as networks"):
    in_an_hour = int(time.time()) + HOUR
    full = create_key(
        account,
        name="full",
        permissions=["text_to_speech"],
        character_limit=5000,
        allowed_ips=["203.0.113.7", "10.0.0.0/24", "2001:db8:1::1", "2001:db8:2::/48"],
        third_party_disable_allowed=False,
        tts_concurrency_limit=3,
        dubbing_concurrency_limit=2,
        music_concurrency_limit=1,
        expires_at_unix=in_an_hour,
    )
    assert full.expires_at == full.expires_at_unix == in_an_hour
    state = settings(account, full.key_id)
    assert state == {
        "name": "full",
        "enabled": True,
        "disable_reason": None,
        "permissions": ["text_to_speech"],
        "character_limit": 5000,
        "allowed_ips": ["10.0.0.0/24", "2001:db8:1::1/128", "2001:db8:2::/48", "203.0.113.7/32"],
        "third_party_disable_allowed": False,
        "tts": 3,
        "dubbing": 2,
        "music": 1,
        "expires_at": in_an_hour,
    }, state

with check("api_keys.create with null for everything optional is a key without limits"):
    unlimited = create_key(
        account,
        name="unlimited",
        permissions=[],
        character_limit=None,
        allowed_ips=None,
        third_party_disable_allowed=None,
        tts_concurrency_limit=None,
        dubbing_concurrency_limit=None,
        music_concurrency_limit=None,
        expires_at_unix=None,
    )
    state = settings(account, unlimited.key_id)
    unset = set(state) - {"name", "enabled", "permissions"}
    assert all(state[field] is None for field in unset), state

with check("api_keys.create takes description and expires_at as additional body parameters"):
    extra = create_key(
        account,
        name="extra",
        permissions=[],
        request_options={
            "additional_body_parameters": {"description": "Ends within the hour", "expires_at": in_an_hour}
        },
    )
    assert extra.description == "Ends within the hour"
    assert extra.expires_at == extra.expires_at_unix == in_an_hour
    listed = listed_key(account, extra.key_id)
    assert listed.description == "Ends within the hour"
    assert listed.expires_at == listed.expires_at_unix == in_an_hour

with check("expires_at and expires_at_unix may both be given when they agree"):
    agreed = create_key(
        account,
        name="agreed",
        permissions=[],
        expires_at_unix=in_an_hour,
        request_options={"additional_body_parameters": {"expires_at": in_an_hour}},
    )
    assert settings(account, agreed.key_id)["expires_at"] == in_an_hour

with check("api_keys.list has the brief's fields, and accounts embed the same keys"):
    keys = api_keys.list(account).api_keys
    assert len(keys) == 7, len(keys)
    for key in keys:
        assert key.api_key_id == key.key_id
        assert key.service_account_user_id == account
        assert key.created_at == key.created_at_unix
        assert isinstance(key.created_at, int)
        assert not {"api_key", "xi-api-key", "xi_api_key"} & set(key.model_dump()), "secrets are not in lists"
    listed = listed_account(account)
    assert listed.api_key_count == 7
    assert {key.key_id for key in listed.api_keys} == {key.key_id for key in keys}


# ---- Keys: update --------------------------------------------------------------------------------------------------

EVERY_FIELD = [
    "is_enabled",
    "name",
    "permissions",
    "character_limit",
    "allowed_ips",
    "third_party_disable_allowed",
    "tts_concurrency_limit",
    "dubbing_concurrency_limit",
    "music_concurrency_limit",
    "expires_at_unix",
]
TOKEN_FIELDS = [field for field in EVERY_FIELD if field != "name"]
IN_A_DAY = int(time.time()) + 24 * HOUR

# What is sent, and what must differ afterwards; whatever isn't named there must be as it was before.
UPDATES = [
    ({"name": "renamed"}, {"name": "renamed"}),
    ({"permissions": ["speech_to_text"]}, {"permissions": ["speech_to_text"]}),
    ({"permissions": "no_update"}, {}),
    ({"permissions": "all"}, {"permissions": permissions_of_all}),
    ({"permissions": []}, {"permissions": []}),
    ({"character_limit": 700}, {"character_limit": 700}),
    ({"allowed_ips": ["192.0.2.1"]}, {"allowed_ips": ["192.0.2.1/32"]}),
    ({"third_party_disable_allowed": True}, {"third_party_disable_allowed": True}),
    ({"third_party_disable_allowed": False}, {"third_party_disable_allowed": False}),
    ({"tts_concurrency_limit": 4}, {"tts": 4}),
    ({"dubbing_concurrency_limit": 5}, {"dubbing": 5}),
    ({"music_concurrency_limit": 6}, {"music": 6}),
    ({"expires_at_unix": IN_A_DAY}, {"expires_at": IN_A_DAY}),
    ({"is_enabled": False}, {"enabled": False}),
    *[({field: "no_update"}, {}) for field in TOKEN_FIELDS],
    *[({field: None}, {}) for field in EVERY_FIELD],
    ({field: "no_update" for field in TOKEN_FIELDS}, {}),
    ({field: None for field in EVERY_FIELD}, {}),
    ({}, {}),
    ({"request_options": {"additional_body_parameters": {"field_of_the_future": 1}}}, {}),
    ({"is_enabled": True}, {"enabled": True}),
    ({"character_limit": "clear"}, {"character_limit": None}),
    ({"allowed_ips": "clear"}, {"allowed_ips": None}),
    ({"third_party_disable_allowed": "clear"}, {"third_party_disable_allowed": None}),
    ({"tts_concurrency_limit": "clear"}, {"tts": None}),
    ({"dubbing_concurrency_limit": "clear"}, {"dubbing": None}),
    ({"music_concurrency_limit": "clear"}, {"music": None}),
    ({"expires_at_unix": "clear"}, {"expires_at": None}),
    (
        {"name": "again", "permissions": ["voices_read"], "character_limit": 9},
        {"name": "again", "permissions": ["voices_read"], "character_limit": 9},
    ),
]

for request, change in UPDATES:
    with check(f"api_keys.update({request}) changes that and nothing else"):
        expected = {**settings(account, narrow.key_id), **change}
        api_keys.update(account, narrow.key_id, **request)
        state = settings(account, narrow.key_id)
        assert state == expected, f"{state} instead of {expected}"


# ---- Keys: disable, enable, delete ---------------------------------------------------------------------------------

with check("api_keys.disable disables one key, leaves its settings alone, and PATCH enables it again"):
    before = settings(account, full.key_id)
    assert verify(full.api_key, ip="10.0.0.1") == "VALID"
    api_keys.disable(account, full.key_id)
    assert settings(account, full.key_id) == {**before, "enabled": False}
    assert verify(full.api_key, ip="10.0.0.1") == "DISABLED"
    api_keys.disable(account, full.key_id)
    api_keys.update(account, full.key_id, is_enabled=True)
    assert settings(account, full.key_id) == before
    assert verify(full.api_key, ip="10.0.0.1") == "VALID"

with check("a key disabled by PATCH is refused as a caller, too"):
    switched = create_key(account, name="switched", permissions="all")
    api_keys.update(account, switched.key_id, is_enabled=False)
    assert verify(switched.api_key) == "DISABLED"
    refused(lambda: client_with(switched.api_key).user.get(), 401, "authentication_error")

with check("a deleted key is gone from the list and verifies as REVOKED"):
    api_keys.delete(account, bare.key_id)
    assert listed_key(account, bare.key_id) is None
    assert verify(bare.api_key) == "REVOKED"
    refused(lambda: client_with(bare.api_key).user.get(), 401, "authentication_error")
    refused(lambda: api_keys.delete(account, bare.key_id), 404, "not_found")


# ---- The audit log ---------------------------------------------------------------------------------------------------

with check("the audit log comes in pages, with filters, and every field is of its type"):
    logs = admin.workspace.audit_logs
    me = admin.user.get().user_id
    first = logs.list(limit=2, actor_uid=me, class_name="Entity Management")
    assert len(first.entries) == 2 and first.has_more
    second = logs.list(limit=2, actor_uid=me, class_name="Entity Management", cursor=first.next_cursor)
    for entry in first.entries + second.entries:
        assert entry.type_uid == entry.class_uid * 100 + entry.activity_id
        assert entry.actor.user.uid == me
        assert entry.http_request.url.path.startswith("/v1/"), entry.http_request
    assert second.entries[0].time <= first.entries[1].time
    made = logs.list(activity_name="API Key Creation", time_from_unix_ms=0)
    assert made.entries and all(entry.activity_name == "API Key Creation" for entry in made.entries)


# ---- Whoami, use and self-disable ----------------------------------------------------------------------------------

with check("user.get with the owner's key and with a service account's key"):
    owner = admin.user.get()
    machine = client_with(unrestricted.api_key).user.get()
    for user in (owner, machine):
        assert user.user_id and user.workspace_id and user.seat_type
        assert isinstance(user.created_at, int)
        assert isinstance(user.subscription.character_limit, int)
    plan = client_with(unrestricted.api_key).user.subscription.get()
    assert plan.character_limit == machine.subscription.character_limit
    assert plan.current_overage.amount == "0" and plan.open_invoices == [] and plan.has_open_invoices is False
    assert machine.user_id == account
    assert machine.workspace_id == owner.workspace_id
    assert owner.user_id != account

with check("use is visible at once, on the key and on its account"):
    assert abs(listed_key(account, unrestricted.key_id).last_used_at - time.time()) < 600
    assert abs(listed_account(account).last_used_at - time.time()) < 600
    assert getattr(listed_key(account, unlimited.key_id), "last_used_at", None) is None

with check('workspaces.api_keys.disable("self") disables the calling key and says so'):
    leaked = create_key(account, name="leaked", permissions="all")
    client_with(leaked.api_key).workspaces.api_keys.disable(api_key_name="self")
    state = settings(account, leaked.key_id)
    assert (state["enabled"], state["disable_reason"]) == (False, "self_disabled"), state
    assert verify(leaked.api_key) == "DISABLED"

with check("self-disable is refused to a key that may not, and leaves it valid"):
    kept = create_key(account, name="kept", permissions="all", third_party_disable_allowed=False)
    call = lambda: client_with(kept.api_key).workspaces.api_keys.disable(api_key_name="self")
    refused(call, 403, "authorization_error")
    assert verify(kept.api_key) == "VALID"

with check("workspace.set_third_party_disabling_policy rules over the keys' own settings until it is taken back"):
    ruled = create_key(account, name="ruled", permissions="all", third_party_disable_allowed=True)
    call = lambda: client_with(ruled.api_key).workspaces.api_keys.disable(api_key_name="self")
    admin.workspace.set_third_party_disabling_policy(third_party_disable_allowed=False)
    refused(call, 403, "authorization_error")
    admin.workspace.set_third_party_disabling_policy()
    call()
    assert verify(ruled.api_key) == "DISABLED"


# ---- Usage ---------------------------------------------------------------------------------------------------------

with check("usage and analytics are told as the SDK reads them"):
    now = int(time.time() * 1000)
    assert verify(unrestricted.api_key) == "VALID"
    stats = admin.usage.get(start_unix=now - 3_600_000, end_unix=now + 60_000, include_workspace_metrics=True)
    assert len(stats.time) == len(stats.usage["All"])
    span = {"start_time": now - 3_600_000, "end_time": now + 60_000}
    table = admin.workspace.usage.get_usage_by_product_over_time(**span, interval_seconds=86_400, group_by=["user_id"])
    assert table.columns == ["timestamp", "user_id", "total_usage", "usage_count", "user_label"], table.columns
    assert any(row[1] == account and row[3] > 0 for row in table.rows)
    charges = admin.workspace.usage.get_usage(**span, interval_seconds=86_400)
    assert charges.columns == ["timestamp", "total_cost", "total_charge_count", "total_usage"], charges.columns
    requests = admin.workspace.analytics.requests.get(start_time=now - 3_600_000, limit=10)
    assert all(len(row) == len(requests.columns) for row in requests.rows)
    refused_as_invalid(lambda: admin.workspace.analytics.requests.get(), "start_time")


# ---- Errors --------------------------------------------------------------------------------------------------------

with check("422 is typed, names the field, and writes nothing"):

    def create(**request):
        return lambda: api_keys.create(account, **{"name": "refused", "permissions": [], **request})

    refused_as_invalid(lambda: admin.service_accounts.create(name=""), "name")
    refused_as_invalid(create(name=""), "name")
    refused_as_invalid(create(permissions="text_to_speech"), "permissions")
    refused_as_invalid(create(allowed_ips=["10.0.0.0/99"]), "allowed_ips")
    refused_as_invalid(create(character_limit=-1), "character_limit")
    refused_as_invalid(create(expires_at_unix=int(time.time()) - 60), "expires_at_unix")
    disagreeing = {"additional_body_parameters": {"expires_at": in_an_hour + 1}}
    refused_as_invalid(create(expires_at_unix=in_an_hour, request_options=disagreeing), "expires_at", "expires_at_unix")
    refused_as_invalid(lambda: api_keys.update(account, narrow.key_id, name=""), "name")
    refused_as_invalid(lambda: api_keys.update(account, narrow.key_id, permissions="voices_read"), "permissions")
    assert all(key.name != "refused" for key in api_keys.list(account).api_keys)

with check("401 for a wrong key, and for none at all"):
    refused(lambda: client_with("no-key-of-this-server").service_accounts.list(), 401, "authentication_error")
    refused(lambda: client_with(None).service_accounts.list(), 401, "authentication_error")

with check("403 for a service account, which is no admin, whatever its key may do"):
    refused(lambda: client_with(unrestricted.api_key).service_accounts.list(), 403, "authorization_error")
    refused(lambda: client_with(narrow.api_key).service_accounts.list(), 403, "authorization_error")

with check("403 for a call from an address the key isn't allowed from"):
    elsewhere = create_key(account, name="elsewhere", permissions="all", allowed_ips=["203.0.113.7"])
    refused(lambda: client_with(elsewhere.api_key).user.get(), 403, "authorization_error")

with check("404 for an account or a key that isn't there, with a body, so that no failure passes for success"):
    refused(lambda: api_keys.list(UNKNOWN_ID), 404, "not_found")
    refused(lambda: api_keys.create(UNKNOWN_ID, name="refused", permissions=[]), 404, "not_found")
    refused(lambda: api_keys.update(account, UNKNOWN_ID, name="refused"), 404, "not_found")
    refused(lambda: api_keys.disable(account, UNKNOWN_ID), 404, "not_found")
    refused(lambda: api_keys.delete(account, UNKNOWN_ID), 404, "not_found")
    refused(lambda: api_keys.delete(described.service_account_user_id, narrow.key_id), 404, "not_found")
    assert listed_key(account, narrow.key_id), "a key is deleted through its own account only"
