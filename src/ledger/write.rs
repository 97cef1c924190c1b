//! Jobs as rows.

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

use crate::ledger::fact::{Fact, Hash, natural, number};
use crate::ledger::queue::{Done, Fate, Job, Rejection};

/// A transaction. Its statements are kept from one to the next: reading them costs more than running them. Dropped, it
/// takes back what was not committed.
pub(super) struct Transaction<'a>(&'a Connection);

impl<'a> Transaction<'a> {
    /// Begins one, for writing from the start.
    pub(super) fn begin(connection: &'a Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Self(connection))
    }

    pub(super) fn commit(self) -> rusqlite::Result<()> {
        self.0.prepare_cached("COMMIT")?.execute([]).map(drop)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.0.is_autocommit()
            && let Err(error) = self.0.execute_batch("ROLLBACK")
        {
            // The connection is replaced: whoever sees an error trusts it no more.
            tracing::debug!(%error, "a transaction of audit events is not taken back");
        }
    }
}

/// One transaction in the making: rows go in, and the end of the chain moves on.
pub(super) struct Writing<'a> {
    transaction: &'a Connection,
    insert: CachedStatement<'a>,
    pub(super) head: u64,
    pub(super) hash: Hash,
    /// The number of the latest intent.
    pub(super) intents: u64,
}

impl<'a> Writing<'a> {
    pub(super) fn within(
        transaction: &Transaction<'a>,
        (head, hash, intents): (u64, Hash, u64),
    ) -> rusqlite::Result<Self> {
        let sql = "INSERT INTO event VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let insert = transaction.0.prepare_cached(sql)?;
        Ok(Self { transaction: transaction.0, insert, head, hash, intents })
    }

    pub(super) fn job(&mut self, job: &Job) -> rusqlite::Result<Done> {
        match job {
            Job::Abandon(intents) => {
                for (id, fate) in intents {
                    self.abandon(*id, *fate)?;
                }
                Ok(Done::Noted)
            }
            Job::Delivered { sink, through, rejected } => self.delivered(sink, *through, rejected),
            Job::Intend(fact) => {
                self.intents = self.intents.saturating_add(1);
                let mut insert = self.transaction.prepare_cached("INSERT INTO intent VALUES (?1, ?2)")?;
                insert.execute(params![number(self.intents), fact.kept])?;
                Ok(Done::Intended(self.intents))
            }
            Job::Record { facts, intent } => {
                self.events(facts)?;
                if let Some(intent) = intent {
                    self.forget(*intent)?;
                }
                Ok(Done::Noted)
            }
        }
    }

    fn events(&mut self, facts: &[Fact]) -> rusqlite::Result<()> {
        for fact in facts {
            self.head = self.head.saturating_add(1);
            self.hash = Hash::of(self.hash, self.head, &fact.kept);
            self.insert.execute(params![
                number(self.head),
                fact.recorded,
                fact.patient,
                fact.user,
                fact.fhir_user,
                fact.client,
                fact.kept,
                self.hash.as_bytes()
            ])?;
        }
        Ok(())
    }

    fn forget(&self, intent: u64) -> rusqlite::Result<()> {
        let mut delete = self.transaction.prepare_cached("DELETE FROM intent WHERE id = ?1")?;
        delete.execute([number(intent)]).map(drop)
    }

    fn abandon(&mut self, intent: u64, fate: Fate) -> rusqlite::Result<()> {
        if fate == Fate::Interrupted {
            let mut find = self.transaction.prepare_cached("SELECT kept FROM intent WHERE id = ?1")?;
            let found: Option<Vec<u8>> = find.query_row([number(intent)], |row| row.get(0)).optional()?;
            let Some(kept) = found else { return Ok(()) };
            let Some(fact) = Fact::interrupted(&kept) else {
                tracing::error!(intent, "an announced write cannot be read");
                return Ok(());
            };
            self.events(&[fact])?;
        }
        self.forget(intent)
    }

    fn delivered(&self, sink: &str, through: u64, rejected: &[Rejection]) -> rusqlite::Result<Done> {
        let set = "INSERT INTO progress VALUES (?1, ?2) ON CONFLICT DO UPDATE SET through = ?2";
        self.transaction.prepare_cached(set)?.execute(params![sink, number(through.min(self.head))])?;
        for rejection in rejected {
            let put = "INSERT OR REPLACE INTO rejected VALUES (?1, ?2, ?3, NULL, NULL)";
            let row = params![sink, number(rejection.sequence), rejection.reason];
            self.transaction.prepare_cached(put)?.execute(row)?;
        }
        Ok(Done::Noted)
    }
}

/// The intents that are open.
pub(super) fn open_intents(connection: &rusqlite::Connection) -> rusqlite::Result<Vec<u64>> {
    let mut found = connection.prepare("SELECT id FROM intent ORDER BY id")?;
    found.query_map([], |row| row.get(0).map(natural))?.collect()
}
