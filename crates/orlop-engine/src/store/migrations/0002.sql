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
