// Makes every call of the wire's endpoint index (§1.1) that an official JavaScript SDK has: with what it must be given,
// with everything it may be given, and with every optional field null. Run for several versions of the SDK (STEAD_SDK).
//
// Prints a line of JSON for each endpoint: {index, ok, error}, or {index, absent: true} where this SDK has no such call.
// What was called is looked up in the client itself, so that nothing is said to be missing that is there.

import assert from "node:assert/strict";

const { ElevenLabsClient } = await import(process.env.STEAD_SDK);
const baseUrl = process.env.STEAD_URL;
const adminKey = process.env.STEAD_API_KEY;
const isOld = process.env.STEAD_SDK.includes("2.30.0");

const answers = [];

async function watchedFetch(input, init) {
    const response = await fetch(input, init);
    const what = `${init?.method ?? "GET"} ${input}: ${response.status}`;
    assert.ok(response.headers.get("x-request-id"), `${what} has no x-request-id`);
    assert.match(response.headers.get("content-type") ?? "", /^application\/json/, what);
    assert.notEqual((await response.clone().text()).trim(), "", `${what} has no body`);
    answers.push(response.status);
    return response;
}

/** The older SDK can't be handed a fetch; what it calls is the global one. */
const plainFetch = globalThis.fetch;
if (isOld) {
    globalThis.fetch = async (input, init) => {
        const response = await plainFetch(input, init);
        answers.push(response.status);
        return response;
    };
}

function clientWith(apiKey) {
    const own = isOld ? {} : { fetch: watchedFetch };
    return new ElevenLabsClient({ baseUrl, apiKey, maxRetries: 0, ...own });
}

const admin = clientWith(adminKey);
/** For every call: the SDK's own default is to try a 5xx again. */
const once = { maxRetries: 0 };

async function raw(method, path, body) {
    const response = await plainFetch(`${baseUrl}${path}`, {
        method,
        headers: { "xi-api-key": adminKey, "content-type": "application/json" },
        body: body === undefined ? undefined : JSON.stringify(body),
    });
    const answer = await response.json();
    assert.equal(response.status, 200, `${method} ${path}: ${JSON.stringify(answer)}`);
    return answer;
}

// ---- Fields that must be there, with their types (marked R on the wire page) ------------------------------------------

function typed(value, fields, what) {
    for (const [names, type] of Object.entries(fields)) {
        for (const name of names.split(" ")) {
            const found = Array.isArray(value[name]) ? "array" : typeof value[name];
            assert.equal(found, type, `${what}.${name} is ${found} and not ${type}: ${JSON.stringify(value)}`);
        }
    }
}

const isOk = (answer) => assert.equal(answer.status, "ok");
const isUntyped = (answer) => assert.equal(typeof answer, "object");

function isKey(key) {
    typed(key, { "name hint keyId serviceAccountUserId api_key_id service_account_id": "string" }, "key");
    typed(key, { "createdAtUnix created_at": "number", isDisabled: "boolean" }, "key");
    assert.equal(key.api_key_id, key.keyId);
    // Required from 2.32 on; before, the SDK doesn't know it and hands it through.
    const hash = isOld ? key.hashed_xi_api_key : key.hashedXiApiKey;
    assert.equal(typeof hash, "string");
    for (const secret of ["api_key", "xi-api-key", "xiApiKey"]) assert.equal(key[secret], undefined);
}

function isSubscription(plan) {
    typed(plan, { "tier status": "string" }, "subscription");
    typed(plan, { "characterCount characterLimit voiceSlotsUsed professionalVoiceSlotsUsed voiceLimit": "number" }, "subscription");
    typed(plan, { "voiceAddEditCounter professionalVoiceLimit": "number" }, "subscription");
    typed(plan, { "canExtendCharacterLimit allowedToExtendCharacterLimit canExtendVoiceLimit": "boolean" }, "subscription");
    typed(plan, { "canUseInstantVoiceCloning canUseProfessionalVoiceCloning": "boolean" }, "subscription");
    if (!isOld) {
        typed(plan, { "maxCreditLimitExtension professionalVoiceSlotsUsedInWorkspace": "number" }, "subscription");
        typed(plan.currentOverage, { "amount currency": "string" }, "current_overage");
    }
}

function isTable(table, ...columns) {
    typed(table, { "columns columnTypes rows columnUnits": "array" }, "table");
    for (const column of columns) assert.ok(table.columns.includes(column), `${column} in ${table.columns}`);
    assert.equal(table.columns.length, table.columnTypes.length);
    assert.equal(table.columns.length, table.columnUnits.length);
    for (const row of table.rows) assert.equal(row.length, table.columns.length);
}

function isNotImplemented(error) {
    assert.equal(error?.statusCode, 501, String(error?.stack ?? error));
    const { detail } = error.body ?? {};
    assert.equal(detail?.code, "not_implemented", JSON.stringify(error.body));
    assert.ok(detail.message.length > 10 && detail.request_id);
}

// ---- The scene --------------------------------------------------------------------------------------------------------

const scene = {
    account: await raw("POST", "/v1/service-accounts", { name: "Index" }),
    other: await raw("POST", "/v1/service-accounts", { name: "Other" }),
    group: await raw("POST", "/v1/workspace/groups", { name: "Engineers" }),
    voice: await raw("POST", "/v1/workspace/resources", { resource_type: "voice", resource_name: "Anna" }),
};
const account = scene.account.service_account_id;
const keys = `/v1/service-accounts/${account}/api-keys`;
const shared = await raw("POST", keys, { name: "shared", permissions: [] });
const sharing = [{ groupId: scene.group.id, permissionLevel: "editor" }, { groupId: "default", permissionLevel: "viewer" }];

async function member(email, seat) {
    const invite = await raw("POST", "/v1/workspace/invites/add", { email, seat_type: seat });
    const token = invite.invite_url.split("/invite/")[1];
    return raw("POST", "/v1/workspace/invites/accept", { token, first_name: "Ann" });
}
const ann = await member("ann@example.com", "workspace_member");

async function keyOf(id) {
    return (await raw("GET", keys))["api-keys"].find((key) => key.key_id === id);
}

const now = Date.now();
const range = { startTime: now - 3_600_000, endTime: now + 60_000 };
const filters = (column) => [
    { column, operation: "in", values: ["a", 1, true, null] },
    { column, operation: "neq", values: ["b"] },
];
const nulls = (...names) => Object.fromEntries(names.map((name) => [name, undefined]));
const KEY_FIELDS = ["characterLimit", "allowedIps", "thirdPartyDisableAllowed", "ttsConcurrencyLimit", "dubbingConcurrencyLimit", "musicConcurrencyLimit"];
const PRODUCT_GROUPS = [
    "product_type", "model", "voice_id", "user_id", "fiat_currency", "fiat_charge_type", "region", "reporting_workspace_id",
    "request_source", "resource_id", "subresource_id", "request_queue_type", "voice_multiplier", "hashed_xi_api_key",
    "billing_group_id", "surface", "actor",
];

/** A call by its place in the client; undefined if this SDK doesn't have it. */
function find(client, path) {
    const names = path.split(".");
    const method = names.pop();
    const holder = names.reduce((place, name) => place?.[name], client);
    return typeof holder?.[method] === "function" ? holder[method].bind(holder) : undefined;
}

// ---- The index --------------------------------------------------------------------------------------------------------

const absentHere = (call) => async () => {
    const error = await call().then(
        () => assert.fail("was accepted instead of answered with 501"),
        (reason) => reason,
    );
    isNotImplemented(error);
};

/** Endpoint → its call in the client, and what is done with it. */
const index = {
    "6.1 GET service-accounts": ["serviceAccounts.list", async (list) => {
        for (const answer of [await list(), await list(once)]) {
            const found = answer.serviceAccounts.find((each) => each.serviceAccountUserId === account);
            typed(found, { "name serviceAccountUserId service_account_id": "string", apiKeys: "array", api_key_count: "number" }, "account");
            assert.ok(answer.service_accounts.some((each) => each.service_account_id === account && each["api-keys"].length === each.api_key_count));
            found.apiKeys.forEach(isKey);
            if (!isOld) typed(found, { createdAtUnix: "number", defaultSharingGroups: "array" }, "account");
        }
    }],
    "6.2 POST service-accounts": ["serviceAccounts.create", async (create) => {
        const made = [];
        for (const request of [{ name: "least" }, { name: "most", defaultSharingGroups: sharing }, { name: "nulls", ...nulls("defaultSharingGroups") }]) {
            const answer = await create(request, once);
            typed(answer, { "serviceAccountUserId service_account_user_id service_account_id name": "string", created_at: "number" }, "answer");
            assert.equal(answer.serviceAccountUserId, answer.service_account_id);
            made.push(answer.serviceAccountUserId);
        }
        const { serviceAccounts } = await admin.serviceAccounts.list();
        const [least, most, none] = made.map((id) => serviceAccounts.find((each) => each.serviceAccountUserId === id));
        assert.deepEqual([least.defaultSharingGroups, none.defaultSharingGroups], [[], []]);
        const levels = most.defaultSharingGroups.map(({ group, permissionLevel }) => {
            typed(group, { "name id": "string", members: "array" }, "group");
            return [group.id, permissionLevel];
        });
        assert.deepEqual(levels.sort(), sharing.map((each) => [each.groupId, each.permissionLevel]).sort());
    }],
    "7.1 GET api-keys": ["serviceAccounts.apiKeys.list", async (list) => {
        const answer = await list(account, once);
        assert.ok(answer.apiKeys.length > 0);
        answer.apiKeys.forEach(isKey);
        assert.deepEqual(answer.api_keys.map((key) => key.key_id), answer.apiKeys.map((key) => key.keyId));
        assert.deepEqual((await list(scene.other.service_account_id)).apiKeys, []);
    }],
    "7.2 POST api-keys": ["serviceAccounts.apiKeys.create", async (create) => {
        const most = {
            name: "most", permissions: ["text_to_speech", "voices_read"], characterLimit: 5000, allowedIps: ["203.0.113.7", "2001:db8::/48"],
            thirdPartyDisableAllowed: false, ttsConcurrencyLimit: 3, dubbingConcurrencyLimit: 2, musicConcurrencyLimit: 1,
        };
        const passed = { ...once, additionalBodyParameters: { description: "d", expires_at: Math.floor(now / 1000) + 3600 } };
        for (const [request, options] of [
            [{ name: "least", permissions: [] }, once],
            [{ name: "unrestricted", permissions: "all" }, once],
            [most, passed],
            [{ name: "nulls", permissions: [], ...nulls(...KEY_FIELDS) }, once],
        ]) {
            const answer = await create(account, request, options);
            typed(answer, { "xiApiKey keyId api_key api_key_id name": "string", created_at: "number" }, "answer");
            assert.equal(answer.xiApiKey, answer.api_key);
            assert.equal(answer.keyId, answer.api_key_id);
            const key = await keyOf(answer.keyId);
            assert.deepEqual(key.permissions, request.permissions === "all" ? null : request.permissions);
            const takes = isOld ? request === most && { character_limit: 5000 } : request === most && {
                character_limit: 5000, third_party_disable_allowed: false, description: "d",
                expires_at_unix: passed.additionalBodyParameters.expires_at, expires_at: passed.additionalBodyParameters.expires_at,
            };
            for (const [field, value] of Object.entries(takes || {})) assert.equal(key[field], value, field);
            if (request === most && !isOld) {
                assert.deepEqual(key.allowed_ips.sort(), ["2001:db8::/48", "203.0.113.7/32"]);
                assert.deepEqual([key.platform_limits.concurrency.limit, key.platform_limits.dubbing_concurrency.limit, key.platform_limits.music_concurrency.limit], [3, 2, 1]);
            }
        }
    }],
    "7.3 PATCH api-keys/{key}": ["serviceAccounts.apiKeys.update", async (update) => {
        const made = await raw("POST", keys, { name: "before", permissions: ["voices_read"] });
        const all = { isEnabled: false, name: "after", permissions: ["text_to_speech"], characterLimit: 7 };
        isUntyped(await update(account, made.key_id, all, once));
        let key = await keyOf(made.key_id);
        assert.deepEqual([key.name, key.is_disabled, key.permissions, key.character_limit], ["after", true, ["text_to_speech"], 7]);
        isUntyped(await update(account, made.key_id, { isEnabled: true, name: "again", permissions: "all" }, once));
        key = await keyOf(made.key_id);
        assert.deepEqual([key.name, key.is_disabled, key.permissions, key.character_limit], ["again", false, null, 7]);
        if (isOld) return;
        const rest = { allowedIps: ["192.0.2.0/24"], thirdPartyDisableAllowed: true, ttsConcurrencyLimit: 4, dubbingConcurrencyLimit: 5, musicConcurrencyLimit: 6 };
        await update(account, made.key_id, rest, once);
        const before = await keyOf(made.key_id);
        const tokens = ["isEnabled", "permissions", ...KEY_FIELDS];
        for (const same of [undefined, {}, nulls("name", ...tokens), Object.fromEntries(tokens.map((name) => [name, "no_update"]))]) {
            await update(account, made.key_id, same, once);
            assert.deepEqual(await keyOf(made.key_id), before);
        }
        await update(account, made.key_id, Object.fromEntries(KEY_FIELDS.map((name) => [name, "clear"])), once);
        key = await keyOf(made.key_id);
        assert.deepEqual([key.character_limit, key.allowed_ips, key.third_party_disable_allowed], [null, null, null]);
    }],
    "7.4 DELETE api-keys/{key}": ["serviceAccounts.apiKeys.delete", async (remove) => {
        const made = await raw("POST", keys, { name: "doomed", permissions: [] });
        isUntyped(await remove(account, made.key_id, once));
        assert.equal(await keyOf(made.key_id), undefined);
        const error = await remove(account, made.key_id, once).catch((reason) => reason);
        assert.equal(error.statusCode, 404);
        assert.equal(error.body.detail.type, "not_found");
    }],
    "7.5 POST api-keys/{key}/disable": ["serviceAccounts.apiKeys.disable"],
    "8.1 POST workspaces/api-keys/disable": ["workspaces.apiKeys.disable", async () => {
        const made = await raw("POST", keys, { name: "leaked", permissions: "all" });
        isUntyped(await clientWith(made.api_key).workspaces.apiKeys.disable({ apiKeyName: "self" }, once));
        const key = await keyOf(made.key_id);
        assert.deepEqual([key.is_disabled, key.disable_reason], [true, "self_disabled"]);
    }],
    "8.2 POST workspaces/api-keys/third-party-disabling": ["workspace.setThirdPartyDisablingPolicy", async (set) => {
        for (const [request, value] of [
            [{ thirdPartyDisableAllowed: true }, true],
            [{ thirdPartyDisableAllowed: false }, false],
            [{ thirdPartyDisableAllowed: undefined }, null],
            [{ thirdPartyDisableAllowed: false }, false],
            [{}, null],
            [undefined, null],
        ]) {
            isUntyped(await set(request, once));
            assert.equal((await raw("GET", "/v1/workspace")).third_party_disable_allowed, value);
        }
    }],
    "9.1 GET groups": ["workspace.groups.list", async (list) => {
        const groups = await list(once);
        assert.ok(!Array.isArray(groups));
        for (const [id, group] of Object.entries(groups)) {
            assert.equal(group.id, id);
            typed(group, { "name id": "string", "members permissions": "array", "isScimSynced scimFrozen": "boolean" }, "group");
        }
        assert.equal(groups[scene.group.id].name, "Engineers");
        assert.ok(groups.default);
    }],
    "9.2 GET groups/search": ["workspace.groups.search", async (search) => {
        const [found] = await search({ name: "ngineer" }, once);
        typed(found, { "name id": "string", membersEmails: "array" }, "group");
        assert.deepEqual(await search({ name: "no such + group & nobody" }, once), []);
    }],
    "9.3 POST groups/{g}/members": ["workspace.groups.members.add", async (add) => {
        isOk(await add(scene.group.id, { email: "ann@example.com" }, once));
        const group = await raw("GET", `/v1/workspace/groups/${scene.group.id}`);
        assert.deepEqual(group.members, [ann.user_id]);
    }],
    "9.3 POST groups/{g}/members/remove": ["workspace.groups.members.remove", async (remove) => {
        isOk(await remove(scene.group.id, { email: "ann@example.com" }, once));
        const group = await raw("GET", `/v1/workspace/groups/${scene.group.id}`);
        assert.deepEqual(group.members, []);
    }],
    "9.4 POST invites/add": ["workspace.invites.create", async (create) => {
        isOk(await create({ email: "least@example.com" }, once));
        const most = { email: "most@example.com", seatType: "workspace_lite_member", groupIds: [scene.group.id], usageLimit: 100 };
        isOk(await create({ ...most, workspacePermission: "text_to_speech" }, once).catch(async (error) => {
            // The deprecated field is an enum in the older SDK.
            if (!isOld) throw error;
            return create({ ...most, workspacePermission: "workspace_member" }, once).catch(() => create(most, once));
        }));
        isOk(await create({ email: "nulls@example.com", ...nulls("seatType", "groupIds", "usageLimit", "workspacePermission") }, once));
        const { invites } = await raw("GET", "/v1/workspace/invites");
        const of = (email) => invites.find((invite) => invite.email === email);
        assert.ok(of("least@example.com") && of("nulls@example.com"));
        assert.deepEqual(of("most@example.com").group_ids, [scene.group.id]);
        if (!isOld) assert.deepEqual([of("most@example.com").seat_type, of("most@example.com").usage_limit], ["workspace_lite_member", 100]);
        const error = await create({ email: "ann@example.com" }, once).catch((reason) => reason);
        assert.equal(error.statusCode, 400, "who is a member already is not invited");
    }],
    "9.4 POST invites/add-bulk": ["workspace.invites.createBatch", async (create) => {
        isOk(await create({ emails: ["b1@example.com"] }, once));
        isOk(await create({ emails: ["b2@example.com", "b3@example.com"], seatType: "workspace_lite_member", groupIds: [scene.group.id], usageLimit: 0 }, once));
        isOk(await create({ emails: ["b4@example.com"], ...nulls("seatType", "groupIds", "usageLimit") }, once));
        const { invites } = await raw("GET", "/v1/workspace/invites");
        for (const number of [1, 2, 3, 4]) assert.ok(invites.some((invite) => invite.email === `b${number}@example.com`));
    }],
    "9.4 DELETE invites": ["workspace.invites.delete", async (remove) => {
        isOk(await remove({ email: "least@example.com" }, once));
        const { invites } = await raw("GET", "/v1/workspace/invites");
        assert.ok(!invites.some((invite) => invite.email === "least@example.com"));
    }],
    "9.5 GET members": ["workspace.members.list", async (list) => {
        const people = await list(once);
        assert.ok(people.length >= 2);
        for (const person of people) typed(person, { "userId email seatType": "string", "isOwner isLocked": "boolean" }, "member");
        assert.ok(!people.some((person) => person.userId === account), "service accounts are no members of this list");
    }],
    "9.6 POST members": ["workspace.members.update", async (update) => {
        const told = async () => (await raw("GET", "/v1/workspace/members")).find((each) => each.email === "ann@example.com");
        isOk(await update({ email: "ann@example.com" }, once));
        isOk(await update({ email: "ann@example.com", isLocked: true }, once));
        assert.equal((await told()).is_locked, true);
        const most = { email: "ann@example.com", isLocked: false, workspaceSeatType: "workspace_lite_member", allowDowngradeToBasicSeat: true };
        isOk(await update(most, once));
        assert.equal((await told()).is_locked, false);
        if (!isOld) assert.equal((await told()).seat_type, "workspace_lite_member");
        isOk(await update({ email: "ann@example.com", workspaceRole: "workspace_member" }, once));
        assert.equal((await told()).seat_type, "workspace_member");
        isOk(await update({ email: "ann@example.com", ...nulls("isLocked", "workspaceSeatType", "workspaceRole", "allowDowngradeToBasicSeat") }, once));
        assert.deepEqual([(await told()).seat_type, (await told()).is_locked], ["workspace_member", false]);
    }],
    "9.7 PUT members/{user}/usage-limit": ["workspace.members.updateUsageLimit"],
    "10 GET resources/{r}": ["workspace.resources.get", async (get) => {
        const answer = await get(scene.voice.resource_id, { resourceType: "voice" }, once);
        typed(answer, { "resourceId resourceType creatorUserId": "string", shareOptions: "array", roleToGroupIds: "object" }, "resource");
        assert.equal(isOld ? answer.resource_name : answer.resourceName, "Anna");
        for (const ids of Object.values(answer.roleToGroupIds)) assert.ok(Array.isArray(ids));
        assert.ok(answer.shareOptions.length > 0);
        for (const option of answer.shareOptions) typed(option, { "name id type": "string" }, "option");
        assert.deepEqual([...new Set(answer.shareOptions.map((option) => option.type))].sort(), ["group", "key", "user"]);
    }],
    "10 POST resources/{r}/share": ["workspace.resources.share", async (share) => {
        const role = async (id) => {
            const { role_to_group_ids: roles } = await raw("GET", `/v1/workspace/resources/${scene.voice.resource_id}?resource_type=voice`);
            return Object.keys(roles).filter((name) => roles[name].includes(id));
        };
        for (const [target, id] of [
            [{ userEmail: "ann@example.com" }, ann.user_id],
            [{ groupId: scene.group.id }, scene.group.id],
            [{ groupId: "default" }, "default"],
            [{ workspaceApiKeyId: shared.key_id, ...nulls("userEmail", "groupId") }, account],
        ]) {
            for (const name of ["admin", "viewer", "commenter", "editor"]) {
                const request = { role: name, resourceType: "voice", ...target };
                if (isOld && name === "commenter") continue;
                isUntyped(await share(scene.voice.resource_id, request, once));
                assert.deepEqual(await role(id), [name]);
            }
        }
    }],
    "10 POST resources/{r}/unshare": ["workspace.resources.unshare", async (unshare) => {
        for (const target of [
            { userEmail: "ann@example.com" },
            { groupId: scene.group.id },
            { groupId: "default", ...nulls("userEmail", "workspaceApiKeyId") },
            { workspaceApiKeyId: shared.key_id },
        ]) isUntyped(await unshare(scene.voice.resource_id, { resourceType: "voice", ...target }, once));
        const left = await raw("GET", `/v1/workspace/resources/${scene.voice.resource_id}?resource_type=voice`);
        assert.deepEqual(Object.values(left.role_to_group_ids).flat(), [left.creator_user_id]);
    }],
    "11 GET audit-logs": ["workspace.auditLogs.list", async (list) => {
        for (const request of [
            undefined,
            {},
            { limit: 3 },
            { limit: 100, timeFromUnixMs: 0, timeToUnixMs: now + 600_000, actorUid: (await admin.user.get()).userId, className: "Entity Management", activityName: "API Key Creation" },
            nulls("limit", "cursor", "timeFromUnixMs", "timeToUnixMs", "actorUid", "className", "activityName"),
        ]) {
            const page = await list(request, once);
            typed(page, { entries: "array", hasMore: "boolean" }, "page");
            assert.ok(page.entries.length > 0, JSON.stringify(request));
            for (const entry of page.entries) {
                typed(entry, { "id activityName message timeDt typeName className categoryName": "string" }, "entry");
                typed(entry, { "activityId statusId time typeUid classUid categoryUid severityId": "number" }, "entry");
                typed(entry, { "actor metadata unmapped": "object" }, "entry");
                typed(entry.actor.user, { uid: "string", typeId: "number" }, "user");
                if (entry.httpRequest) {
                    typed(entry.httpRequest, { httpMethod: "string", url: "object" }, "http_request");
                    assert.equal(typeof entry.httpRequest.url.path, "string");
                }
            }
        }
        const first = await list({ limit: 2 }, once);
        const second = await list({ limit: 2, cursor: first.nextCursor }, once);
        assert.ok(!second.entries.some((entry) => first.entries.some((other) => other.id === entry.id)));
    }],
    "12.2 POST analytics/query/usage-by-product-over-time": ["workspace.usage.getUsageByProductOverTime", async (get) => {
        isTable(await get({ ...range, intervalSeconds: 60 }, once), "timestamp", "product_type", "total_usage");
        isTable(await get(range, once), "timestamp");
        isTable(await get({ ...range, ...nulls("intervalSeconds", "groupBy", "filters", "timeZone") }, once), "timestamp");
        for (const group of PRODUCT_GROUPS) {
            const request = { ...range, intervalSeconds: 3600, groupBy: [group], filters: filters(group), timeZone: "Europe/Berlin" };
            isTable(await get(request, once), group);
        }
    }],
    "12.3 POST analytics/requests": ["workspace.analytics.requests.get", async (get) => {
        isTable(await get({ startTime: range.startTime }, once));
        isTable(await get({ endTime: range.endTime, ...nulls("startTime", "limit", "sort", "filters", "search") }, once));
        const table = await get({ ...range, limit: 5, sort: "asc", search: "x" }, once);
        isTable(table);
        isTable(await get({ ...range, limit: 1000, sort: "desc", filters: filters(table.columns[1]) }, once));
        const error = await get(undefined, once).catch((reason) => reason);
        assert.equal(error.statusCode, 422);
    }],
    "12.4 POST analytics/usage": ["workspace.usage.getUsage"],
    "12.5 GET usage/character-stats": ["usage.get", async (get) => {
        const span = { startUnix: range.startTime, endUnix: range.endTime };
        const metrics = ["credits", "tts_characters", "minutes_used", "request_count", "ttfb_avg", "ttfb_p95", "fiat_units_spent", "concurrency"];
        for (const request of [
            span,
            { ...span, ...nulls("includeWorkspaceMetrics", "breakdownType", "aggregationInterval", "aggregationBucketSize", "metric") },
            { ...span, includeWorkspaceMetrics: true, breakdownType: "user", aggregationInterval: "hour", metric: "request_count" },
            { ...span, aggregationBucketSize: 60 },
            ...["none", "voice", "api_keys", "product_type", "model"].map((breakdownType) => ({ ...span, includeWorkspaceMetrics: false, breakdownType })),
            ...["hour", "day", "week", "month", "cumulative"].map((aggregationInterval) => ({ ...span, aggregationInterval })),
            ...metrics.map((metric) => ({ ...span, metric })),
        ]) {
            const answer = await get(request, once);
            typed(answer, { time: "array", usage: "object" }, "usage");
            for (const series of Object.values(answer.usage)) {
                assert.equal(series.length, answer.time.length);
                assert.ok(series.every((value) => typeof value === "number"));
            }
            if (!request.breakdownType || request.breakdownType === "none") assert.deepEqual(Object.keys(answer.usage), ["All"]);
        }
    }],
    "13.1 GET user": ["user.get", async () => {
        for (const key of [adminKey, shared.api_key]) {
            const me = await clientWith(key).user.get(once);
            typed(me, { userId: "string", createdAt: "number" }, "user");
            if (!isOld) typed(me, { "workspaceId seatType": "string" }, "user");
            typed(me, { "isNewUser canUseDelayedPaymentMethods isOnboardingCompleted isOnboardingChecklistCompleted": "boolean" }, "user");
            isSubscription(me.subscription);
        }
    }],
    "13.2 GET user/subscription": ["user.subscription.get", async (get) => {
        const plan = await get(once);
        isSubscription(plan);
        typed(plan, { openInvoices: "array", hasOpenInvoices: "boolean" }, "subscription");
    }],
    "13.3 GET webhooks": ["webhooks.list", async (list) => {
        const made = await raw("POST", "/v1/workspace/webhooks", { settings: { auth_type: "hmac", name: "listed", webhook_url: "https://example.com/a" } });
        for (const request of [undefined, {}, { includeUsages: false }, { includeUsages: true }, { includeUsages: undefined }]) {
            const { webhooks } = await list(request, once);
            const found = webhooks.find((webhook) => webhook.webhookId === made.webhook_id);
            typed(found, { "name webhookId webhookUrl authType": "string", "isDisabled isAutoDisabled": "boolean", createdAtUnix: "number" }, "webhook");
            if (request?.includeUsages) typed(found, { "usage events": "array" }, "webhook");
        }
    }],
    "13.3 POST webhooks": ["webhooks.create", async (create) => {
        const least = { authType: "hmac", name: "least", webhookUrl: "https://example.com/b" };
        for (const settings of [least, { ...least, requestHeaders: { "X-Own": "mine" } }, { ...least, ...nulls("requestHeaders") }]) {
            const answer = await create({ settings }, once);
            typed(answer, { "webhookId webhookSecret": "string" }, "answer");
            // What the helper makes of a signature by that secret.
            const t = Math.floor(Date.now() / 1000);
            const body = JSON.stringify({ type: "webhook.test", data: {} });
            const { createHmac } = await import("node:crypto");
            const v0 = createHmac("sha256", answer.webhookSecret).update(`${t}.${body}`).digest("hex");
            const event = await admin.webhooks.constructEvent(body, `t=${t},v0=${v0}`, answer.webhookSecret);
            assert.equal(event.type, "webhook.test");
        }
    }],
    "13.3 PATCH webhooks/{w}": ["webhooks.update", async (update) => {
        const made = await raw("POST", "/v1/workspace/webhooks", { settings: { auth_type: "hmac", name: "patched", webhook_url: "https://example.com/c" } });
        const told = () => raw("GET", `/v1/workspace/webhooks/${made.webhook_id}`);
        isOk(await update(made.webhook_id, { isDisabled: true, name: "least" }, once));
        assert.deepEqual([(await told()).name, (await told()).is_disabled], ["least", true]);
        const most = { isDisabled: false, name: "most", retryEnabled: false, requestHeaders: { "X-Own": "a", "X-Two": "b" } };
        isOk(await update(made.webhook_id, { ...most, events: ["voice_library_removal_notice", "speech_to_text", "agent_qa", "flows"] }, once));
        if (!isOld) {
            assert.equal((await told()).retry_enabled, false);
            assert.equal((await told()).events.length, 4);
            const before = await told();
            isOk(await update(made.webhook_id, { isDisabled: false, name: "most", ...nulls("retryEnabled", "requestHeaders", "events") }, once));
            assert.deepEqual(await told(), before);
        }
    }],
    "13.3 DELETE webhooks/{w}": ["webhooks.delete", async (remove) => {
        const made = await raw("POST", "/v1/workspace/webhooks", { settings: { auth_type: "hmac", name: "doomed", webhook_url: "https://example.com/d" } });
        isOk(await remove(made.webhook_id, once));
        const error = await remove(made.webhook_id, once).catch((reason) => reason);
        assert.equal(error.statusCode, 404);
    }],
    "13.4 POST single-use-token/{type}": ["tokens.singleUse.create", (create) => absentHere(() => create("realtime_scribe", once))()],
    "13.5 GET auth-connections": ["workspace.authConnections.list", (list) => absentHere(() => list(once))()],
    "13.5 POST auth-connections": ["workspace.authConnections.create", (create) =>
        absentHere(() => create({ authType: "bearer_auth", name: "n", provider: "p", token: "t" }, once))()],
    "13.5 PATCH auth-connections/{id}": ["workspace.authConnections.update", (update) =>
        absentHere(() => update("some_id", { authType: "bearer_auth", token: "t" }, once))()],
    "13.5 DELETE auth-connections/{id}": ["workspace.authConnections.delete", (remove) => absentHere(() => remove("some_id", once))()],
};

for (const [entry, [path, use]] of Object.entries(index)) {
    const call = find(admin, path);
    if (call === undefined) {
        console.log(JSON.stringify({ index: entry, absent: true }));
        continue;
    }
    const answered = answers.length;
    const line = { index: entry, call: path, ok: true, error: null };
    try {
        assert.ok(use, "this SDK has a call that nothing here makes");
        await use(call);
        assert.ok(answers.length > answered, "nothing was sent");
    } catch (error) {
        Object.assign(line, { ok: false, error: String(error?.stack ?? error) });
    }
    console.log(JSON.stringify(line));
}
