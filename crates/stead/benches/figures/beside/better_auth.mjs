// The API-key plugin of Better Auth behind Node's own HTTP server, over the SQLite that Node has built in.
//
//   node better_auth.mjs load <database> <keys>    makes the tables and one key, and copies of it under other hashes
//   node better_auth.mjs serve <database> <port> <workers>

import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import cluster from "node:cluster";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { DatabaseSync } from "node:sqlite";
import { apiKey } from "@better-auth/api-key";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";

const [mode, file, ...rest] = process.argv.slice(2);
const database = new DatabaseSync(file);
// As anybody would who cares for speed. Stead's own store flushes on every commit; this one needn't.
database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 5000");

const options = {
  database,
  baseURL: "http://localhost",
  secret: "a secret of this benchmark, and of nothing else",
  telemetry: { enabled: false },
  // Before its tables are made, it says on every start that they are missing.
  logger: { disabled: mode === "load" },
  // Off: a limit would refuse the load.
  plugins: [apiKey({ rateLimit: { enabled: false }, enableMetadata: true })],
  emailAndPassword: { enabled: true },
};
const auth = betterAuth(options);

async function load(keys) {
  const { runMigrations } = await getMigrations(options);
  await runMigrations();
  const { user } = await auth.api.signUpEmail({
    body: { name: "figures", email: "figures@example.com", password: randomBytes(16).toString("hex") },
  });
  const made = await auth.api.createApiKey({
    body: { userId: user.id, name: "figures", permissions: { api: ["text_to_speech"] } },
  });
  const columns = database.prepare("PRAGMA table_info(apikey)").all().map(({ name }) => name);
  const copied = columns.map((name) => ({ id: "?1", key: "?2" })[name] ?? `"${name}"`);
  const copy = database.prepare(
    `INSERT INTO apikey (${columns.map((name) => `"${name}"`)}) SELECT ${copied} FROM apikey WHERE id = '${made.id}'`,
  );
  database.exec("BEGIN");
  for (const line of readFileSync(keys, "utf8").split("\n").filter(Boolean)) {
    const [id, secret] = line.split("\t");
    // What the plugin stores of a key: its SHA-256 in base64url.
    copy.run(id, createHash("sha256").update(secret).digest("base64url"));
  }
  database.exec("COMMIT; ANALYZE");
}

function serve(port) {
  const server = createServer(async (request, response) => {
    const key = request.headers["x-api-key"];
    const answer = await auth.api.verifyApiKey({ body: { key, permissions: { api: ["text_to_speech"] } } });
    const body = JSON.stringify(answer);
    response.writeHead(answer.valid ? 200 : 401, {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
    });
    response.end(body);
  });
  server.listen(port, "127.0.0.1");
}

if (mode === "load") {
  await load(rest[0]);
} else if (cluster.isPrimary && Number(rest[1]) > 1) {
  for (let worker = 0; worker < Number(rest[1]); worker += 1) {
    cluster.fork();
  }
} else {
  serve(Number(rest[0]));
}
