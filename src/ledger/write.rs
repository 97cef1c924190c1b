//! Jobs as rows.

use rusqlite::{OptionalExtension as _, Transaction, params};

use crate::ledger::fact::{Fact, Hash, natural, number};
use crate::ledger::queue::{Done, Fate, Job, Rejection};

/// One transaction in the making: rows go in, and the end of the chain moves on.
pub(super) struct Writing<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) head: u64,
    pub(super) hash: Hash,
    /// The number of the latest intent.
    pub(super) intents: u64,
}

impl Writing<'_> {
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
        let sql = "INSERT INTO event VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let mut insert = self.transaction.prepare_cached(sql)?;
        for fact in facts {
            self.head = self.head.saturating_add(1);
            self.hash = Hash::of(self.hash, self.head, &fact.kept);
            insert.execute(params![
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
