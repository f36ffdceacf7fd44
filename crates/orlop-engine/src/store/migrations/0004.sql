-- Version 4: snapshots of several volumes at one moment.

-- What is made and deleted together. A group goes with the last of its snapshots.
CREATE TABLE snapshot_groups (
    id         TEXT NOT NULL PRIMARY KEY,
    node       TEXT NOT NULL,
    workspace  TEXT NOT NULL REFERENCES workspaces (name),
    -- Unique in its workspace, and no name of a snapshot there.
    name       TEXT NOT NULL,
    created_by TEXT NOT NULL,
    -- What the front that made it calls it, verbatim.
    known_as   TEXT,
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX snapshot_groups_name ON snapshot_groups (workspace, name);
CREATE UNIQUE INDEX snapshot_groups_known_as ON snapshot_groups (created_by, known_as)
    WHERE known_as IS NOT NULL;

ALTER TABLE snapshots ADD COLUMN group_id TEXT REFERENCES snapshot_groups (id);
CREATE INDEX snapshots_group ON snapshots (group_id, id) WHERE group_id IS NOT NULL;

CREATE TRIGGER snapshots_last_of_group AFTER DELETE ON snapshots WHEN OLD.group_id IS NOT NULL BEGIN
    DELETE FROM snapshot_groups WHERE id = OLD.group_id
        AND NOT EXISTS (SELECT 1 FROM snapshots WHERE group_id = OLD.group_id);
END;
