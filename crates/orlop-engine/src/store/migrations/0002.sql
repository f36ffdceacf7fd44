-- Version 2.

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
