-- Version 2. Each section adds what one feature keeps.

-- Temp volumes, whose data is wiped some time after their last user left. Volumes that were made
-- before have no such time: their data stays until they are deleted.
ALTER TABLE volumes ADD COLUMN temp_grace_seconds INTEGER CHECK (temp_grace_seconds > 0);
-- When the last user left with a word; none while somebody uses it, and where nobody said so.
-- As `used_bytes`, it is not part of the record's generation.
ALTER TABLE volumes ADD COLUMN vacated_at TEXT;
CREATE INDEX volumes_vacated ON volumes (vacated_at) WHERE vacated_at IS NOT NULL;

CREATE INDEX volumes_released_at ON volumes (released_at) WHERE released_at IS NOT NULL;

-- What engines called a volume before it was deleted: theirs again, where still free, when it is
-- undeleted. In `aliases` they would be in the way of a new volume of that name.
CREATE TABLE released_aliases (
    volume_id  TEXT NOT NULL REFERENCES volumes (id) ON DELETE CASCADE,
    front      TEXT NOT NULL,
    external   TEXT NOT NULL,
    node       TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (volume_id, front, external)
) STRICT, WITHOUT ROWID;

-- What a workspace may hold; none is no limit.
ALTER TABLE workspaces ADD COLUMN size_limit_bytes INTEGER CHECK (size_limit_bytes >= 0);
ALTER TABLE workspaces ADD COLUMN volume_limit INTEGER CHECK (volume_limit >= 0);

-- What was seen of volumes (how full, and how that was over time).

-- How full each volume was when it was last mounted; what `volumes.used_bytes` was in version 1,
-- which is read for volumes that were not mounted since.
CREATE TABLE usage (
    volume_id TEXT NOT NULL PRIMARY KEY REFERENCES volumes (id) ON DELETE CASCADE,
    node      TEXT NOT NULL,
    -- As the API shows it.
    seen      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The use of each volume over the last day. A sample that equals the one before is not kept, so a
-- volume that rests has one.
CREATE TABLE samples (
    volume_id      TEXT    NOT NULL REFERENCES volumes (id) ON DELETE CASCADE,
    at             TEXT    NOT NULL,
    node           TEXT    NOT NULL,
    used_bytes     INTEGER NOT NULL,
    capacity_bytes INTEGER NOT NULL,
    PRIMARY KEY (volume_id, at)
) STRICT, WITHOUT ROWID;

-- The thresholds of use that were told of, so that a restart tells of none again.
CREATE TABLE thresholds (
    volume_id TEXT    REFERENCES volumes (id) ON DELETE CASCADE,
    pool_id   TEXT    REFERENCES pools (id) ON DELETE CASCADE,
    measure   TEXT    NOT NULL,
    node      TEXT    NOT NULL,
    percent   INTEGER NOT NULL,
    CHECK ((volume_id IS NULL) != (pool_id IS NULL))
) STRICT;

CREATE UNIQUE INDEX thresholds_volume ON thresholds (volume_id, measure) WHERE volume_id IS NOT NULL;
CREATE UNIQUE INDEX thresholds_pool ON thresholds (pool_id, measure) WHERE pool_id IS NOT NULL;

-- Milliseconds from the boot to `since`: the time of day can be set while an id is counted as fresh
-- or stale. Whoever was attached before has been so for long.
ALTER TABLE attachments ADD COLUMN since_boot_ms INTEGER NOT NULL DEFAULT 0;

-- How much of the log each user caused.
CREATE INDEX events_actor ON events (actor_uid);

-- Pools: what the directory is on, as JSON.
ALTER TABLE pools ADD COLUMN medium TEXT NOT NULL DEFAULT '{"kind":"directory"}';

-- How far each was told of events whom the configuration names.
CREATE TABLE notifications (
    target   TEXT    NOT NULL PRIMARY KEY,
    node     TEXT    NOT NULL,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Sizes and moves: the size that its filesystem was made with, which says how far it may grow well;
-- none for those made before, whose size never changed.
ALTER TABLE volumes ADD COLUMN created_size INTEGER CHECK (created_size > 0);
-- The set of manifests that it was last applied with, where that was one: what `apply --prune` goes by.
-- As `used_bytes`, it is not part of the record's generation.
ALTER TABLE volumes ADD COLUMN applied_set TEXT;
CREATE INDEX volumes_applied_set ON volumes (applied_set) WHERE applied_set IS NOT NULL;

-- Data that is on its way to where it will be: in another pool, or in a new image in the same. It is
-- reserved there until the placement says so.
CREATE TABLE incoming (
    volume_id  TEXT    NOT NULL PRIMARY KEY REFERENCES volumes (id) ON DELETE CASCADE,
    pool_id    TEXT    NOT NULL REFERENCES pools (id),
    node       TEXT    NOT NULL,
    -- What is reserved for it beyond the placement.
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
    -- As in `placements`.
    detail     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER incoming_insert AFTER INSERT ON incoming BEGIN
    UPDATE pools SET reserved_bytes = reserved_bytes + NEW.size_bytes WHERE id = NEW.pool_id;
END;

CREATE TRIGGER incoming_delete AFTER DELETE ON incoming BEGIN
    UPDATE pools SET reserved_bytes = reserved_bytes - OLD.size_bytes WHERE id = OLD.pool_id;
END;

-- The sums count on it.
CREATE TRIGGER incoming_stay BEFORE UPDATE ON incoming BEGIN
    SELECT RAISE(ABORT, 'what is incoming does not change');
END;

-- Snapshots, clones and restores.

-- What a volume was made from, or put back to; null where it was made empty.
ALTER TABLE volumes ADD COLUMN source TEXT;
ALTER TABLE volumes ADD COLUMN snapshot_schedule TEXT
    GENERATED ALWAYS AS (manifest ->> '$.volume.snapshots.schedule') VIRTUAL;
CREATE INDEX volumes_scheduled ON volumes (id)
    WHERE snapshot_schedule IS NOT NULL AND released_at IS NULL;

-- How many snapshots a pool holds; what they reserve and take is in its other sums.
ALTER TABLE pools ADD COLUMN snapshots INTEGER NOT NULL DEFAULT 0 CHECK (snapshots >= 0);

CREATE TABLE snapshots (
    id              TEXT    NOT NULL PRIMARY KEY,
    node            TEXT    NOT NULL,
    workspace       TEXT    NOT NULL REFERENCES workspaces (name),
    -- What was asked for, whole; the name is unique in its workspace.
    manifest        TEXT    NOT NULL,
    name            TEXT    NOT NULL GENERATED ALWAYS AS (manifest ->> '$.name') STORED,
    volume_name     TEXT    NOT NULL GENERATED ALWAYS AS (manifest ->> '$.snapshot.volume') STORED,
    -- Without a foreign key: a snapshot outlives its volume.
    volume_id       TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    reason          TEXT,
    generation      INTEGER NOT NULL,
    owner_uid       INTEGER NOT NULL,
    created_by      TEXT    NOT NULL,
    created_at      TEXT    NOT NULL,
    updated_at      TEXT    NOT NULL,
    -- When it is deleted by itself.
    expires_at      TEXT,
    -- Made by its volume's schedule, which deletes it again.
    scheduled       INTEGER NOT NULL CHECK (scheduled IN (0, 1)),
    consistency     TEXT    NOT NULL,
    -- What the volume itself was made from at that moment, as in `volumes`.
    source          TEXT,
    pool_id         TEXT    NOT NULL REFERENCES pools (id),
    -- The length of its image.
    size_bytes      INTEGER NOT NULL CHECK (size_bytes >= 0),
    -- What it can take of the host's filesystem at most.
    reserved_bytes  INTEGER NOT NULL CHECK (reserved_bytes >= 0),
    -- What it takes that it shares with nothing else, as last seen.
    exclusive_bytes INTEGER NOT NULL DEFAULT 0 CHECK (exclusive_bytes >= 0),
    -- Specific to the backend, as in `placements`.
    detail          TEXT    NOT NULL,
    backend         TEXT    NOT NULL GENERATED ALWAYS AS (detail ->> '$.backend') STORED
) STRICT;

CREATE UNIQUE INDEX snapshots_name ON snapshots (workspace, name);
CREATE INDEX snapshots_volume ON snapshots (volume_id, id);
CREATE INDEX snapshots_pool ON snapshots (pool_id);
CREATE INDEX snapshots_expire ON snapshots (expires_at) WHERE expires_at IS NOT NULL;

CREATE TRIGGER snapshots_insert AFTER INSERT ON snapshots BEGIN
    UPDATE pools SET reserved_bytes = reserved_bytes + NEW.reserved_bytes,
                     allocated_bytes = allocated_bytes + NEW.exclusive_bytes,
                     snapshots = snapshots + 1
    WHERE id = NEW.pool_id;
END;

CREATE TRIGGER snapshots_delete AFTER DELETE ON snapshots BEGIN
    UPDATE pools SET reserved_bytes = reserved_bytes - OLD.reserved_bytes,
                     allocated_bytes = allocated_bytes - OLD.exclusive_bytes,
                     snapshots = snapshots - 1
    WHERE id = OLD.pool_id;
END;

CREATE TRIGGER snapshots_update AFTER UPDATE OF reserved_bytes, exclusive_bytes ON snapshots BEGIN
    UPDATE pools SET reserved_bytes = reserved_bytes + NEW.reserved_bytes - OLD.reserved_bytes,
                     allocated_bytes = allocated_bytes + NEW.exclusive_bytes - OLD.exclusive_bytes
    WHERE id = NEW.pool_id;
END;

-- The sums above count on it.
CREATE TRIGGER snapshots_stay BEFORE UPDATE OF pool_id ON snapshots
WHEN NEW.pool_id IS NOT OLD.pool_id BEGIN
    SELECT RAISE(ABORT, 'a snapshot does not change its pool');
END;

-- When the schedule of a volume is due next. `schedule` is the one that `due_at` follows from.
CREATE TABLE snapshot_schedules (
    volume_id TEXT NOT NULL PRIMARY KEY REFERENCES volumes (id) ON DELETE CASCADE,
    node      TEXT NOT NULL,
    schedule  TEXT NOT NULL,
    due_at    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
