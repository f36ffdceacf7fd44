-- Version 1. Ids are UUIDv7 as text, times are RFC 3339 in UTC with nine digits of fraction (so that
-- they sort as text and lose nothing), sizes are bytes: a person with `sqlite3` can read all of it.

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE workspaces (
    name       TEXT    NOT NULL PRIMARY KEY,
    node       TEXT    NOT NULL,
    owner_uid  INTEGER NOT NULL,
    created_at TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE workspace_grants (
    workspace TEXT    NOT NULL REFERENCES workspaces (name) ON DELETE CASCADE,
    uid       INTEGER NOT NULL,
    node      TEXT    NOT NULL,
    PRIMARY KEY (workspace, uid)
) STRICT, WITHOUT ROWID;

CREATE TABLE pools (
    id              TEXT    NOT NULL PRIMARY KEY,
    node            TEXT    NOT NULL,
    name            TEXT    NOT NULL UNIQUE,
    backend         TEXT    NOT NULL,
    path            TEXT    NOT NULL UNIQUE,
    capacity_bytes  INTEGER NOT NULL CHECK (capacity_bytes >= 0),
    overcommit      REAL    NOT NULL CHECK (overcommit >= 1.0),
    created_at      TEXT    NOT NULL,
    -- The sums over `placements`. The triggers below keep them, in the transaction of each change,
    -- so that admission reads one row however many volumes there are.
    reserved_bytes  INTEGER NOT NULL DEFAULT 0 CHECK (reserved_bytes >= 0),
    allocated_bytes INTEGER NOT NULL DEFAULT 0 CHECK (allocated_bytes >= 0),
    volumes         INTEGER NOT NULL DEFAULT 0 CHECK (volumes >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE volumes (
    id          TEXT    NOT NULL PRIMARY KEY,
    node        TEXT    NOT NULL,
    workspace   TEXT    NOT NULL REFERENCES workspaces (name),
    -- What was asked for, whole. What is searched or shown is derived from it by SQLite itself.
    manifest    TEXT    NOT NULL,
    name        TEXT    NOT NULL GENERATED ALWAYS AS (manifest ->> '$.name') STORED,
    type        TEXT    NOT NULL GENERATED ALWAYS AS (manifest ->> '$.volume.type') VIRTUAL,
    access_mode TEXT    NOT NULL GENERATED ALWAYS AS (manifest ->> '$.volume.accessMode') VIRTUAL,
    state       TEXT    NOT NULL,
    reason      TEXT,
    generation  INTEGER NOT NULL,
    owner_uid   INTEGER NOT NULL,
    created_by  TEXT    NOT NULL,
    created_at  TEXT    NOT NULL,
    updated_at  TEXT    NOT NULL,
    deleted_at  TEXT,
    deleted_by  INTEGER,
    released_at TEXT,
    -- As last seen, at the last detach; not part of the record's generation.
    used_bytes  INTEGER
) STRICT;

-- A name is unique among the live volumes of its workspace; released ones keep theirs.
CREATE UNIQUE INDEX volumes_live ON volumes (workspace, name) WHERE released_at IS NULL;
CREATE INDEX volumes_released ON volumes (workspace, name, id) WHERE released_at IS NOT NULL;
CREATE INDEX volumes_state ON volumes (state);

CREATE TABLE placements (
    volume_id       TEXT    NOT NULL REFERENCES volumes (id) ON DELETE CASCADE,
    pool_id         TEXT    NOT NULL REFERENCES pools (id),
    node            TEXT    NOT NULL,
    size_bytes      INTEGER NOT NULL CHECK (size_bytes >= 0),
    -- What it takes of the host's filesystem, as last seen.
    allocated_bytes INTEGER NOT NULL DEFAULT 0 CHECK (allocated_bytes >= 0),
    initialised     INTEGER NOT NULL CHECK (initialised IN (0, 1)),
    -- Specific to the backend; its tag says which.
    detail          TEXT    NOT NULL,
    backend         TEXT    NOT NULL GENERATED ALWAYS AS (detail ->> '$.backend') STORED,
    PRIMARY KEY (volume_id, pool_id)
) STRICT;

CREATE INDEX placements_pool ON placements (pool_id);

CREATE TRIGGER placements_insert AFTER INSERT ON placements BEGIN
    UPDATE pools SET reserved_bytes = reserved_bytes + NEW.size_bytes,
                     allocated_bytes = allocated_bytes + NEW.allocated_bytes,
                     volumes = volumes + 1
    WHERE id = NEW.pool_id;
END;

CREATE TRIGGER placements_delete AFTER DELETE ON placements BEGIN
    UPDATE pools SET reserved_bytes = reserved_bytes - OLD.size_bytes,
                     allocated_bytes = allocated_bytes - OLD.allocated_bytes,
                     volumes = volumes - 1
    WHERE id = OLD.pool_id;
END;

CREATE TRIGGER placements_update AFTER UPDATE OF size_bytes, allocated_bytes ON placements BEGIN
    UPDATE pools SET reserved_bytes = reserved_bytes + NEW.size_bytes - OLD.size_bytes,
                     allocated_bytes = allocated_bytes + NEW.allocated_bytes - OLD.allocated_bytes
    WHERE id = NEW.pool_id;
END;

-- The sums above count on it.
CREATE TRIGGER placements_stay BEFORE UPDATE OF pool_id ON placements
WHEN NEW.pool_id IS NOT OLD.pool_id BEGIN
    SELECT RAISE(ABORT, 'a placement does not change its pool');
END;

CREATE TABLE aliases (
    front      TEXT NOT NULL,
    external   TEXT NOT NULL,
    volume_id  TEXT NOT NULL REFERENCES volumes (id) ON DELETE CASCADE,
    node       TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (front, external)
) STRICT, WITHOUT ROWID;

CREATE INDEX aliases_volume ON aliases (volume_id);

CREATE TABLE attachments (
    id           TEXT    NOT NULL PRIMARY KEY,
    volume_id    TEXT    NOT NULL REFERENCES volumes (id),
    node         TEXT    NOT NULL,
    front        TEXT    NOT NULL,
    scope        TEXT    NOT NULL,
    shared       INTEGER NOT NULL CHECK (shared IN (0, 1)),
    may_go_stale INTEGER NOT NULL CHECK (may_go_stale IN (0, 1)),
    consumer     TEXT    NOT NULL,
    target       TEXT,
    read_only    INTEGER NOT NULL CHECK (read_only IN (0, 1)),
    -- The boot of the host in which it was made: kernel state does not outlive that.
    boot_id      TEXT    NOT NULL,
    since        TEXT    NOT NULL,
    UNIQUE (volume_id, node, front, scope)
) STRICT;

CREATE UNIQUE INDEX attachments_target ON attachments (node, target) WHERE target IS NOT NULL;

-- The intent journal: what was begun and not yet completed. A completed one is deleted in the
-- transaction that records its effect.
CREATE TABLE operations (
    id         TEXT    NOT NULL PRIMARY KEY,
    node       TEXT    NOT NULL,
    -- Without a foreign key: the journal must be readable whatever became of the volume.
    volume_id  TEXT,
    intent     TEXT    NOT NULL,
    kind       TEXT    NOT NULL GENERATED ALWAYS AS (intent ->> '$.kind') VIRTUAL,
    boot_id    TEXT    NOT NULL,
    actor_uid  INTEGER,
    front      TEXT,
    started_at TEXT    NOT NULL
) STRICT;

CREATE INDEX operations_volume ON operations (volume_id) WHERE volume_id IS NOT NULL;

-- AUTOINCREMENT: a sequence is never used twice, also after the newest event was pruned.
CREATE TABLE events (
    sequence  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    node      TEXT    NOT NULL,
    at        TEXT    NOT NULL,
    severity  TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    message   TEXT    NOT NULL,
    workspace TEXT,
    volume    TEXT,
    volume_id TEXT,
    pool      TEXT,
    actor_uid INTEGER,
    front     TEXT
) STRICT;

CREATE INDEX events_volume ON events (workspace, volume, sequence) WHERE volume IS NOT NULL;
