-- A store of version 1 as it was written then, by `.dump` of the shell `sqlite3`, with the two
-- numbers of its header, which a dump leaves out. It is never edited: what it proves is that
-- later builds still open it.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES('boot_id','boot-1');
INSERT INTO meta VALUES('closed','false');
INSERT INTO meta VALUES('node','node-a');
CREATE TABLE workspaces (
    name       TEXT    NOT NULL PRIMARY KEY,
    node       TEXT    NOT NULL,
    owner_uid  INTEGER NOT NULL,
    created_at TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO workspaces VALUES('public','node-a',0,'2026-11-22T08:00:00.123456789Z');
INSERT INTO workspaces VALUES('team','node-a',1000,'2026-11-22T08:00:00.123456789Z');
CREATE TABLE workspace_grants (
    workspace TEXT    NOT NULL REFERENCES workspaces (name) ON DELETE CASCADE,
    uid       INTEGER NOT NULL,
    node      TEXT    NOT NULL,
    PRIMARY KEY (workspace, uid)
) STRICT, WITHOUT ROWID;
INSERT INTO workspace_grants VALUES('team',1001,'node-a');
INSERT INTO workspace_grants VALUES('team',1002,'node-a');
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
INSERT INTO pools VALUES('019f0000-0000-7000-8000-000000000001','node-a','default','image','/var/lib/orlop/pools/default',1099511627776,1.5,'2026-11-22T08:00:00.123456789Z',553648128,80740352,2);
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
INSERT INTO volumes VALUES('019f0000-0000-7000-8000-0000000000a1','node-a','public','{"name":"data","version":"v1beta","type":"volume","tags":["app:data","all","later"],"description":"for tests","layer":"user","volume":{"size":"512Mi","accessMode":"ReadWriteMany","type":"persistent","mountOptions":["noatime"]}}','active',NULL,3,1000,'manifest','2026-11-22T08:00:00.123456789Z','2026-11-22T09:00:00.500000000Z',NULL,NULL,NULL,9000000);
INSERT INTO volumes VALUES('019f0000-0000-7000-8000-0000000000a0','node-a','public','{"name":"data","version":"v1beta","type":"volume","tags":["app:data","all"],"description":"for tests","layer":"user","volume":{"size":"16Mi","accessMode":"ReadWriteMany","type":"persistent","mountOptions":["noatime"]}}','released',NULL,5,1000,'podman','2026-11-22T08:00:00.123456789Z','2026-11-22T10:00:00.000000000Z','2026-11-22T10:00:00.000000000Z',1000,'2026-11-22T10:00:00.000000000Z',NULL);
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
INSERT INTO placements VALUES('019f0000-0000-7000-8000-0000000000a1','019f0000-0000-7000-8000-000000000001','node-a',536870912,80740352,1,'{"backend":"image","filesystem":"xfs","filesystemBlockSize":4096,"loopBlockSize":4096,"format":{"rule":1,"program":"mkfs.xfs 6.1.0","arguments":["-s","size=4096"]},"preallocated":false}');
INSERT INTO placements VALUES('019f0000-0000-7000-8000-0000000000a0','019f0000-0000-7000-8000-000000000001','node-a',16777216,0,0,'{"backend":"image","filesystem":"ext4","filesystemBlockSize":4096,"loopBlockSize":4096,"format":{"rule":1,"program":"mke2fs 1.47.0","arguments":["-b","4096"]},"preallocated":false}');
CREATE TABLE aliases (
    front      TEXT NOT NULL,
    external   TEXT NOT NULL,
    volume_id  TEXT NOT NULL REFERENCES volumes (id) ON DELETE CASCADE,
    node       TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (front, external)
) STRICT, WITHOUT ROWID;
INSERT INTO aliases VALUES('docker','Project_data','019f0000-0000-7000-8000-0000000000a1','node-a','2026-11-22T08:00:00.123456789Z');
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
INSERT INTO attachments VALUES('019f0000-0000-7000-8000-0000000000b1','019f0000-0000-7000-8000-0000000000a1','node-a','docker','3f2a',0,1,'docker mount 3f2a',NULL,0,'boot-1','2026-11-22T10:00:00.000000000Z');
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
INSERT INTO operations VALUES('019f0000-0000-7000-8000-0000000000c1','node-a','019f0000-0000-7000-8000-0000000000a1','{"kind":"detach","attachment":"019f0000-0000-7000-8000-0000000000b1","target":null}','boot-1',1000,'host','2026-11-22T10:00:00.000000000Z');
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
INSERT INTO events VALUES(6,'node-a','2026-11-22T10:00:00.000000000Z','info','Tested','event 6','public','data','019f0000-0000-7000-8000-0000000000a1',NULL,1000,'manifest');
INSERT INTO events VALUES(7,'node-a','2026-11-22T10:00:00.000000000Z','info','Tested','event 7','public','data','019f0000-0000-7000-8000-0000000000a1',NULL,1000,'manifest');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('events',7);
CREATE UNIQUE INDEX volumes_live ON volumes (workspace, name) WHERE released_at IS NULL;
CREATE INDEX volumes_released ON volumes (workspace, name, id) WHERE released_at IS NOT NULL;
CREATE INDEX volumes_state ON volumes (state);
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
CREATE TRIGGER placements_stay BEFORE UPDATE OF pool_id ON placements
WHEN NEW.pool_id IS NOT OLD.pool_id BEGIN
    SELECT RAISE(ABORT, 'a placement does not change its pool');
END;
CREATE INDEX aliases_volume ON aliases (volume_id);
CREATE UNIQUE INDEX attachments_target ON attachments (node, target) WHERE target IS NOT NULL;
CREATE INDEX operations_volume ON operations (volume_id) WHERE volume_id IS NOT NULL;
CREATE INDEX events_volume ON events (workspace, volume, sequence) WHERE volume IS NOT NULL;
COMMIT;
PRAGMA application_id = 1330793552;
PRAGMA user_version = 1;
