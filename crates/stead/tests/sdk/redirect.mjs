// Loaded before one of the brief's examples (`node --import`). The examples hard-code the hosted service, a placeholder for
// the key and placeholders for ids, and nothing in the environment of the SDK can change the first; so the calls are bent
// here, outside of them, and the examples stay as they are written.
//
// Every request that leaves is told on standard error, so that the test can say what an example did and did not ask for.

const HOSTED = "https://api.elevenlabs.io";

const { STEAD_URL, STEAD_API_KEY, STEAD_ACCOUNT_ID, STEAD_KEY_ID } = process.env;

const REAL_IDS = {
    "service-account-id": STEAD_ACCOUNT_ID,
    "api-key-id": STEAD_KEY_ID,
    "old-key-id": STEAD_KEY_ID,
};

const originalFetch = globalThis.fetch;

globalThis.fetch = function redirectedFetch(input, init = {}) {
    const url = new URL(String(input));
    if (url.origin !== HOSTED) {
        throw new Error(`the example calls ${url.origin}, which is not the hosted service`);
    }
    const path = url.pathname
        .split("/")
        .map((segment) => REAL_IDS[segment] ?? segment)
        .join("/");
    const headers = new Headers(init.headers);
    headers.set("xi-api-key", STEAD_API_KEY);
    process.stderr.write(`sent ${init.method ?? "GET"} ${path}\n`);
    return originalFetch(`${STEAD_URL}${path}${url.search}`, { ...init, headers });
};
