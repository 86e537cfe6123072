-- The tenants. `audit_seq` and `audit_head` are the end of the workspace's audit chain; locking this row comes
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
    created_at {int} NOT NULL,
    audit_seq {int} NOT NULL,
    audit_head {bytes} NOT NULL,
    version {int} NOT NULL,
    seal {bytes} NOT NULL
) {strict};

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

-- API keys; a revoked one stays for ever. `permissions` is a JSON list or NULL for unrestricted, `allowed_ips` a
-- JSON list or NULL for anywhere, `rate_limits` a JSON list or NULL for none. `unrotated_expires_at` is what an undone rotation gives back.
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
    version {int} NOT NULL,
    seal {bytes} NOT NULL,
    PRIMARY KEY (workspace_id, id)
) {strict};
CREATE INDEX api_keys_by_age ON api_keys (workspace_id, created_at, id);
CREATE INDEX api_keys_by_principal ON api_keys (workspace_id, principal_id, created_at, id);
-- What an account may have is counted at each creation: from this index alone, without a look at the rows.
CREATE INDEX api_keys_unrevoked ON api_keys (workspace_id, principal_id) WHERE revoked_at IS NULL;

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

-- A chain per workspace: `hash` seals the row and the hash before it.
CREATE TABLE audit_log (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    seq {int} NOT NULL,
    id TEXT NOT NULL,
    at {int} NOT NULL,
    activity TEXT NOT NULL,
    actor TEXT NOT NULL,
    target TEXT NOT NULL,
    details TEXT NOT NULL,
    hash {bytes} NOT NULL,
    PRIMARY KEY (workspace_id, seq)
) {keyed};

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
