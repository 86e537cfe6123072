// Webhooks by the official JavaScript SDK: made, changed and deleted by it, and each delivery checked by its own helper.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { ElevenLabsClient, ElevenLabsError } from "@elevenlabs/elevenlabs-js";

const client = new ElevenLabsClient({
    baseUrl: process.env.STEAD_URL,
    apiKey: process.env.STEAD_API_KEY,
    maxRetries: 0,
});

const heard = [];
const receiver = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    heard.push({ raw: Buffer.concat(parts).toString("utf8"), headers: request.headers });
    response.end("ok");
});
await new Promise((listening) => receiver.listen(0, "127.0.0.1", listening));
const webhookUrl = `http://127.0.0.1:${receiver.address().port}/hook`;

async function until(condition) {
    const end = Date.now() + 20_000;
    while (!condition()) {
        assert.ok(Date.now() < end, `waited in vain; heard ${JSON.stringify(heard)}`);
        await new Promise((later) => setTimeout(later, 10));
    }
}

const { webhookId, webhookSecret } = await client.webhooks.create({
    settings: { authType: "hmac", name: "from the SDK", webhookUrl, requestHeaders: { "X-Own": "mine" } },
});
assert.ok(webhookId && webhookSecret);
let { webhooks } = await client.webhooks.list({ includeUsages: true });
assert.equal(webhooks.length, 1);
assert.equal(webhooks[0].webhookId, webhookId);
assert.equal(webhooks[0].authType, "hmac");
assert.equal(webhooks[0].isDisabled, false);
assert.deepEqual(webhooks[0].usage, []);
assert.ok(webhooks[0].events.includes("api_key.created"));

const account = await client.serviceAccounts.create({ name: "bot ü 🔑" });
const accountId = account.serviceAccountUserId;
const key = await client.serviceAccounts.apiKeys.create(accountId, { name: "ключ", permissions: "all" });
await client.serviceAccounts.apiKeys.delete(accountId, key.keyId);
await until(() => heard.length === 3);

const types = [];
for (const { raw, headers } of heard) {
    const signature = headers["elevenlabs-signature"];
    const event = await client.webhooks.constructEvent(raw, signature, webhookSecret);
    assert.equal(event.event_id, headers["x-stead-event-id"]);
    assert.equal(headers["x-own"], "mine");
    assert.equal(typeof event.event_timestamp, "number");
    assert.ok(!raw.includes(key.xiApiKey));
    types.push(event.type);
    for (const [body, header, secret] of [
        [raw.replace("api_key", "api_kez").replace("service_account", "service_accound"), signature, webhookSecret],
        [raw, signature.replace(/t=\d/, "t=0"), webhookSecret],
        [raw, signature, "wsec_0000"],
    ]) {
        await assert.rejects(client.webhooks.constructEvent(body, header, secret), ElevenLabsError);
    }
}
assert.deepEqual(types.sort(), ["api_key.created", "api_key.revoked", "service_account.created"]);

assert.equal((await client.webhooks.update(webhookId, { isDisabled: true, name: "off" })).status, "ok");
({ webhooks } = await client.webhooks.list());
assert.deepEqual([webhooks[0].name, webhooks[0].isDisabled, webhooks[0].isAutoDisabled], ["off", true, false]);
await client.webhooks.update(webhookId, {
    isDisabled: false,
    name: "on",
    retryEnabled: true,
    requestHeaders: { "X-Own": "other" },
    events: ["flows"],
});
assert.equal((await client.webhooks.delete(webhookId)).status, "ok");
assert.deepEqual((await client.webhooks.list()).webhooks, []);
await assert.rejects(client.webhooks.delete(webhookId), (error) => error.statusCode === 404);
receiver.close();
receiver.closeAllConnections();
console.log("the JavaScript SDK took every delivery");
