-- The tenants. `policies` is JSON: what the workspace asks of keys. `audit_seq` and `audit_head` are the end of the workspace's audit chain; locking this row comes
-- first in every write, which makes "count, then insert" right on both engines.
CREATE TABLE workspaces (
    id TEXT NOT NULL PRIMARY KEY,
    tag TEXT NOT NULL,
    name TEXT NOT NULL,
    seats {int} NOT NULL,
    is_disabled {bool} NOT NULL,
    third_party_disable_allowed {bool},
    billing_day {int} NOT NULL,
    billing_zone TEXT NOT NULL,
    max_accounts {int},
    max_keys_per_account {int},
    policies TEXT NOT NULL,
    created_at {int} NOT NULL,
    audit_seq {int} NOT NULL,
    audit_head {bytes} NOT NULL,
    version {int} NOT NULL,
    seal {bytes} NOT NULL
) {strict};
CREATE INDEX workspaces_by_age ON workspaces (created_at, id);

-- People. `groups` is a JSON list of ids: who is in a group is said by the member's own row, under its seal and version.
-- A removed one stays for ever, so that its id is never used again.
CREATE TABLE members (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    id TEXT NOT NULL,
    email TEXT NOT NULL,
    name TEXT NOT NULL,
    seat_type TEXT NOT NULL,
    is_owner {bool} NOT NULL,
    is_locked {bool} NOT NULL,
    groups TEXT NOT NULL,
    usage_limit {int},
    created_at {int} NOT NULL,
    removed_at {int},
    version {int} NOT NULL,
    seal {bytes} NOT NULL,
    PRIMARY KEY (workspace_id, id)
) {strict};
CREATE UNIQUE INDEX members_email ON members (workspace_id, email) WHERE removed_at IS NULL;

-- Members without a person. A deleted one stays for ever, so that its id is never used again.
CREATE TABLE service_accounts (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    email TEXT NOT NULL,
    is_disabled {bool} NOT NULL,
    groups TEXT NOT NULL,
    usage_limit {int},
    default_sharing_groups TEXT NOT NULL,
    created_at {int} NOT NULL,
    deleted_at {int},
    version {int} NOT NULL,
    seal {bytes} NOT NULL,
    PRIMARY KEY (workspace_id, id)
) {strict};
CREATE INDEX service_accounts_by_age ON service_accounts (workspace_id, created_at, id);
CREATE UNIQUE INDEX service_accounts_email ON service_accounts (workspace_id, email);

-- Groups give their members group permissions (a JSON list), and what is shared with the group. `default` is everyone.
CREATE TABLE member_groups (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    permissions TEXT NOT NULL,
    usage_limit {int},
    created_at {int} NOT NULL,
    version {int} NOT NULL,
    seal {bytes} NOT NULL,
    PRIMARY KEY (workspace_id, id)
) {strict};

-- Things of the platform's own. The seal is over the row and everything shared of it. A deleted one stays for ever, so
-- that its versions go on when the same id is registered anew.
CREATE TABLE resources (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    resource_type TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT,
    creator_id TEXT,
    created_at {int} NOT NULL,
    deleted_at {int},
    version {int} NOT NULL,
    seal {bytes} NOT NULL,
    PRIMARY KEY (workspace_id, resource_type, id)
) {strict};
-- With whom: a member, a group, or `default`, which is everybody.
CREATE TABLE resource_shares (
    workspace_id TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    grantee_id TEXT NOT NULL,
    role TEXT NOT NULL,
    PRIMARY KEY (workspace_id, resource_type, resource_id, grantee_id),
    FOREIGN KEY (workspace_id, resource_type, resource_id) REFERENCES resources (workspace_id, resource_type, id)
) {keyed};
CREATE INDEX resource_shares_by_grantee ON resource_shares (workspace_id, grantee_id, resource_type, resource_id);
CREATE INDEX resources_by_creator ON resources (workspace_id, creator_id, resource_type, id);

-- Who was invited and has not joined yet; of the link only a digest is kept. `group_ids` is a JSON list, `bounds` what
-- the first key may do, as JSON.
CREATE TABLE invites (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    id TEXT NOT NULL,
    email TEXT NOT NULL,
    token_digest {bytes} NOT NULL,
    seat_type TEXT NOT NULL,
    group_ids TEXT NOT NULL,
    usage_limit {int},
    bounds TEXT NOT NULL,
    invited_by TEXT NOT NULL,
    created_at {int} NOT NULL,
    expires_at {int} NOT NULL,
    version {int} NOT NULL,
    seal {bytes} NOT NULL,
    PRIMARY KEY (workspace_id, id)
) {strict};
CREATE UNIQUE INDEX invites_email ON invites (workspace_id, email);
CREATE UNIQUE INDEX invites_token ON invites (workspace_id, token_digest);
CREATE INDEX invites_by_expiry ON invites (expires_at);

-- Mails that wait to be sent. A body may hold a link that opens something: it is encrypted, and bound to its recipient.
CREATE TABLE mails (
    workspace_id TEXT NOT NULL,
    id TEXT NOT NULL,
    recipient TEXT NOT NULL,
    subject TEXT NOT NULL,
    body {bytes} NOT NULL,
    created_at {int} NOT NULL,
    attempts {int} NOT NULL,
    next_at {int} NOT NULL,
    PRIMARY KEY (workspace_id, id)
) {keyed};
CREATE INDEX mails_due ON mails (next_at);
CREATE INDEX mails_by_age ON mails (created_at);

-- API keys; a revoked one stays for ever. `permissions` is a JSON list or NULL for unrestricted, `allowed_ips` a
-- JSON list or NULL for anywhere, `rate_limits` a JSON list or NULL for none. `unrotated_expires_at` is what an undone rotation gives back,
-- `enabled_at` when it was last enabled again, `exposed_at` when its secret was last reported as public.
CREATE TABLE api_keys (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    id TEXT NOT NULL,
    principal_id TEXT NOT NULL,
    lineage_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    hint TEXT NOT NULL,
    digest {bytes} NOT NULL,
    pepper_version {int} NOT NULL,
    is_foreign {bool} NOT NULL,
    permissions TEXT,
    allowed_ips TEXT,
    character_limit {int},
    tts_concurrency_limit {int},
    dubbing_concurrency_limit {int},
    music_concurrency_limit {int},
    rate_limits TEXT,
    third_party_disable_allowed {bool},
    is_disabled {bool} NOT NULL,
    disable_reason TEXT,
    created_at {int} NOT NULL,
    expires_at {int},
    revoked_at {int},
    rotated_from TEXT,
    rotated_to TEXT,
    unrotated_expires_at {int},
    enabled_at {int},
    exposed_at {int},
    version {int} NOT NULL,
    seal {bytes} NOT NULL,
    PRIMARY KEY (workspace_id, id)
) {strict};
CREATE INDEX api_keys_by_age ON api_keys (workspace_id, created_at, id);
CREATE INDEX api_keys_by_principal ON api_keys (workspace_id, principal_id, created_at, id);
-- What an account may have is counted at each creation: from this index alone, without a look at the rows.
CREATE INDEX api_keys_unrevoked ON api_keys (workspace_id, principal_id) WHERE revoked_at IS NULL;

-- Which key of a lineage is told of credits that go.
CREATE INDEX api_keys_capped ON api_keys (workspace_id, lineage_id) WHERE character_limit IS NOT NULL AND revoked_at IS NULL;

-- The one global index: a digest belongs to one key of one workspace.
CREATE TABLE key_digests (
    digest {bytes} NOT NULL,
    workspace_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    CONSTRAINT key_digests_unique PRIMARY KEY (digest)
) {keyed};

-- What verification tells, merged in memory and written behind: apart from the keys' rows, so that it changes
-- neither their versions nor their seals.
CREATE TABLE key_uses (
    workspace_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    last_used_at {int} NOT NULL,
    PRIMARY KEY (workspace_id, key_id)
) {keyed};

-- Credits of a lineage in a month, which is known by its first instant: what was used, what nodes hold on lease, and
-- what was lost with nodes that ended in the middle. Nothing is granted that takes their sum over the cap.
CREATE TABLE credits (
    workspace_id TEXT NOT NULL,
    lineage_id TEXT NOT NULL,
    period {int} NOT NULL,
    used {int} NOT NULL,
    leased {int} NOT NULL,
    forfeited {int} NOT NULL,
    PRIMARY KEY (workspace_id, lineage_id, period)
) {keyed};
-- A node's lease: running totals, so that telling the same twice counts once.
CREATE TABLE credit_leases (
    workspace_id TEXT NOT NULL,
    lineage_id TEXT NOT NULL,
    period {int} NOT NULL,
    node_id TEXT NOT NULL,
    granted {int} NOT NULL,
    spent {int} NOT NULL,
    renewed_at {int} NOT NULL,
    PRIMARY KEY (workspace_id, lineage_id, period, node_id)
) {keyed};
CREATE INDEX credit_leases_by_age ON credit_leases (renewed_at);

-- What verification counted, many counts in a block (usage/block.rs). `resolution` is the unit in seconds: 60, 3600 or
-- 86400; a block lies in one span of 60 minutes, 24 hours or 28 days, which begins at `starts_at`. Each count is in
-- exactly one block. `is_folded`: was gathered with the others of its span.
CREATE TABLE usage_blocks (
    workspace_id TEXT NOT NULL,
    resolution {int} NOT NULL,
    starts_at {int} NOT NULL,
    node_id TEXT NOT NULL,
    seq {int} NOT NULL,
    is_folded {bool} NOT NULL,
    body {bytes} NOT NULL,
    PRIMARY KEY (workspace_id, resolution, starts_at, node_id, seq)
) {strict};
CREATE INDEX usage_blocks_by_age ON usage_blocks (resolution, starts_at);
CREATE INDEX usage_blocks_loose ON usage_blocks (resolution, starts_at) WHERE NOT is_folded;

-- A chain per workspace: `hash` seals the whole row and the hash before it. `class_uid` and `activity_id` are OCSF's, `status`
-- is 1 for what was done and 2 for what was refused. Pages go by time, newest first, each by the index of its filter.
CREATE TABLE audit_log (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    seq {int} NOT NULL,
    id TEXT NOT NULL,
    at {int} NOT NULL,
    activity TEXT NOT NULL,
    class_uid {int} NOT NULL,
    activity_id {int} NOT NULL,
    status {int} NOT NULL,
    actor_id TEXT NOT NULL,
    actor TEXT NOT NULL,
    target TEXT NOT NULL,
    details TEXT NOT NULL,
    hash {bytes} NOT NULL,
    PRIMARY KEY (workspace_id, seq)
) {keyed};
CREATE INDEX audit_log_by_actor ON audit_log (workspace_id, actor_id, at, seq);
CREATE INDEX audit_log_by_activity ON audit_log (workspace_id, activity, at, seq);
CREATE INDEX audit_log_by_class ON audit_log (workspace_id, class_uid, at, seq);
-- The last one: of indexes that it holds for equally good, SQLite takes the one that was made first.
CREATE INDEX audit_log_by_time ON audit_log (workspace_id, at, seq);

-- Webhooks. `events` is a JSON list or NULL for all; secrets and headers are encrypted under the pepper.
CREATE TABLE webhooks (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    is_disabled {bool} NOT NULL,
    is_auto_disabled {bool} NOT NULL,
    retry_enabled {bool} NOT NULL,
    events TEXT,
    headers {bytes},
    secret {bytes} NOT NULL,
    next_secret {bytes},
    next_secret_from {int},
    created_at {int} NOT NULL,
    version {int} NOT NULL,
    seal {bytes} NOT NULL,
    PRIMARY KEY (workspace_id, id)
) {strict};
-- How a webhook fares, apart from its row, so that it changes neither version nor seal.
CREATE TABLE webhook_states (
    workspace_id TEXT NOT NULL,
    webhook_id TEXT NOT NULL,
    failures {int} NOT NULL,
    last_success_at {int},
    last_failure_at {int},
    last_failure_status {int},
    PRIMARY KEY (workspace_id, webhook_id)
) {keyed};
-- The outbox: what happened, written in the transaction in which it did, and whom it is to be told. `seq` follows the
-- order of a workspace's commits. What is open has no `finished_at`; what is under way is claimed until some instant.
CREATE TABLE webhook_events (
    workspace_id TEXT NOT NULL,
    seq {int} NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    object_id TEXT NOT NULL,
    body TEXT NOT NULL,
    at {int} NOT NULL,
    seal {bytes} NOT NULL,
    PRIMARY KEY (workspace_id, seq)
) {strict};
CREATE UNIQUE INDEX webhook_events_by_id ON webhook_events (workspace_id, id);
CREATE INDEX webhook_events_by_age ON webhook_events (at);
CREATE TABLE webhook_deliveries (
    workspace_id TEXT NOT NULL,
    webhook_id TEXT NOT NULL,
    seq {int} NOT NULL,
    object_id TEXT NOT NULL,
    status TEXT NOT NULL,
    attempts {int} NOT NULL,
    since {int} NOT NULL,
    next_at {int} NOT NULL,
    claimed_by TEXT,
    claimed_until {int} NOT NULL,
    last_at {int},
    last_status {int},
    last_error TEXT,
    finished_at {int},
    PRIMARY KEY (workspace_id, webhook_id, seq)
) {strict};
CREATE INDEX webhook_deliveries_next ON webhook_deliveries (next_at) WHERE finished_at IS NULL;
CREATE INDEX webhook_deliveries_open ON webhook_deliveries (workspace_id, webhook_id, next_at) WHERE finished_at IS NULL;
CREATE INDEX webhook_deliveries_in_order ON webhook_deliveries (workspace_id, webhook_id, object_id, seq)
    WHERE finished_at IS NULL;
CREATE INDEX webhook_deliveries_by_event ON webhook_deliveries (workspace_id, seq);
CREATE INDEX webhook_deliveries_by_end ON webhook_deliveries (finished_at) WHERE finished_at IS NOT NULL;
-- Which warning of a key's end comes next, `days` before it, and when; 0 is the end itself.
CREATE TABLE key_notices (
    workspace_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    expires_at {int} NOT NULL,
    days {int} NOT NULL,
    next_at {int} NOT NULL,
    PRIMARY KEY (workspace_id, key_id)
) {strict};
CREATE INDEX key_notices_next ON key_notices (next_at);
-- That a lineage reached a share of a month's credits: noted where they are counted, told by a job, once.
CREATE TABLE credit_notices (
    workspace_id TEXT NOT NULL,
    lineage_id TEXT NOT NULL,
    period {int} NOT NULL,
    percent {int} NOT NULL,
    used {int} NOT NULL,
    cap {int} NOT NULL,
    told_at {int},
    PRIMARY KEY (workspace_id, lineage_id, period, percent)
) {strict};
CREATE INDEX credit_notices_untold ON credit_notices (workspace_id) WHERE told_at IS NULL;

-- First outcomes of POSTs with an Idempotency-Key; a secret lies here sealed for a minute.
CREATE TABLE idempotency (
    workspace_id TEXT NOT NULL,
    caller_id TEXT NOT NULL,
    key_hash {bytes} NOT NULL,
    request_hash {bytes} NOT NULL,
    at {int} NOT NULL,
    answer TEXT NOT NULL,
    key_id TEXT,
    sealed_secret {bytes},
    PRIMARY KEY (workspace_id, caller_id, key_hash)
) {keyed};
CREATE INDEX idempotency_by_age ON idempotency (at);

-- The change log. The clock's rows are bumped last in each write, so a row's lock makes its numbers follow the order
-- of the commits.
CREATE TABLE change_clock (
    bucket {int} NOT NULL PRIMARY KEY,
    seq {int} NOT NULL
) {keyed};
INSERT INTO change_clock (bucket, seq) VALUES (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0),
    (8, 0), (9, 0), (10, 0), (11, 0), (12, 0), (13, 0), (14, 0), (15, 0);
CREATE TABLE change_log (
    bucket {int} NOT NULL,
    seq {int} NOT NULL,
    kind TEXT NOT NULL,
    workspace_id TEXT NOT NULL,
    id TEXT NOT NULL,
    version {int} NOT NULL,
    at {int} NOT NULL,
    PRIMARY KEY (bucket, seq)
) {keyed};
CREATE INDEX change_log_by_age ON change_log (at);
