-- Garbage collection gets a table of its own, so that it need not look at what is needed.

CREATE INDEX blob_by_verification ON blob (verified_at);

CREATE TABLE loose_blob (
    repository INTEGER NOT NULL,
    blob       INTEGER NOT NULL,
    last_used  INTEGER NOT NULL,
    PRIMARY KEY (repository, blob),
    FOREIGN KEY (repository, blob) REFERENCES repository_blob (repository, blob) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX loose_blob_by_use ON loose_blob (last_used, repository, blob);

INSERT INTO loose_blob (repository, blob, last_used)
    SELECT repository, blob, last_used FROM repository_blob
    WHERE NOT EXISTS (SELECT 1 FROM manifest_blob
                      WHERE manifest_blob.repository = repository_blob.repository AND manifest_blob.blob = repository_blob.blob);
ALTER TABLE repository_blob DROP COLUMN last_used;

-- Blobs that were deleted from their last repository had to wait for garbage collection. Their files are orphans now.
DELETE FROM blob WHERE NOT EXISTS (SELECT 1 FROM repository_blob WHERE repository_blob.blob = blob.id);
