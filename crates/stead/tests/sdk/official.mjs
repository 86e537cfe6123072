// Drives a running Stead through the official JavaScript SDK, as a customer's script would, and looks at what comes back.
//
// Address and key come from the environment (STEAD_URL, STEAD_API_KEY): an argument would stand in the process list.
// One line is printed for each check; the first that fails ends the run with its reason and a non-zero exit code.

import assert from "node:assert/strict";
import { ElevenLabs, ElevenLabsClient, ElevenLabsError } from "@elevenlabs/elevenlabs-js";

const baseUrl = process.env.STEAD_URL;
const adminKey = process.env.STEAD_API_KEY;
assert.ok(baseUrl && adminKey, "STEAD_URL and STEAD_API_KEY must be set");

const UNKNOWN_ID = "nobody_has_this_id";
const URL_SAFE_ID = /^[A-Za-z0-9_-]+$/;

// ---- What every answer must be ----------------------------------------------------------------------------------------

/** Stands between the SDK and the network, so that what holds for every answer is asserted once and for all of them. */
async function watchedFetch(input, init) {
    const response = await fetch(input, init);
    const requestId = response.headers.get("x-request-id");
    assert.ok(requestId, `no x-request-id on the answer to ${init?.method ?? "GET"} ${input}`);
    assert.equal(response.headers.get("x-trace-id"), requestId, "x-trace-id and x-request-id are one id");
    assert.match(response.headers.get("content-type") ?? "", /^application\/json/);
    const text = await response.clone().text();
    assert.notEqual(text.trim(), "", "an answer without a body hides failures from the SDKs");
    return response;
}

/** A client that never tries again: a second attempt could hide a first answer that was a 5xx. */
function clientWith(apiKey) {
    return new ElevenLabsClient({ baseUrl, apiKey, fetch: watchedFetch, maxRetries: 0 });
}

/** Stead's own endpoints, which the official SDK has no method for. */
async function raw(method, path, body, apiKey = adminKey) {
    const response = await watchedFetch(`${baseUrl}${path}`, {
        method,
        headers: { "xi-api-key": apiKey, "content-type": "application/json" },
        body: body === undefined ? undefined : JSON.stringify(body),
    });
    return { status: response.status, body: await response.json() };
}

async function verify(secret, question = {}) {
    const { status, body } = await raw("POST", "/v1/api-keys/verify", { api_key: secret, ...question });
    assert.equal(status, 200, JSON.stringify(body));
    assert.equal(body.valid, body.code === "VALID");
    return body;
}

async function verifiesAs(code, secret, question) {
    assert.equal((await verify(secret, question)).code, code);
}

// ---- How a refusal must look ------------------------------------------------------------------------------------------

async function refusal(call, status) {
    const error = await call().then(
        () => assert.fail(`was accepted instead of refused with ${status}`),
        (reason) => reason,
    );
    assert.ok(error instanceof ElevenLabsError, `not an ElevenLabsError: ${error?.stack ?? error}`);
    assert.equal(error.statusCode, status, `${error.message} ${JSON.stringify(error.body)}`);
    assert.ok(error.requestId, "error.requestId comes from the header x-request-id");
    return error;
}

/** The shape of everything but 422: `detail` is an object, and its request id is the header's. */
async function refused(call, status, type) {
    const error = await refusal(call, status);
    const detail = error.body?.detail;
    assert.equal(detail?.type, type, JSON.stringify(error.body));
    for (const field of ["code", "message", "status"]) {
        assert.equal(typeof detail[field], "string", `detail.${field}`);
        assert.notEqual(detail[field], "", `detail.${field}`);
    }
    assert.equal(detail.request_id, error.requestId);
    return detail;
}

/** The shape of 422: `detail` is a list that says where each mistake is. */
async function refusedAsInvalid(call, field) {
    const error = await refusal(call, 422);
    assert.ok(error instanceof ElevenLabs.UnprocessableEntityError, error.constructor.name);
    assert.ok(Array.isArray(error.body?.detail) && error.body.detail.length > 0, JSON.stringify(error.body));
    for (const mistake of error.body.detail) {
        assert.ok(Array.isArray(mistake.loc) && mistake.loc.every((step) => ["string", "number"].includes(typeof step)));
        assert.ok(typeof mistake.msg === "string" && mistake.msg !== "");
        assert.ok(typeof mistake.type === "string" && mistake.type !== "");
    }
    const found = error.body.detail.some(({ loc }) => loc[0] === "body" && loc.includes(field));
    assert.ok(found, `no mistake names body.${field}: ${JSON.stringify(error.body)}`);
}

async function check(what, body) {
    try {
        await body();
    } catch (error) {
        console.log(`FAILED ${what}`);
        throw error;
    }
    console.log(`ok ${what}`);
}

// ---- What a key looks like in a list ----------------------------------------------------------------------------------

const admin = clientWith(adminKey);
const apiKeys = admin.serviceAccounts.apiKeys;

async function listedAccount(accountId) {
    const { serviceAccounts } = await admin.serviceAccounts.list();
    return serviceAccounts.find((account) => account.serviceAccountUserId === accountId);
}

async function listedKey(accountId, keyId) {
    return (await apiKeys.list(accountId)).apiKeys.find((key) => key.keyId === keyId);
}

/** Everything that a request can set on a key, flat and in one spelling for "not set", so that two states can be compared. */
function settings(key) {
    return {
        name: key.name,
        enabled: !(key.isDisabled ?? false),
        disableReason: key.disableReason ?? null,
        permissions: key.permissions === undefined ? null : [...key.permissions].sort(),
        characterLimit: key.characterLimit ?? null,
        allowedIps: key.allowedIps === undefined ? null : [...key.allowedIps].sort(),
        thirdPartyDisableAllowed: key.thirdPartyDisableAllowed ?? null,
        tts: key.platformLimits?.concurrency?.limit ?? null,
        dubbing: key.platformLimits?.dubbingConcurrency?.limit ?? null,
        music: key.platformLimits?.musicConcurrency?.limit ?? null,
        expiresAt: key.expires_at_unix ?? null,
    };
}

async function settingsOf(accountId, keyId) {
    return settings(await listedKey(accountId, keyId));
}

/** Creates a key and asserts what every create answer and every list entry owes. */
async function createKey(accountId, request, options) {
    const answer = await apiKeys.create(accountId, request, options);
    assert.match(answer.keyId, URL_SAFE_ID);
    assert.equal(answer.api_key_id, answer.keyId);
    assert.ok(answer.xiApiKey.length >= 32 && answer.xiApiKey.length <= 55, "the secret has between 32 and 55 characters");
    assert.equal(answer.api_key, answer.xiApiKey);
    assert.equal(answer.name, request.name);
    assert.equal(typeof answer.created_at, "number");

    const listed = await listedKey(accountId, answer.keyId);
    assert.equal(listed.hint, answer.xiApiKey.slice(-4));
    assert.notEqual(listed.hashedXiApiKey, "");
    assert.ok(!JSON.stringify(listed).includes(answer.xiApiKey), "a list never repeats the secret");
    assert.ok(!listed.hashedXiApiKey.includes(answer.xiApiKey.slice(6)), "the hash doesn't contain the secret");
    return { id: answer.keyId, secret: answer.xiApiKey, answer };
}

// ---- Service accounts -------------------------------------------------------------------------------------------------

let account;

await check("serviceAccounts.create answers with the official name and the brief's", async () => {
    const answer = await admin.serviceAccounts.create({ name: "Conformance" });
    account = answer.serviceAccountUserId;
    assert.match(account, URL_SAFE_ID);
    assert.equal(answer.service_account_user_id, account);
    assert.equal(answer.service_account_id, account);
    assert.equal(answer.name, "Conformance");
    assert.equal(typeof answer.created_at, "number");
});

await check("serviceAccounts.list has both spellings and the brief's fields", async () => {
    const answer = await admin.serviceAccounts.list();
    const official = answer.serviceAccounts.find((each) => each.serviceAccountUserId === account);
    const brief = answer.service_accounts.find((each) => each.service_account_id === account);
    assert.equal(answer.serviceAccounts.length, answer.service_accounts.length);
    assert.equal(official.name, "Conformance");
    assert.deepEqual(official.apiKeys, []);
    assert.equal(brief.service_account_user_id, account);
    assert.equal(brief.name, "Conformance");
    assert.equal(brief.api_key_count, 0);
    assert.equal(typeof brief.created_at, "number");
    assert.equal(brief.created_at, official.createdAtUnix);
    assert.ok(Math.abs(brief.created_at - Date.now() / 1000) < 600, "created_at is in seconds");
    assert.equal(brief.last_used_at ?? null, null);
});

await check("a description sent with the account is listed", async () => {
    const described = await admin.serviceAccounts.create(
        { name: "Described" },
        { additionalBodyParameters: { description: "Nightly exports" } },
    );
    assert.equal((await listedAccount(described.serviceAccountUserId)).description, "Nightly exports");
});

// ---- Keys: create and list --------------------------------------------------------------------------------------------

await check("apiKeys.list of a new account is empty under both spellings", async () => {
    const answer = await apiKeys.list(account);
    assert.deepEqual(answer.apiKeys, []);
    assert.deepEqual(answer.api_keys, []);
});

let narrow;
let unrestricted;
/** How this server lists an unrestricted key: null or the whole list; the wire allows both, and leaves open which. */
let permissionsOfAll;

await check("apiKeys.create with a list of permissions", async () => {
    narrow = await createKey(account, { name: "narrow", permissions: ["text_to_speech", "voices_read"] });
    assert.deepEqual((await settingsOf(account, narrow.id)).permissions, ["text_to_speech", "voices_read"]);
    await verifiesAs("VALID", narrow.secret, { permissions: ["text_to_speech"] });
    await verifiesAs("INSUFFICIENT_PERMISSIONS", narrow.secret, { permissions: ["speech_to_text"] });
});

await check('apiKeys.create with permissions "all" is listed as null or as a list', async () => {
    unrestricted = await createKey(account, { name: "unrestricted", permissions: "all" });
    permissionsOfAll = (await settingsOf(account, unrestricted.id)).permissions;
    assert.ok(permissionsOfAll === null || permissionsOfAll.includes("text_to_speech"));
    await verifiesAs("VALID", unrestricted.secret, { permissions: ["text_to_speech", "speech_to_text"] });
});

await check("apiKeys.create with permissions [] may do nothing", async () => {
    const bare = await createKey(account, { name: "bare", permissions: [] });
    assert.deepEqual((await settingsOf(account, bare.id)).permissions, []);
    await verifiesAs("VALID", bare.secret);
    await verifiesAs("INSUFFICIENT_PERMISSIONS", bare.secret, { permissions: ["text_to_speech"] });
});

await check("apiKeys.create takes every setting, and addresses come back as networks", async () => {
    const full = await createKey(account, {
        name: "full",
        permissions: ["text_to_speech"],
        characterLimit: 5000,
        allowedIps: ["203.0.113.7", "10.0.0.0/24", "2001:db8:1::1", "2001:db8:2::/48"],
        thirdPartyDisableAllowed: false,
        ttsConcurrencyLimit: 3,
        dubbingConcurrencyLimit: 2,
        musicConcurrencyLimit: 1,
    });
    assert.deepEqual(await settingsOf(account, full.id), {
        name: "full",
        enabled: true,
        disableReason: null,
        permissions: ["text_to_speech"],
        characterLimit: 5000,
        allowedIps: ["10.0.0.0/24", "2001:db8:1::1/128", "2001:db8:2::/48", "203.0.113.7/32"],
        thirdPartyDisableAllowed: false,
        tts: 3,
        dubbing: 2,
        music: 1,
        expiresAt: null,
    });
    for (const ip of ["203.0.113.7", "10.0.0.200", "2001:db8:1::1", "2001:db8:2::9"]) {
        await verifiesAs("VALID", full.secret, { ip });
    }
    await verifiesAs("IP_NOT_ALLOWED", full.secret, { ip: "203.0.113.8" });
    await verifiesAs("IP_NOT_ALLOWED", full.secret);
});

await check("apiKeys.create takes description and expires_at as additional body parameters", async () => {
    const expiresAt = Math.floor(Date.now() / 1000) + 3600;
    const extra = await createKey(
        account,
        { name: "extra", permissions: [] },
        { additionalBodyParameters: { description: "Ends within the hour", expires_at: expiresAt } },
    );
    assert.equal(extra.answer.description, "Ends within the hour");
    assert.equal(extra.answer.expires_at, expiresAt);
    assert.equal(extra.answer.expires_at_unix, expiresAt);
    const listed = await listedKey(account, extra.id);
    assert.equal(listed.description, "Ends within the hour");
    assert.equal(listed.expires_at, expiresAt);
    assert.equal(listed.expires_at_unix, expiresAt);
});

await check("a field this server doesn't know is ignored", async () => {
    await createKey(account, { name: "future", permissions: [] }, { additionalBodyParameters: { field_of_the_future: 1 } });
});

await check("apiKeys.list has both spellings and the brief's fields, and accounts embed the same keys", async () => {
    const answer = await apiKeys.list(account);
    assert.equal(answer.apiKeys.length, 6);
    assert.equal(answer.api_keys.length, 6);
    for (const key of answer.apiKeys) {
        const brief = answer.api_keys.find((each) => each.api_key_id === key.keyId);
        assert.equal(brief.key_id, key.keyId);
        assert.equal(brief.service_account_user_id, account);
        assert.equal(key.serviceAccountUserId, account);
        assert.equal(typeof brief.created_at, "number");
        assert.equal(brief.created_at, key.createdAtUnix);
        assert.equal(brief.expires_at ?? null, brief.expires_at_unix ?? null);
        assert.ok(!("api_key" in brief) && !("xi-api-key" in brief), "secrets are not in lists");
    }
    const listed = await listedAccount(account);
    assert.equal(listed.api_key_count, 6);
    assert.deepEqual(listed.apiKeys.map((key) => key.keyId).sort(), answer.apiKeys.map((key) => key.keyId).sort());
});

// ---- Keys: update -----------------------------------------------------------------------------------------------------

const EVERY_FIELD = [
    "isEnabled", "name", "permissions", "characterLimit", "allowedIps",
    "thirdPartyDisableAllowed", "ttsConcurrencyLimit", "dubbingConcurrencyLimit", "musicConcurrencyLimit",
];

/** Every field there is, as the one token; `name` has no token, so it is left out. */
const everythingUnchanged = Object.fromEntries(
    EVERY_FIELD.filter((field) => field !== "name").map((field) => [field, "no_update"]),
);

/** The SDK sends JSON null for a field that is there but undefined. */
const everythingNull = Object.fromEntries(EVERY_FIELD.map((field) => [field, undefined]));

const inADay = Math.floor(Date.now() / 1000) + 86_400;

/** What is sent, and what must differ afterwards; whatever isn't named there must be as it was before. */
const updates = () => [
    ["name", { name: "renamed" }, { name: "renamed" }],
    ["permissions: list", { permissions: ["speech_to_text"] }, { permissions: ["speech_to_text"] }],
    ['permissions: "no_update"', { permissions: "no_update" }, {}],
    ['permissions: "all"', { permissions: "all" }, { permissions: permissionsOfAll }],
    ["permissions: []", { permissions: [] }, { permissions: [] }],
    ["character_limit: value", { characterLimit: 700 }, { characterLimit: 700 }],
    ['character_limit: "no_update"', { characterLimit: "no_update" }, {}],
    ["character_limit: null", { characterLimit: undefined }, {}],
    ["allowed_ips: list", { allowedIps: ["192.0.2.1"] }, { allowedIps: ["192.0.2.1/32"] }],
    ['allowed_ips: "no_update"', { allowedIps: "no_update" }, {}],
    ["third_party_disable_allowed: true", { thirdPartyDisableAllowed: true }, { thirdPartyDisableAllowed: true }],
    ["third_party_disable_allowed: false", { thirdPartyDisableAllowed: false }, { thirdPartyDisableAllowed: false }],
    ['third_party_disable_allowed: "no_update"', { thirdPartyDisableAllowed: "no_update" }, {}],
    ["tts_concurrency_limit: value", { ttsConcurrencyLimit: 4 }, { tts: 4 }],
    ["dubbing_concurrency_limit: value", { dubbingConcurrencyLimit: 5 }, { dubbing: 5 }],
    ["music_concurrency_limit: value", { musicConcurrencyLimit: 6 }, { music: 6 }],
    ["expires_at_unix: value", {}, { expiresAt: inADay }, { expires_at_unix: inADay }],
    ['expires_at_unix: "no_update"', {}, {}, { expires_at_unix: "no_update" }],
    ["expires_at_unix: null", {}, {}, { expires_at_unix: null }],
    ["is_enabled: false", { isEnabled: false }, { enabled: false }],
    ['is_enabled: "no_update"', { isEnabled: "no_update" }, {}],
    ['every field "no_update"', everythingUnchanged, {}],
    ["every field null", everythingNull, {}],
    ["an empty body", {}, {}],
    ["no argument at all", undefined, {}],
    ["an unknown field", {}, {}, { field_of_the_future: 1 }],
    ["is_enabled: true", { isEnabled: true }, { enabled: true }],
    ['character_limit: "clear"', { characterLimit: "clear" }, { characterLimit: null }],
    ['allowed_ips: "clear"', { allowedIps: "clear" }, { allowedIps: null }],
    ['third_party_disable_allowed: "clear"', { thirdPartyDisableAllowed: "clear" }, { thirdPartyDisableAllowed: null }],
    ['tts_concurrency_limit: "clear"', { ttsConcurrencyLimit: "clear" }, { tts: null }],
    ['dubbing_concurrency_limit: "clear"', { dubbingConcurrencyLimit: "clear" }, { dubbing: null }],
    ['music_concurrency_limit: "clear"', { musicConcurrencyLimit: "clear" }, { music: null }],
    ['expires_at_unix: "clear"', {}, { expiresAt: null }, { expires_at_unix: "clear" }],
    [
        "several fields at once",
        { name: "again", permissions: ["voices_read"], characterLimit: 9 },
        { name: "again", permissions: ["voices_read"], characterLimit: 9 },
    ],
];

for (const [what, request, change, additionalBodyParameters] of updates()) {
    await check(`apiKeys.update with ${what} changes that and nothing else`, async () => {
        const before = await settingsOf(account, narrow.id);
        await apiKeys.update(account, narrow.id, request, { additionalBodyParameters });
        assert.deepEqual(await settingsOf(account, narrow.id), { ...before, ...change });
    });
}

// ---- Keys: disable, enable, delete, rotate ----------------------------------------------------------------------------

await check("a key disabled by PATCH is refused at the next question, and valid again once enabled", async () => {
    const key = await createKey(account, { name: "switched", permissions: "all" });
    await verifiesAs("VALID", key.secret);
    await apiKeys.update(account, key.id, { isEnabled: false });
    await verifiesAs("DISABLED", key.secret);
    await refused(() => clientWith(key.secret).user.get(), 401, "authentication_error");
    await apiKeys.update(account, key.id, { isEnabled: true });
    await verifiesAs("VALID", key.secret);
});

await check("a deleted key is gone from the list and verifies as REVOKED", async () => {
    const key = await createKey(account, { name: "short-lived", permissions: "all" });
    await apiKeys.delete(account, key.id);
    assert.equal(await listedKey(account, key.id), undefined);
    await verifiesAs("REVOKED", key.secret);
    await refused(() => clientWith(key.secret).user.get(), 401, "authentication_error");
    await refused(() => apiKeys.delete(account, key.id), 404, "not_found");
});

await check("a rotated key has a successor with the same settings, and both are valid through the grace period", async () => {
    const old = await createKey(account, {
        name: "rotating",
        permissions: ["text_to_speech"],
        characterLimit: 1000,
        allowedIps: ["10.0.0.0/24"],
        ttsConcurrencyLimit: 2,
    });
    const before = await settingsOf(account, old.id);
    const path = `/v1/service-accounts/${account}/api-keys/${old.id}/rotate`;
    const { status, body: successor } = await raw("POST", path, { grace_period_seconds: 3600 });

    assert.equal(status, 200, JSON.stringify(successor));
    assert.equal(successor.api_key_id, successor.key_id);
    assert.equal(successor.api_key, successor["xi-api-key"]);
    assert.notEqual(successor.key_id, old.id);
    assert.notEqual(successor.api_key, old.secret);
    assert.equal(successor.rotated_from, old.id);
    assert.ok(Math.abs(successor.old_key_expires_at - (Date.now() / 1000 + 3600)) < 120);

    const { name: _, ...inherited } = await settingsOf(account, successor.key_id);
    const { name: __, ...expected } = before;
    assert.deepEqual(inherited, expected);
    assert.equal((await settingsOf(account, old.id)).expiresAt, successor.old_key_expires_at);
    await verifiesAs("VALID", old.secret, { ip: "10.0.0.1" });
    await verifiesAs("VALID", successor.api_key, { ip: "10.0.0.1" });
});

await check("a string nobody issued is NOT_FOUND or MALFORMED", async () => {
    const { code } = await verify("stead_this-was-never-issued");
    assert.ok(["NOT_FOUND", "MALFORMED"].includes(code), code);
});

// ---- The audit log ------------------------------------------------------------------------------------------------------

await check("the audit log comes in pages, with filters, and every field is of its type", async () => {
    const me = (await admin.user.get()).userId;
    const first = await admin.workspace.auditLogs.list({ limit: 2, actorUid: me, className: "Entity Management" });
    assert.equal(first.entries.length, 2);
    assert.equal(first.hasMore, true);
    const next = { limit: 2, actorUid: me, className: "Entity Management", cursor: first.nextCursor };
    const second = await admin.workspace.auditLogs.list(next);
    for (const entry of [...first.entries, ...second.entries]) {
        assert.equal(entry.typeUid, entry.classUid * 100 + entry.activityId);
        assert.equal(entry.actor.user.uid, me);
        assert.equal(new Date(entry.timeDt).getTime(), entry.time);
        assert.equal(entry.statusId, 1);
        assert.ok(entry.httpRequest.url.path.startsWith("/v1/"), JSON.stringify(entry.httpRequest));
        assert.equal(typeof entry.device.ip, "string");
    }
    assert.ok(second.entries[0].time <= first.entries[1].time);
    const made = await admin.workspace.auditLogs.list({ activityName: "API Key Creation", timeFromUnixMs: 0, timeToUnixMs: Date.now() });
    assert.ok(made.entries.length > 0 && made.entries.every((entry) => entry.activityName === "API Key Creation"));
    const later = Date.now() + 3600000;
    const none = await admin.workspace.auditLogs.list({ timeFromUnixMs: later });
    assert.deepEqual([none.entries, none.hasMore, none.nextCursor ?? null], [[], false, null]);
    await refused(() => admin.workspace.auditLogs.list({ cursor: first.nextCursor }), 400, "validation_error");
});

// ---- Whoami, use and self-disable -------------------------------------------------------------------------------------

function looksLikeAUser(user) {
    for (const field of ["userId", "workspaceId", "seatType"]) {
        assert.equal(typeof user[field], "string", field);
        assert.notEqual(user[field], "", field);
    }
    assert.equal(typeof user.createdAt, "number");
    assert.equal(typeof user.subscription.characterLimit, "number");
}

await check("user.get with the owner's key and with a service account's key", async () => {
    const owner = await admin.user.get();
    const machine = await clientWith(unrestricted.secret).user.get();
    looksLikeAUser(owner);
    looksLikeAUser(machine);
    const plan = await clientWith(unrestricted.secret).user.subscription.get();
    assert.equal(plan.characterLimit, machine.subscription.characterLimit);
    assert.equal(typeof plan.currentOverage.amount, "string");
    assert.deepEqual(plan.openInvoices, []);
    assert.equal(plan.hasOpenInvoices, false);
    assert.equal(machine.userId, account);
    assert.equal(machine.workspaceId, owner.workspaceId);
    assert.notEqual(owner.userId, account);
});

await check("use is visible at once, on the key and on its account", async () => {
    const { api_keys: keys } = await apiKeys.list(account);
    const used = keys.find((key) => key.api_key_id === unrestricted.id);
    assert.ok(Math.abs(used.last_used_at - Date.now() / 1000) < 600, `last_used_at ${used.last_used_at}`);
    assert.equal(keys.find((key) => key.name === "future").last_used_at ?? null, null);
    const { service_accounts: accounts } = await admin.serviceAccounts.list();
    const owner = accounts.find((each) => each.service_account_id === account);
    assert.ok(Math.abs(owner.last_used_at - Date.now() / 1000) < 600, `last_used_at ${owner.last_used_at}`);
});

await check('workspaces.apiKeys.disable("self") disables the calling key and says so', async () => {
    const key = await createKey(account, { name: "leaked", permissions: "all" });
    await clientWith(key.secret).workspaces.apiKeys.disable({ apiKeyName: "self" });
    const listed = await listedKey(account, key.id);
    assert.equal(listed.isDisabled, true);
    assert.equal(listed.disableReason, "self_disabled");
    await verifiesAs("DISABLED", key.secret);
});

await check("self-disable is refused to a key that may not, and leaves it valid", async () => {
    const key = await createKey(account, { name: "kept", permissions: "all", thirdPartyDisableAllowed: false });
    const call = () => clientWith(key.secret).workspaces.apiKeys.disable({ apiKeyName: "self" });
    await refused(call, 403, "authorization_error");
    await verifiesAs("VALID", key.secret);
});

await check("workspace.setThirdPartyDisablingPolicy rules over the keys' own settings until it is taken back", async () => {
    const key = await createKey(account, { name: "ruled", permissions: "all", thirdPartyDisableAllowed: true });
    const disable = () => clientWith(key.secret).workspaces.apiKeys.disable({ apiKeyName: "self" });
    await admin.workspace.setThirdPartyDisablingPolicy({ thirdPartyDisableAllowed: false });
    await refused(disable, 403, "authorization_error");
    await admin.workspace.setThirdPartyDisablingPolicy();
    await disable();
    await verifiesAs("DISABLED", key.secret);
});

await check("self-disable needs the exact word and disables nothing without it", async () => {
    const key = await createKey(account, { name: "spared", permissions: "all" });
    const error = await clientWith(key.secret).workspaces.apiKeys.disable({ apiKeyName: "other" }).catch((reason) => reason);
    assert.ok([400, 422].includes(error.statusCode), String(error));
    assert.ok(error.body?.detail && error.requestId);
    await verifiesAs("VALID", key.secret);
});

// ---- Usage --------------------------------------------------------------------------------------------------------------

await check("usage and analytics are told as the SDK reads them", async () => {
    const now = Date.now();
    const range = { startTime: now - 3_600_000, endTime: now + 60_000 };
    await verifiesAs("VALID", unrestricted.secret);
    const stats = await admin.usage.get({ startUnix: range.startTime, endUnix: range.endTime, includeWorkspaceMetrics: true, metric: "request_count" });
    assert.equal(stats.time.length, stats.usage.All.length);
    assert.ok(stats.usage.All.some((count) => count > 0));
    const filters = [{ column: "outcome", operation: "eq", values: ["VALID"] }];
    const table = await admin.workspace.usage.getUsageByProductOverTime({ ...range, intervalSeconds: 86_400, groupBy: ["user_id"], filters, timeZone: "Europe/Berlin" });
    assert.deepEqual(table.columns, ["timestamp", "user_id", "total_usage", "usage_count", "user_label"]);
    assert.deepEqual(table.columnUnits[2], "credits");
    assert.ok(table.rows.some((row) => row[1] === account && row[3] > 0));
    const requests = await admin.workspace.analytics.requests.get({ ...range, limit: 10 });
    assert.ok(requests.rows.every((row) => row.length === requests.columns.length));
    await refusedAsInvalid(() => admin.workspace.analytics.requests.get(), "start_time");
});

// ---- Errors -----------------------------------------------------------------------------------------------------------

await check("422 is typed and names the field", async () => {
    const key = { name: "refused", permissions: [] };
    await refusedAsInvalid(() => admin.serviceAccounts.create({ name: "" }), "name");
    await refusedAsInvalid(() => apiKeys.create(account, { ...key, name: "" }), "name");
    await refusedAsInvalid(() => apiKeys.create(account, { ...key, name: "n".repeat(129) }), "name");
    await refusedAsInvalid(() => apiKeys.create(account, { ...key, allowedIps: ["10.0.0.0/99"] }), "allowed_ips");
    await refusedAsInvalid(() => apiKeys.create(account, { ...key, allowedIps: [] }), "allowed_ips");
    await refusedAsInvalid(() => apiKeys.create(account, { ...key, characterLimit: -1 }), "character_limit");
    await refusedAsInvalid(() => apiKeys.update(account, narrow.id, { name: "" }), "name");
    await refusedAsInvalid(() => apiKeys.update(account, narrow.id, { allowedIps: ["nowhere"] }), "allowed_ips");
    const { apiKeys: keys } = await apiKeys.list(account);
    assert.ok(keys.every(({ name }) => name !== "refused"), "a refused create writes nothing");
});

await check("401 for a key this server never issued", async () => {
    await refused(() => clientWith("no-key-of-this-server").serviceAccounts.list(), 401, "authentication_error");
    const last = unrestricted.secret.at(-1) === "A" ? "B" : "A";
    const mistyped = unrestricted.secret.slice(0, -1) + last;
    await refused(() => clientWith(mistyped).serviceAccounts.list(), 401, "authentication_error");
});

await check("401 comes before 422", async () => {
    const call = () => clientWith("no-key-of-this-server").serviceAccounts.create({ name: "" });
    await refused(call, 401, "authentication_error");
});

await check("403 for a service account, which is no admin, whatever its key may do", async () => {
    await refused(() => clientWith(unrestricted.secret).serviceAccounts.list(), 403, "authorization_error");
    await refused(() => clientWith(narrow.secret).serviceAccounts.list(), 403, "authorization_error");
    const call = () => clientWith(unrestricted.secret).serviceAccounts.create({ name: "By a machine" });
    await refused(call, 403, "authorization_error");
});

await check("403 for a call from an address the key isn't allowed from", async () => {
    const key = await createKey(account, { name: "elsewhere", permissions: "all", allowedIps: ["203.0.113.7"] });
    await refused(() => clientWith(key.secret).user.get(), 403, "authorization_error");
});

await check("404 for an account or a key that isn't there", async () => {
    const key = { name: "refused", permissions: [] };
    await refused(() => apiKeys.list(UNKNOWN_ID), 404, "not_found");
    await refused(() => apiKeys.create(UNKNOWN_ID, key), 404, "not_found");
    await refused(() => apiKeys.update(UNKNOWN_ID, narrow.id, { name: "refused" }), 404, "not_found");
    await refused(() => apiKeys.update(account, UNKNOWN_ID, { name: "refused" }), 404, "not_found");
    await refused(() => apiKeys.delete(account, UNKNOWN_ID), 404, "not_found");
    const { serviceAccountUserId: other } = await admin.serviceAccounts.create({ name: "Other" });
    await refused(() => apiKeys.delete(other, narrow.id), 404, "not_found");
    assert.ok(await listedKey(account, narrow.id), "a key is deleted through its own account only");
});
