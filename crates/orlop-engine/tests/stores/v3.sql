-- A store of version 3 as it was written then: see v1.sql.
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
, size_limit_bytes INTEGER CHECK (size_limit_bytes >= 0), volume_limit INTEGER CHECK (volume_limit >= 0)) STRICT, WITHOUT ROWID;
INSERT INTO workspaces VALUES('public','node-a',0,'2026-11-22T08:00:00.123456789Z',NULL,NULL);
INSERT INTO workspaces VALUES('team','node-a',1000,'2026-11-22T08:00:00.123456789Z',1099511627776,NULL);
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
, medium TEXT NOT NULL DEFAULT '{"kind":"directory"}', snapshots INTEGER NOT NULL DEFAULT 0 CHECK (snapshots >= 0)) STRICT, WITHOUT ROWID;
INSERT INTO pools VALUES('019f0000-0000-7000-8000-000000000001','node-a','default','image','/var/lib/orlop/pools/default',1099511627776,1.5,'2026-11-22T08:00:00.123456789Z',1090519040,80744448,2,'{"kind":"directory"}',1);
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
, temp_grace_seconds INTEGER CHECK (temp_grace_seconds > 0), vacated_at TEXT, created_size INTEGER CHECK (created_size > 0), applied_set TEXT, source TEXT, snapshot_schedule TEXT
    GENERATED ALWAYS AS (manifest ->> '$.volume.snapshots.schedule') VIRTUAL, ephemeral INTEGER NOT NULL DEFAULT 0 CHECK (ephemeral IN (0, 1))) STRICT;
INSERT INTO volumes VALUES('019f0000-0000-7000-8000-0000000000a1','node-a','public','{"name":"data","version":"v1beta","type":"volume","tags":["app:data","all","later"],"description":"for tests","layer":"user","volume":{"size":"512Mi","accessMode":"ReadWriteMany","type":"persistent","mountOptions":["noatime"]}}','active',NULL,3,1000,'manifest','2026-11-22T08:00:00.123456789Z','2026-11-22T09:00:00.500000000Z',NULL,NULL,NULL,9000000,600,NULL,536870912,NULL,NULL,0);
INSERT INTO volumes VALUES('019f0000-0000-7000-8000-0000000000a0','node-a','public','{"name":"data","version":"v1beta","type":"volume","tags":["app:data","all"],"description":"for tests","layer":"user","volume":{"size":"16Mi","accessMode":"ReadWriteMany","type":"persistent","mountOptions":["noatime"]}}','released',NULL,5,1000,'podman','2026-11-22T08:00:00.123456789Z','2026-11-22T10:00:00.000000000Z','2026-11-22T10:00:00.000000000Z',1000,'2026-11-22T10:00:00.000000000Z',NULL,NULL,NULL,NULL,NULL,NULL,0);
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
CREATE TABLE released_aliases (
    volume_id  TEXT NOT NULL REFERENCES volumes (id) ON DELETE CASCADE,
    front      TEXT NOT NULL,
    external   TEXT NOT NULL,
    node       TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (volume_id, front, external)
) STRICT, WITHOUT ROWID;
CREATE TABLE usage (
    volume_id TEXT NOT NULL PRIMARY KEY REFERENCES volumes (id) ON DELETE CASCADE,
    node      TEXT NOT NULL,
    -- As the API shows it.
    seen      TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE samples (
    volume_id      TEXT    NOT NULL REFERENCES volumes (id) ON DELETE CASCADE,
    at             TEXT    NOT NULL,
    node           TEXT    NOT NULL,
    used_bytes     INTEGER NOT NULL,
    capacity_bytes INTEGER NOT NULL,
    PRIMARY KEY (volume_id, at)
) STRICT, WITHOUT ROWID;
CREATE TABLE thresholds (
    volume_id TEXT    REFERENCES volumes (id) ON DELETE CASCADE,
    pool_id   TEXT    REFERENCES pools (id) ON DELETE CASCADE,
    measure   TEXT    NOT NULL,
    node      TEXT    NOT NULL,
    percent   INTEGER NOT NULL,
    CHECK ((volume_id IS NULL) != (pool_id IS NULL))
) STRICT;
CREATE TABLE notifications (
    target   TEXT    NOT NULL PRIMARY KEY,
    node     TEXT    NOT NULL,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE incoming (
    volume_id  TEXT    NOT NULL PRIMARY KEY REFERENCES volumes (id) ON DELETE CASCADE,
    pool_id    TEXT    NOT NULL REFERENCES pools (id),
    node       TEXT    NOT NULL,
    -- What is reserved for it beyond the placement.
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
    -- As in `placements`.
    detail     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
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
INSERT INTO snapshots VALUES('019f0000-0000-7000-8000-0000000000d1','node-a','public','{"name":"before","version":"v1beta","type":"snapshot","snapshot":{"volume":"data","retain":"forever"}}','019f0000-0000-7000-8000-0000000000a1','active',NULL,2,1000,'manifest','2026-11-22T09:30:00.000000000Z','2026-11-22T09:30:00.000000000Z',NULL,0,'filesystem',NULL,'019f0000-0000-7000-8000-000000000001',536870912,536870912,4096,'{"backend":"image","filesystem":"xfs","filesystemBlockSize":4096,"loopBlockSize":4096,"format":{"rule":1,"program":"mkfs.xfs 6.1.0","arguments":["-s","size=4096"]},"preallocated":false}');
CREATE TABLE snapshot_schedules (
    volume_id TEXT NOT NULL PRIMARY KEY REFERENCES volumes (id) ON DELETE CASCADE,
    node      TEXT NOT NULL,
    schedule  TEXT NOT NULL,
    due_at    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS "attachments" (
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
INSERT INTO attachments VALUES('019f0000-0000-7000-8000-0000000000b1','019f0000-0000-7000-8000-0000000000a1','node-a','docker','3f2a',0,1,'docker mount 3f2a',NULL,0,'{"kind":"filesystem"}',0,'boot-1','2026-11-22T10:00:00.000000000Z',0);
INSERT INTO attachments VALUES('019f0000-0000-7000-8000-0000000000b2','019f0000-0000-7000-8000-0000000000a1','node-a','host','host:/mnt/a b',0,0,'host mount /mnt/a b of anna','/mnt/a b',0,'{"kind":"filesystem"}',1,'boot-1','2026-11-22T09:00:00.000000000Z',1234567);
INSERT INTO attachments VALUES('019f0000-0000-7000-8000-0000000000b3','019f0000-0000-7000-8000-0000000000a1','node-a','csi','csi-node:node-a',1,0,'staged by kubelet','/var/lib/kubelet/plugins/kubernetes.io/csi/csi.orlop.dev/0a/globalmount',1,'{"kind":"filesystem"}',0,'boot-1','2026-11-22T10:00:00.000000000Z',0);
CREATE TABLE snapshot_aliases (
    front       TEXT NOT NULL,
    external    TEXT NOT NULL,
    snapshot_id TEXT NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    node        TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    PRIMARY KEY (front, external)
) STRICT, WITHOUT ROWID;
INSERT INTO snapshot_aliases VALUES('csi','snapshot-6f1c','019f0000-0000-7000-8000-0000000000d1','node-a','2026-11-22T10:00:00.000000000Z');
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
CREATE INDEX operations_volume ON operations (volume_id) WHERE volume_id IS NOT NULL;
CREATE INDEX events_volume ON events (workspace, volume, sequence) WHERE volume IS NOT NULL;
CREATE INDEX volumes_vacated ON volumes (vacated_at) WHERE vacated_at IS NOT NULL;
CREATE INDEX volumes_released_at ON volumes (released_at) WHERE released_at IS NOT NULL;
CREATE UNIQUE INDEX thresholds_volume ON thresholds (volume_id, measure) WHERE volume_id IS NOT NULL;
CREATE UNIQUE INDEX thresholds_pool ON thresholds (pool_id, measure) WHERE pool_id IS NOT NULL;
CREATE INDEX events_actor ON events (actor_uid);
CREATE INDEX volumes_applied_set ON volumes (applied_set) WHERE applied_set IS NOT NULL;
CREATE TRIGGER incoming_insert AFTER INSERT ON incoming BEGIN
    UPDATE pools SET reserved_bytes = reserved_bytes + NEW.size_bytes WHERE id = NEW.pool_id;
END;
CREATE TRIGGER incoming_delete AFTER DELETE ON incoming BEGIN
    UPDATE pools SET reserved_bytes = reserved_bytes - OLD.size_bytes WHERE id = OLD.pool_id;
END;
CREATE TRIGGER incoming_stay BEFORE UPDATE ON incoming BEGIN
    SELECT RAISE(ABORT, 'what is incoming does not change');
END;
CREATE INDEX volumes_scheduled ON volumes (id)
    WHERE snapshot_schedule IS NOT NULL AND released_at IS NULL;
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
CREATE TRIGGER snapshots_stay BEFORE UPDATE OF pool_id ON snapshots
WHEN NEW.pool_id IS NOT OLD.pool_id BEGIN
    SELECT RAISE(ABORT, 'a snapshot does not change its pool');
END;
CREATE INDEX attachments_volume ON attachments (volume_id);
CREATE UNIQUE INDEX attachments_scope ON attachments (volume_id, node, front, scope) WHERE target IS NULL;
CREATE UNIQUE INDEX attachments_target ON attachments (node, target) WHERE target IS NOT NULL;
CREATE INDEX snapshot_aliases_snapshot ON snapshot_aliases (snapshot_id);
COMMIT;
PRAGMA application_id = 1330793552;
PRAGMA user_version = 3;
