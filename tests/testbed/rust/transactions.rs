//! Does with a half message what its properties `local` and `check` say (commit, rollback; else unknown), and logs it.

use std::any::Any;

use rocketmq_client_rust::{LocalTransactionState, TransactionListener};
use rocketmq_model::common::message::{MessageTrait, message_ext::MessageExt};
use serde_json::json;

use crate::log::{Log, now};

/// The application's part in a transaction.
pub struct Transactions(pub Log);

impl Transactions {
    fn decide(&self, when: &str, message: &dyn MessageTrait) -> LocalTransactionState {
        let start = now();
        let property = |name: &str| message.property(&name.into()).unwrap_or_default();
        let (state, name) = match property(when).as_str() {
            "commit" => (LocalTransactionState::CommitMessage, "commit"),
            "rollback" => (LocalTransactionState::RollbackMessage, "rollback"),
            _ => (LocalTransactionState::Unknown, "unknown"),
        };
        self.0.write(json!({
            "event": "decided", "when": when, "msgId": property("UNIQ_KEY").as_str(), "topic": message.topic().as_str(),
            "state": name, "startNs": start, "endNs": now(),
        }));
        state
    }
}

impl TransactionListener for Transactions {
    fn execute_local_transaction(
        &self,
        message: &dyn MessageTrait,
        _argument: Option<&(dyn Any + Send + Sync)>,
    ) -> LocalTransactionState {
        self.decide("local", message)
    }

    fn check_local_transaction(&self, message: &MessageExt) -> LocalTransactionState {
        self.decide("check", message)
    }
}
