-- The catalog, format 2. Digests are text ('sha256:…'), times are seconds since 1970.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE repository (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- One row a content. Its location is the upload that it came with: bytes of the same digest that come again get another.
CREATE TABLE blob (
    id          INTEGER PRIMARY KEY,
    digest      TEXT NOT NULL UNIQUE,
    size        INTEGER NOT NULL,
    location    TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    verified_at INTEGER NOT NULL,
    bad         INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX blob_by_verification ON blob (verified_at);

-- Membership: a repository can see these blobs and no others. A blob lives as long as a repository has it.
CREATE TABLE repository_blob (
    repository INTEGER NOT NULL REFERENCES repository,
    blob       INTEGER NOT NULL REFERENCES blob,
    PRIMARY KEY (repository, blob)
) STRICT, WITHOUT ROWID;
CREATE INDEX repository_blob_by_blob ON repository_blob (blob);

-- The memberships that no manifest of the repository needs, with the time of their last use: what garbage collection
-- looks at, and all that it looks at. In here or in manifest_blob, and never in both.
CREATE TABLE loose_blob (
    repository INTEGER NOT NULL,
    blob       INTEGER NOT NULL,
    last_used  INTEGER NOT NULL,
    PRIMARY KEY (repository, blob),
    FOREIGN KEY (repository, blob) REFERENCES repository_blob (repository, blob) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX loose_blob_by_use ON loose_blob (last_used, repository, blob);

CREATE TABLE manifest (
    id            INTEGER PRIMARY KEY,
    repository    INTEGER NOT NULL REFERENCES repository,
    digest        TEXT NOT NULL,
    media_type    TEXT NOT NULL,
    artifact_type TEXT,
    subject       TEXT,
    size          INTEGER NOT NULL,
    annotations   TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    payload       BLOB NOT NULL,
    UNIQUE (repository, digest)
) STRICT;
CREATE INDEX manifest_by_subject ON manifest (repository, subject, digest) WHERE subject IS NOT NULL;

-- A manifest keeps its blobs in its own repository; RESTRICT makes it impossible to take one away by mistake.
CREATE TABLE manifest_blob (
    manifest   INTEGER NOT NULL REFERENCES manifest ON DELETE CASCADE,
    repository INTEGER NOT NULL,
    blob       INTEGER NOT NULL,
    PRIMARY KEY (manifest, blob),
    FOREIGN KEY (repository, blob) REFERENCES repository_blob (repository, blob) ON DELETE RESTRICT
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_blob_by_blob ON manifest_blob (repository, blob);

-- Blobs that a manifest names and its repository has not: layers that a licence keeps elsewhere, and what a sparse
-- image leaves out. Where one comes later, its row moves to manifest_blob.
CREATE TABLE missing_blob (
    manifest   INTEGER NOT NULL REFERENCES manifest ON DELETE CASCADE,
    repository INTEGER NOT NULL REFERENCES repository,
    digest     TEXT NOT NULL,
    PRIMARY KEY (manifest, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX missing_blob_by_digest ON missing_blob (repository, digest);

-- An index's children need not be there, so they are named by digest.
CREATE TABLE manifest_child (
    manifest INTEGER NOT NULL REFERENCES manifest ON DELETE CASCADE,
    digest   TEXT NOT NULL,
    PRIMARY KEY (manifest, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_child_by_digest ON manifest_child (digest);

CREATE TABLE tag (
    repository INTEGER NOT NULL REFERENCES repository,
    name       TEXT NOT NULL,
    manifest   INTEGER NOT NULL REFERENCES manifest ON DELETE RESTRICT,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (repository, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_by_manifest ON tag (manifest);
