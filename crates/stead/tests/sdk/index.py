"""Makes every call of the wire's endpoint index (§1.1) that the official Python SDK has: with what it must be given, with
everything it may be given, and with every optional field null.

Prints a line of JSON for each endpoint: {index, ok, error}, or {index, absent: true} where the SDK has no such call.
"""

import hashlib
import hmac
import json
import os
import time
import traceback

import httpx
from elevenlabs import ColumnFilter, DefaultSharingGroupConfig, ElevenLabs, MetronomeUsageColumnFilter, WebhookHmacSettings
from elevenlabs.core.api_error import ApiError

BASE_URL = os.environ["STEAD_URL"]
ADMIN_KEY = os.environ["STEAD_API_KEY"]
NOW = int(time.time() * 1000)
answers = []


def watch(response):
    response.read()
    what = f"{response.request.method} {response.request.url}: {response.status_code}"
    assert response.headers.get("x-request-id"), f"{what} has no x-request-id"
    assert response.headers["content-type"].startswith("application/json"), what
    assert response.content.strip(), f"{what} has no body"
    answers.append(response.status_code)


http = httpx.Client(event_hooks={"response": [watch]}, trust_env=False, timeout=60)
once = {"max_retries": 0}


def client_with(api_key):
    return ElevenLabs(base_url=BASE_URL, api_key=api_key, httpx_client=http)


admin = client_with(ADMIN_KEY)


def raw(method, path, body=None):
    answer = http.request(method, BASE_URL + path, headers={"xi-api-key": ADMIN_KEY}, json=body)
    assert answer.status_code == 200, f"{method} {path}: {answer.text}"
    return answer.json()


# ---- Fields that must be there, with their types -------------------------------------------------------------------


def typed(value, kind, *names):
    for name in names:
        found = getattr(value, name)
        good = isinstance(found, kind) and not (kind is int and isinstance(found, bool))
        assert good, f"{name} is {found!r} and no {kind} in {value!r}"


def is_ok(answer):
    assert answer.status == "ok", answer


def is_untyped(answer):
    assert isinstance(answer, dict), answer


def is_key(key):
    typed(key, str, "name", "hint", "key_id", "api_key_id", "service_account_user_id", "service_account_id", "hashed_xi_api_key")
    typed(key, int, "created_at_unix", "created_at")
    typed(key, bool, "is_disabled")
    assert key.key_id == key.api_key_id
    assert not {"api_key", "xi-api-key", "xi_api_key"} & set(key.model_dump())


def is_subscription(plan):
    typed(plan, str, "tier", "status")
    typed(plan, int, "character_count", "character_limit", "max_credit_limit_extension", "voice_slots_used", "voice_limit")
    typed(plan, int, "professional_voice_slots_used", "professional_voice_slots_used_in_workspace")
    typed(plan, int, "voice_add_edit_counter", "professional_voice_limit", "next_character_count_reset_unix")
    typed(plan, bool, "can_extend_character_limit", "allowed_to_extend_character_limit", "can_extend_voice_limit")
    typed(plan, bool, "can_use_instant_voice_cloning", "can_use_professional_voice_cloning")
    typed(plan.current_overage, str, "amount", "currency")


def is_table(table, *columns):
    typed(table, list, "columns", "column_types", "rows", "column_units")
    assert set(columns) <= set(table.columns), table.columns
    assert len(table.columns) == len(table.column_types) == len(table.column_units)
    assert all(len(row) == len(table.columns) for row in table.rows)


def fails(call, status):
    try:
        answer = call()
    except ApiError as error:
        assert error.status_code == status, f"{error.status_code}: {error.body}"
        assert error.body["detail"], error.body
        return error.body["detail"]
    raise AssertionError(f"was accepted instead of refused with {status}: {answer!r}")


def is_not_implemented(call):
    detail = fails(call, 501)
    assert detail["code"] == "not_implemented" and len(detail["message"]) > 10, detail


# ---- The scene -----------------------------------------------------------------------------------------------------

account = raw("POST", "/v1/service-accounts", {"name": "Index"})["service_account_id"]
other = raw("POST", "/v1/service-accounts", {"name": "Other"})["service_account_id"]
group = raw("POST", "/v1/workspace/groups", {"name": "Engineers"})["id"]
voice = raw("POST", "/v1/workspace/resources", {"resource_type": "voice", "resource_name": "Anna"})["resource_id"]
KEYS = f"/v1/service-accounts/{account}/api-keys"
shared = raw("POST", KEYS, {"name": "shared", "permissions": []})
ANN = "ann@example.com"
invite = raw("POST", "/v1/workspace/invites/add", {"email": ANN, "seat_type": "workspace_member"})
ann = raw("POST", "/v1/workspace/invites/accept", {"token": invite["invite_url"].split("/invite/")[1]})["user_id"]
SPAN = {"start_time": NOW - 3_600_000, "end_time": NOW + 60_000}
DAYS = {"start_time": NOW - 172_800_000, "end_time": NOW + 60_000, "interval_seconds": 86_400}
KEY_FIELDS = ["character_limit", "allowed_ips", "third_party_disable_allowed", "expires_at_unix"]
KEY_FIELDS += ["tts_concurrency_limit", "dubbing_concurrency_limit", "music_concurrency_limit"]
# fmt: off
PRODUCT_GROUPS = [
    "product_type", "model", "voice_id", "user_id", "fiat_currency", "fiat_charge_type", "region", "reporting_workspace_id",
    "request_source", "resource_id", "subresource_id", "request_queue_type", "voice_multiplier", "hashed_xi_api_key",
    "billing_group_id", "surface", "actor",
]
COST_GROUPS = [
    "model", "request_source", "fiat_charge_type", "fiat_currency", "user_id", "hashed_xi_api_key", "region",
    "reporting_workspace_id", "billing_group_id", "product_type", "surface", "actor",
]
# fmt: on


def nulls(*names):
    return dict.fromkeys(names)


def key_of(key_id):
    return next((key for key in raw("GET", KEYS)["api-keys"] if key["key_id"] == key_id), None)


def filters(column):
    return [
        ColumnFilter(column=column, operation="in", values=["a", 1, True, None]),
        ColumnFilter(column=column, operation="neq", values=["b"]),
    ]


# ---- The index -----------------------------------------------------------------------------------------------------

INDEX = []


def entry(name, path):
    """Puts a function into the index: it is given the SDK's call."""

    def put(function):
        INDEX.append((name, path, function))
        return function

    return put


@entry("6.1 GET service-accounts", "service_accounts.list")
def _(call):
    found = next(each for each in call(request_options=once).service_accounts if each.service_account_user_id == account)
    typed(found, str, "name", "service_account_id")
    typed(found, int, "created_at_unix", "api_key_count")
    typed(found, list, "api_keys", "default_sharing_groups")
    for key in found.api_keys:
        is_key(key)


@entry("6.2 POST service-accounts", "service_accounts.create")
def _(call):
    sharing = [
        DefaultSharingGroupConfig(group_id=group, permission_level="editor"),
        DefaultSharingGroupConfig(group_id="default", permission_level="viewer"),
    ]
    for request in ({}, {"default_sharing_groups": sharing}, nulls("default_sharing_groups")):
        answer = call(name="made", **request, request_options=once)
        typed(answer, str, "service_account_user_id", "service_account_id", "name")
        typed(answer, int, "created_at")
        listed = admin.service_accounts.list().service_accounts
        made = next(each for each in listed if each.service_account_user_id == answer.service_account_user_id)
        levels = sorted((each.group.id, each.permission_level) for each in made.default_sharing_groups)
        expected = [(each.group_id, each.permission_level) for each in request.get("default_sharing_groups") or []]
        assert levels == sorted(expected), levels


@entry("7.1 GET api-keys", "service_accounts.api_keys.list")
def _(call):
    keys = call(account, request_options=once).api_keys
    assert keys
    for key in keys:
        is_key(key)
    assert call(other).api_keys == []


@entry("7.2 POST api-keys", "service_accounts.api_keys.create")
def _(call):
    end = NOW // 1000 + 3600
    most = {
        "character_limit": 5000,
        "allowed_ips": ["203.0.113.7", "2001:db8::/48"],
        "third_party_disable_allowed": False,
        "tts_concurrency_limit": 3,
        "dubbing_concurrency_limit": 2,
        "music_concurrency_limit": 1,
        "expires_at_unix": end,
    }
    assert sorted(most) == sorted(KEY_FIELDS)
    for permissions in ([], "all", ["text_to_speech", "voices_read"]):
        for request in ({}, most, nulls(*KEY_FIELDS)):
            answer = call(account, name="made", permissions=permissions, **request, request_options=once)
            typed(answer, str, "xi_api_key", "key_id", "api_key", "api_key_id", "name")
            typed(answer, int, "created_at")
            assert answer.xi_api_key == answer.api_key and answer.key_id == answer.api_key_id
            key = key_of(answer.key_id)
            assert key["permissions"] == (None if permissions == "all" else permissions), key
            if request is most:
                assert key["expires_at_unix"] == key["expires_at"] == end
                assert sorted(key["allowed_ips"]) == ["2001:db8::/48", "203.0.113.7/32"]
                assert (key["character_limit"], key["third_party_disable_allowed"]) == (5000, False)
                assert key["platform_limits"]["music_concurrency"]["limit"] == 1
            else:
                assert all(key[name] is None for name in KEY_FIELDS[:4]), key
    for word in ("no_update", "text_to_speech", ""):
        fails(lambda: call(account, name="refused", permissions=word, request_options=once), 422)
    passed = {**once, "additional_body_parameters": {"description": "d", "expires_at": end}}
    key = key_of(call(account, name="passed", permissions=[], request_options=passed).key_id)
    assert (key["description"], key["expires_at"]) == ("d", end)


@entry("7.3 PATCH api-keys/{key}", "service_accounts.api_keys.update")
def _(call):
    key_id = raw("POST", KEYS, {"name": "before", "permissions": ["voices_read"]})["key_id"]
    most = {"is_enabled": False, "name": "after", "permissions": ["text_to_speech"], "character_limit": 7}
    most |= {"allowed_ips": ["192.0.2.0/24"], "third_party_disable_allowed": True, "expires_at_unix": NOW // 1000 + 9999}
    most |= {"tts_concurrency_limit": 4, "dubbing_concurrency_limit": 5, "music_concurrency_limit": 6}
    is_untyped(call(account, key_id, **most, request_options=once))
    before = key_of(key_id)
    assert (before["name"], before["is_disabled"], before["permissions"]) == ("after", True, ["text_to_speech"]), before
    assert before["platform_limits"]["dubbing_concurrency"]["limit"] == 5
    tokens = ["is_enabled", "permissions", *KEY_FIELDS]
    for same in ({}, nulls("name", *tokens), dict.fromkeys(tokens, "no_update")):
        is_untyped(call(account, key_id, **same, request_options=once))
        assert key_of(key_id) == before
    is_untyped(call(account, key_id, is_enabled=True, permissions="all", **dict.fromkeys(KEY_FIELDS, "clear")))
    after = key_of(key_id)
    assert all(after[name] is None for name in KEY_FIELDS[:4]) and after["permissions"] is None, after


@entry("7.4 DELETE api-keys/{key}", "service_accounts.api_keys.delete")
def _(call):
    key_id = raw("POST", KEYS, {"name": "doomed", "permissions": []})["key_id"]
    is_untyped(call(account, key_id, request_options=once))
    assert key_of(key_id) is None
    fails(lambda: call(account, key_id, request_options=once), 404)


@entry("7.5 POST api-keys/{key}/disable", "service_accounts.api_keys.disable")
def _(call):
    key_id = raw("POST", KEYS, {"name": "off", "permissions": []})["key_id"]
    is_untyped(call(account, key_id, request_options=once))
    assert key_of(key_id)["is_disabled"] is True


@entry("8.1 POST workspaces/api-keys/disable", "workspaces.api_keys.disable")
def _(call):
    leaked = raw("POST", KEYS, {"name": "leaked", "permissions": "all"})
    own = client_with(leaked["api_key"])
    fails(lambda: own.workspaces.api_keys.disable(api_key_name="other", request_options=once), 422)
    is_untyped(own.workspaces.api_keys.disable(api_key_name="self", request_options=once))
    key = key_of(leaked["key_id"])
    assert (key["is_disabled"], key["disable_reason"]) == (True, "self_disabled"), key


@entry("8.2 POST workspaces/api-keys/third-party-disabling", "workspace.set_third_party_disabling_policy")
def _(call):
    for request in ({"third_party_disable_allowed": True}, {"third_party_disable_allowed": False}, {}):
        is_untyped(call(**request, request_options=once))
        told = raw("GET", "/v1/workspace")["third_party_disable_allowed"]
        assert told == request.get("third_party_disable_allowed"), told
    is_untyped(call(third_party_disable_allowed=None, request_options=once))


@entry("9.1 GET groups", "workspace.groups.list")
def _(call):
    groups = call(request_options=once)
    assert {group, "default"} <= set(groups)
    for each in groups.values():
        typed(each, str, "name", "id")
        typed(each, list, "members", "permissions")
        typed(each, bool, "is_scim_synced", "scim_frozen")


@entry("9.2 GET groups/search", "workspace.groups.search")
def _(call):
    (found,) = call(name="ngineer", request_options=once)
    typed(found, str, "name", "id")
    typed(found, list, "members_emails")
    assert call(name="no such + group & nobody", request_options=once) == []


@entry("9.3 POST groups/{g}/members", "workspace.groups.members.add")
def _(call):
    is_ok(call(group, email=ANN, request_options=once))
    assert raw("GET", f"/v1/workspace/groups/{group}")["members"] == [ann]


@entry("9.3 POST groups/{g}/members/remove", "workspace.groups.members.remove")
def _(call):
    is_ok(call(group, email=ANN, request_options=once))
    assert raw("GET", f"/v1/workspace/groups/{group}")["members"] == []


INVITE = {"seat_type": "workspace_lite_member", "group_ids": [group], "usage_limit": 100}


def invited():
    return {invite["email"]: invite for invite in raw("GET", "/v1/workspace/invites")["invites"]}


@entry("9.4 POST invites/add", "workspace.invites.create")
def _(call):
    is_ok(call(email="least@example.com", request_options=once))
    is_ok(call(email="most@example.com", workspace_permission="external", **INVITE, request_options=once))
    is_ok(call(email="nulls@example.com", **nulls("workspace_permission", *INVITE), request_options=once))
    most = invited()["most@example.com"]
    assert {name: most[name] for name in INVITE} == INVITE, most
    assert {"least@example.com", "nulls@example.com"} <= set(invited())
    fails(lambda: call(email=ANN, request_options=once), 400)


@entry("9.4 POST invites/add-bulk", "workspace.invites.create_batch")
def _(call):
    is_ok(call(emails=["b1@example.com"], request_options=once))
    is_ok(call(emails=["b2@example.com", "b3@example.com"], **INVITE, request_options=once))
    is_ok(call(emails=["b4@example.com"], **nulls(*INVITE), request_options=once))
    assert {f"b{number}@example.com" for number in (1, 2, 3, 4)} <= set(invited())


@entry("9.4 DELETE invites", "workspace.invites.delete")
def _(call):
    is_ok(call(email="least@example.com", request_options=once))
    assert "least@example.com" not in invited()


@entry("9.5 GET members", "workspace.members.list")
def _(call):
    people = call(request_options=once)
    assert len(people) >= 2
    for person in people:
        typed(person, str, "user_id", "email", "seat_type")
        typed(person, bool, "is_owner", "is_locked")
    assert account not in {person.user_id for person in people}


def member():
    return next(each for each in raw("GET", "/v1/workspace/members") if each["email"] == ANN)


@entry("9.6 POST members", "workspace.members.update")
def _(call):
    is_ok(call(email=ANN, request_options=once))
    is_ok(call(email=ANN, is_locked=True, request_options=once))
    assert member()["is_locked"] is True
    seat = {"workspace_seat_type": "workspace_lite_member", "workspace_role": "workspace_lite_member"}
    is_ok(call(email=ANN, is_locked=False, **seat, allow_downgrade_to_basic_seat=True, request_options=once))
    assert (member()["is_locked"], member()["seat_type"]) == (False, "workspace_lite_member")
    is_ok(call(email=ANN, workspace_role="workspace_member", request_options=once))
    is_ok(call(email=ANN, **nulls("is_locked", "allow_downgrade_to_basic_seat", *seat), request_options=once))
    assert (member()["is_locked"], member()["seat_type"]) == (False, "workspace_member")


@entry("9.7 PUT members/{user}/usage-limit", "workspace.members.update_usage_limit")
def _(call):
    for request in ({"usage_limit": 50}, {"usage_limit": None}, {"usage_limit": 0}, {}):
        is_ok(call(ann, **request, request_options=once))
        assert member()["usage_limit"] == request.get("usage_limit")
    is_ok(call(account, usage_limit=70, request_options=once))
    assert raw("GET", f"/v1/service-accounts/{account}")["usage_limit"] == 70
    is_ok(call(account, usage_limit=None, request_options=once))


RESOURCE = f"/v1/workspace/resources/{voice}?resource_type=voice"
TARGETS = [
    ({"user_email": ANN}, ann),
    ({"group_id": group}, group),
    ({"group_id": "default", **nulls("user_email", "workspace_api_key_id")}, "default"),
    ({"workspace_api_key_id": shared["key_id"], **nulls("user_email", "group_id")}, account),
]


@entry("10 GET resources/{r}", "workspace.resources.get")
def _(call):
    answer = call(voice, resource_type="voice", request_options=once)
    typed(answer, str, "resource_id", "resource_type", "resource_name", "creator_user_id")
    assert all(isinstance(ids, list) for ids in answer.role_to_group_ids.values())
    for option in answer.share_options:
        typed(option, str, "name", "id", "type")
    assert {option.type for option in answer.share_options} == {"user", "group", "key"}


@entry("10 POST resources/{r}/share", "workspace.resources.share")
def _(call):
    for target, holder in TARGETS:
        for role in ("admin", "commenter", "viewer", "editor"):
            is_untyped(call(voice, role=role, resource_type="voice", **target, request_options=once))
            roles = raw("GET", RESOURCE)["role_to_group_ids"]
            assert [name for name in roles if holder in roles[name]] == [role], roles


@entry("10 POST resources/{r}/unshare", "workspace.resources.unshare")
def _(call):
    for target, _ in TARGETS:
        is_untyped(call(voice, resource_type="voice", **target, request_options=once))
    left = raw("GET", RESOURCE)
    assert sum(left["role_to_group_ids"].values(), []) == [left["creator_user_id"]], left


@entry("11 GET audit-logs", "workspace.audit_logs.list")
def _(call):
    me = admin.user.get().user_id
    most = {"limit": 100, "time_from_unix_ms": 0, "time_to_unix_ms": NOW + 600_000, "actor_uid": me}
    most |= {"class_name": "Entity Management", "activity_name": "API Key Creation"}
    for request in ({}, {"limit": 3}, most, nulls("cursor", *most)):
        page = call(**request, request_options=once)
        typed(page, bool, "has_more")
        assert page.entries, request
        for each in page.entries:
            typed(each, str, "id", "activity_name", "message", "time_dt", "type_name", "class_name", "category_name")
            typed(each, int, "activity_id", "status_id", "time", "type_uid", "class_uid", "category_uid", "severity_id")
            typed(each.actor.user, str, "uid")
    first = call(limit=2)
    second = call(limit=2, cursor=first.next_cursor)
    assert not {each.id for each in first.entries} & {each.id for each in second.entries}


@entry("12.2 POST analytics/query/usage-by-product-over-time", "workspace.usage.get_usage_by_product_over_time")
def _(call):
    is_table(call(**SPAN, request_options=once), "timestamp", "product_type", "total_usage")
    is_table(call(**SPAN, **nulls("interval_seconds", "group_by", "filters", "time_zone"), request_options=once), "timestamp")
    for name in PRODUCT_GROUPS:
        most = {"interval_seconds": 3600, "group_by": [name], "filters": filters(name), "time_zone": "Europe/Berlin"}
        is_table(call(**SPAN, **most, request_options=once), name)


@entry("12.3 POST analytics/requests", "workspace.analytics.requests.get")
def _(call):
    table = call(start_time=SPAN["start_time"], request_options=once)
    is_table(table)
    is_table(call(end_time=SPAN["end_time"], **nulls("start_time", "limit", "sort", "filters", "search"), request_options=once))
    is_table(call(**SPAN, limit=5, sort="asc", search="x", filters=filters(table.columns[1]), request_options=once))
    fails(lambda: call(request_options=once), 422)


@entry("12.4 POST analytics/usage", "workspace.usage.get_usage")
def _(call):
    is_table(call(**DAYS, request_options=once), "total_cost", "total_charge_count")
    is_table(call(**DAYS, **nulls("group_by", "filters"), request_options=once))
    for name in COST_GROUPS:
        only = [MetronomeUsageColumnFilter(column=name, operation="in", values=["a"])]
        is_table(call(**DAYS, group_by=[name], filters=only, request_options=once), name)


@entry("12.5 GET usage/character-stats", "usage.get")
def _(call):
    span = {"start_unix": SPAN["start_time"], "end_unix": SPAN["end_time"]}
    metrics = "credits tts_characters minutes_used request_count ttfb_avg ttfb_p95 fiat_units_spent concurrency concurrency_average"
    breakdowns = "none voice voice_multiplier user groups api_keys all_api_keys product_type model resource request_queue region"
    breakdowns += " subresource_id reporting_workspace_id has_api_key request_source"
    requests = [{}, nulls("include_workspace_metrics", "breakdown_type", "aggregation_interval", "aggregation_bucket_size", "metric")]
    requests += [{"include_workspace_metrics": True, "breakdown_type": name} for name in breakdowns.split()]
    requests += [{"aggregation_interval": name} for name in ("hour", "day", "week", "month", "cumulative")]
    requests += [{"metric": name} for name in metrics.split()]
    requests += [{"include_workspace_metrics": False, "aggregation_bucket_size": 60}]
    for request in requests:
        answer = call(**span, **request, request_options=once)
        typed(answer, list, "time")
        for series in answer.usage.values():
            assert len(series) == len(answer.time) and all(isinstance(value, (int, float)) for value in series), answer
        if request.get("breakdown_type") in (None, "none"):
            assert list(answer.usage) == ["All"], answer


@entry("13.1 GET user", "user.get")
def _(_):
    for key in (ADMIN_KEY, shared["api_key"]):
        me = client_with(key).user.get(request_options=once)
        typed(me, str, "user_id", "workspace_id", "seat_type")
        typed(me, int, "created_at")
        typed(me, bool, "is_new_user", "can_use_delayed_payment_methods")
        typed(me, bool, "is_onboarding_completed", "is_onboarding_checklist_completed")
        is_subscription(me.subscription)


@entry("13.2 GET user/subscription", "user.subscription.get")
def _(call):
    plan = call(request_options=once)
    is_subscription(plan)
    assert plan.open_invoices == [] and plan.has_open_invoices is False


HOOK = {"auth_type": "hmac", "name": "made", "webhook_url": "https://example.com/hook"}
HOOKS = "/v1/workspace/webhooks"


@entry("13.3 GET webhooks", "webhooks.list")
def _(call):
    made = raw("POST", HOOKS, {"settings": HOOK})["webhook_id"]
    for request in ({}, {"include_usages": False}, {"include_usages": True}, {"include_usages": None}):
        found = next(each for each in call(**request, request_options=once).webhooks if each.webhook_id == made)
        typed(found, str, "name", "webhook_url", "auth_type")
        typed(found, bool, "is_disabled", "is_auto_disabled")
        typed(found, int, "created_at_unix")
        if request.get("include_usages"):
            typed(found, list, "usage", "events")


@entry("13.3 POST webhooks", "webhooks.create")
def _(call):
    settings = {name: value for name, value in HOOK.items() if name != "auth_type"}
    for more in ({}, {"request_headers": {"X-Own": "mine"}}, nulls("request_headers")):
        answer = call(settings=WebhookHmacSettings(**settings, **more), request_options=once)
        typed(answer, str, "webhook_id", "webhook_secret")
        # What the helper makes of a signature by that secret.
        body, at = json.dumps({"type": "webhook.test"}), int(time.time())
        digest = hmac.new(answer.webhook_secret.encode(), f"{at}.{body}".encode(), hashlib.sha256).hexdigest()
        header = f"t={at},v0={digest}"
        event = admin.webhooks.construct_event(rawBody=body, sig_header=header, secret=answer.webhook_secret)
        assert event["type"] == "webhook.test", event


@entry("13.3 PATCH webhooks/{w}", "webhooks.update")
def _(call):
    made = raw("POST", HOOKS, {"settings": HOOK})["webhook_id"]
    is_ok(call(made, is_disabled=True, name="least", request_options=once))
    events = ["voice_library_removal_notice", "speech_to_text", "agent_qa", "flows"]
    most = {"retry_enabled": False, "request_headers": {"X-Own": "a", "X-Two": "b"}, "events": events}
    is_ok(call(made, is_disabled=False, name="most", **most, request_options=once))
    before = raw("GET", f"{HOOKS}/{made}")
    assert (before["name"], before["is_disabled"], before["retry_enabled"]) == ("most", False, False), before
    assert sorted(before["events"]) == sorted(events), before
    is_ok(call(made, is_disabled=False, name="most", **nulls(*most), request_options=once))
    assert raw("GET", f"{HOOKS}/{made}") == before
    is_ok(call(made, is_disabled=False, name="most", request_headers={"X-Own": None, "X-New": "c"}, request_options=once))
    names = raw("GET", f"{HOOKS}/{made}")["request_header_names"]
    assert sorted(name.lower() for name in names) == ["x-new", "x-own"], names


@entry("13.3 DELETE webhooks/{w}", "webhooks.delete")
def _(call):
    made = raw("POST", HOOKS, {"settings": HOOK})["webhook_id"]
    is_ok(call(made, request_options=once))
    fails(lambda: call(made, request_options=once), 404)


@entry("13.4 POST single-use-token/{type}", "tokens.single_use.create")
def _(call):
    for kind in ("realtime_scribe", "batch_scribe", "tts_websocket"):
        is_not_implemented(lambda: call(kind, request_options=once))


@entry("13.5 GET auth-connections", "workspace.auth_connections.list")
def _(call):
    is_not_implemented(lambda: call(request_options=once))


@entry("13.5 POST auth-connections", "workspace.auth_connections.create")
def _(call):
    is_not_implemented(lambda: call(request={"auth_type": "bearer_auth", "name": "n", "provider": "p", "token": "t"}, request_options=once))


@entry("13.5 PATCH auth-connections/{id}", "workspace.auth_connections.update")
def _(call):
    is_not_implemented(lambda: call("some_id", request={"auth_type": "bearer_auth", "token": "t"}, request_options=once))


@entry("13.5 DELETE auth-connections/{id}", "workspace.auth_connections.delete")
def _(call):
    is_not_implemented(lambda: call("some_id", request_options=once))


for name, path, use in INDEX:
    call = admin
    for step in path.split("."):
        call = getattr(call, step, None)
    if call is None:
        print(json.dumps({"index": name, "absent": True}))
        continue
    answered = len(answers)
    line = {"index": name, "call": path, "ok": True, "error": None}
    try:
        use(call)
        assert len(answers) > answered, "nothing was sent"
    except Exception:
        line |= {"ok": False, "error": traceback.format_exc()}
    print(json.dumps(line), flush=True)
