-- Which ledger this is: a UUID, drawn when somebody leads by it for the first time. Copies and backups keep it, and it is
-- how a scheduler finds out that the leader of its cluster keeps another one.
ALTER TABLE leadership ADD COLUMN ledger TEXT NOT NULL DEFAULT '';
