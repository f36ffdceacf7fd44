-- Version 3: what orchestrators ask for, and what they have on their nodes.

-- A scope may have a volume at several targets, so it is unique only among those without one.
CREATE TABLE attachments_of_3 (
    id            TEXT    NOT NULL PRIMARY KEY,
    volume_id     TEXT    NOT NULL REFERENCES volumes (id),
    node          TEXT    NOT NULL,
    front         TEXT    NOT NULL,
    scope         TEXT    NOT NULL,
    shared        INTEGER NOT NULL CHECK (shared IN (0, 1)),
    may_go_stale  INTEGER NOT NULL CHECK (may_go_stale IN (0, 1)),
    consumer      TEXT    NOT NULL,
    target        TEXT,
    -- Made ready for consumers of the node: nothing of it is mounted at the target.
    staged        INTEGER NOT NULL CHECK (staged IN (0, 1) AND (staged = 0 OR target IS NOT NULL)),
    -- As what its consumer has it, as JSON.
    form          TEXT    NOT NULL,
    read_only     INTEGER NOT NULL CHECK (read_only IN (0, 1)),
    boot_id       TEXT    NOT NULL,
    since         TEXT    NOT NULL,
    since_boot_ms INTEGER NOT NULL
) STRICT;

INSERT INTO attachments_of_3
    SELECT id, volume_id, node, front, scope, shared, may_go_stale, consumer, target, 0,
        '{"kind":"filesystem"}', read_only, boot_id, since, since_boot_ms
    FROM attachments;
DROP TABLE attachments;
ALTER TABLE attachments_of_3 RENAME TO attachments;

CREATE INDEX attachments_volume ON attachments (volume_id);
CREATE UNIQUE INDEX attachments_scope ON attachments (volume_id, node, front, scope) WHERE target IS NULL;
CREATE UNIQUE INDEX attachments_target ON attachments (node, target) WHERE target IS NOT NULL;

-- Volumes that were made for one consumer, and go with it.
ALTER TABLE volumes ADD COLUMN ephemeral INTEGER NOT NULL DEFAULT 0 CHECK (ephemeral IN (0, 1));

-- The names by which orchestrators ask for snapshots; `aliases` has those of volumes.
CREATE TABLE snapshot_aliases (
    front       TEXT NOT NULL,
    external    TEXT NOT NULL,
    snapshot_id TEXT NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    node        TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    PRIMARY KEY (front, external)
) STRICT, WITHOUT ROWID;

CREATE INDEX snapshot_aliases_snapshot ON snapshot_aliases (snapshot_id);
