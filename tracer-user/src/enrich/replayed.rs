//! Processes that are known from capture files only.
//!
//! A recording says of each process what the tracer knew of it. Packets say nothing: there a process is an address that
//! connects to servers, and all clients of one address are one process.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tracer_core::{
    model::{Timestamp, Value},
    record::Open,
};
use tracer_pcap::ProcessNote;

use super::{Process, Resource, instrumented::Agent};

/// The processes, at most as many as allowed.
#[derive(Debug)]
pub(crate) struct Replayed {
    entries: BTreeMap<u32, Vec<Entry>>,
    /// In the order in which they came.
    order: VecDeque<u32>,
    /// `service.name` of processes that do not say theirs.
    service_name: Option<String>,
    configured: Vec<(String, String)>,
    most: usize,
}

#[derive(Debug)]
struct Entry {
    since: Timestamp,
    process: Arc<Process>,
}

/// What a recording says of a process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Note {
    /// From when on it is this one, nanoseconds since 1970.
    pub(crate) since: u64,
    /// Who makes its RocketMQ spans already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<Agent>,
    /// Its resource, in order.
    pub(crate) attributes: Vec<(String, NoteValue)>,
}

/// An attribute's value.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum NoteValue {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// Texts.
    Texts(Vec<String>),
}

impl Replayed {
    /// An empty table. `service_name` is for processes that do not say theirs, `configured` are resource attributes
    /// for them.
    pub(crate) fn new(
        service_name: Option<String>,
        configured: Vec<(String, String)>,
        most: usize,
    ) -> Replayed {
        Replayed {
            entries: BTreeMap::new(),
            order: VecDeque::new(),
            service_name,
            configured,
            most,
        }
    }

    /// Takes in what a recording says.
    pub(crate) fn introduce(&mut self, note: &ProcessNote<'_>) {
        let pid = note.process.0;
        match serde_json::from_str::<Note>(note.resource) {
            Ok(said) => self.insert(pid, Timestamp(said.since), said.process()),
            Err(error) => tracing::warn!(pid, %error, "what the recording says of a process cannot be read"),
        }
    }

    /// A connection begins: its owner, where nobody introduced it, goes by its address.
    pub(crate) fn announce(&mut self, open: &Open) {
        let pid = open.process.0;
        if !self.entries.contains_key(&pid) {
            let process = Process::of_resource(self.of_address(open.local.ip()));
            self.insert(pid, Timestamp(0), process);
        }
    }

    /// Who made a span that started at `time`.
    pub(crate) fn of(&mut self, pid: u32, time: Timestamp) -> Arc<Process> {
        if let Some(entries) = self.entries.get(&pid) {
            let holding = entries.iter().rev().find(|entry| entry.since <= time);
            if let Some(entry) = holding.or(entries.first()) {
                return entry.process.clone();
            }
        }
        Arc::new(Process::of_resource(self.resource("unknown_service", &[])))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    fn insert(&mut self, pid: u32, since: Timestamp, process: Process) {
        if self.order.len() >= self.most
            && let Some(oldest) = self.order.pop_front()
            && let Some(entries) = self.entries.get_mut(&oldest)
        {
            entries.remove(0);
            if entries.is_empty() {
                self.entries.remove(&oldest);
            }
        }
        let process = Arc::new(process);
        self.entries
            .entry(pid)
            .or_default()
            .push(Entry { since, process });
        self.order.push_back(pid);
    }

    fn of_address(&self, address: IpAddr) -> Resource {
        let address = address.to_string();
        self.resource(&address, &[("host.ip", Value::Strings(vec![address.clone()]))])
    }

    fn resource(&self, service: &str, more: &[(&str, Value)]) -> Resource {
        let configured = |key: &str| {
            self.configured
                .iter()
                .find(|(k, _)| k == key)
                .map(|(_, v)| v.clone())
        };
        let service = self
            .service_name
            .clone()
            .or_else(|| configured("service.name"))
            .unwrap_or_else(|| service.to_owned());
        let mut attributes: BTreeMap<String, Value> = BTreeMap::new();
        for (key, value) in more {
            attributes.insert((*key).to_owned(), value.clone());
        }
        for (key, value) in &self.configured {
            attributes.insert(key.clone(), value.clone().into());
        }
        attributes.insert("service.name".to_owned(), service.clone().into());
        attributes.insert("telemetry.sdk.name".to_owned(), "rmqtrace".into());
        attributes.insert(
            "telemetry.sdk.version".to_owned(),
            env!("CARGO_PKG_VERSION").into(),
        );
        Resource {
            service: service.into(),
            attributes: attributes.into_iter().collect(),
        }
    }
}

impl Note {
    /// What to write about a process that is this one since then.
    pub(crate) fn of(process: &Process, since: u64) -> Note {
        let value = |value: &Value| match value {
            Value::Str(text) => NoteValue::Text(text.to_string()),
            Value::Shared(text) => NoteValue::Text(text.to_string()),
            Value::Int(n) => NoteValue::Int(*n),
            Value::Float(x) => NoteValue::Float(*x),
            Value::Bool(b) => NoteValue::Bool(*b),
            Value::Strings(texts) => NoteValue::Texts(texts.clone()),
        };
        let attributes = process
            .resource
            .attributes
            .iter()
            .map(|(k, v)| (k.clone(), value(v)));
        Note {
            since,
            agent: process.agent,
            attributes: attributes.collect(),
        }
    }

    fn process(self) -> Process {
        let service = self.attributes.iter().find_map(|(key, value)| match value {
            NoteValue::Text(name) if key == "service.name" => Some(name.as_str().into()),
            _ => None,
        });
        let value = |value| match value {
            NoteValue::Bool(b) => Value::Bool(b),
            NoteValue::Int(n) => Value::Int(n),
            NoteValue::Float(x) => Value::Float(x),
            NoteValue::Text(text) => text.into(),
            NoteValue::Texts(texts) => Value::Strings(texts),
        };
        let attributes = self.attributes.into_iter().map(|(k, v)| (k, value(v)));
        let resource = Resource {
            service: service.unwrap_or_else(|| "unknown_service".into()),
            attributes: attributes.collect(),
        };
        Process::recorded(resource, self.agent)
    }
}

#[cfg(test)]
mod tests {
    use tracer_abi::Role;
    use tracer_core::{model::ProcessId, record::ConnectionId};

    use super::*;

    fn open(pid: u32, address: [u8; 4]) -> Open {
        Open {
            connection: ConnectionId(1),
            process: ProcessId(pid),
            time: Timestamp(1),
            local: (address, 40_000).into(),
            remote: ([10, 0, 0, 9], 10_911).into(),
            netns: 0,
            role: Role::CLIENT,
            from_start: true,
        }
    }

    fn shown(process: &Process) -> String {
        let attributes = process.resource.attributes.iter();
        let attributes: Vec<_> = attributes
            .filter(|(key, _)| !key.starts_with("telemetry"))
            .collect();
        format!("{} {attributes:?}", process.resource.service)
    }

    /// Option, configured attribute, what an address becomes.
    #[test]
    fn an_address_is_a_process() {
        for (option, configured, service) in [
            (None, None, "10.0.0.1"),
            (Some("shop"), Some("other"), "shop"),
            (None, Some("other"), "other"),
        ] {
            let configured = configured.map(|name: &str| ("service.name".to_owned(), name.to_owned()));
            let mut table = Replayed::new(option.map(str::to_owned), configured.into_iter().collect(), 8);
            table.announce(&open(7, [10, 0, 0, 1]));
            let expected = format!(
                r#"{service} [("host.ip", Strings(["10.0.0.1"])), ("service.name", Str("{service}"))]"#
            );
            assert_eq!(shown(&table.of(7, Timestamp(5))), expected);
        }
    }

    /// What a recording says of a process comes back whole, and a later program of the same number is another.
    #[test]
    fn a_recorded_process_is_what_it_was() {
        let mut table = Replayed::new(Some("not this".to_owned()), Vec::new(), 8);
        let attributes = vec![
            ("service.name".to_owned(), Value::from("shop".to_owned())),
            ("process.pid".to_owned(), Value::Int(7)),
            ("x".to_owned(), Value::Strings(vec!["a".to_owned()])),
            ("y".to_owned(), Value::Bool(true)),
        ];
        let resource = Resource {
            service: "shop".into(),
            attributes,
        };
        let before = Process::recorded(resource, Some(Agent::Skywalking));
        for since in [0, 100] {
            let text = serde_json::to_string(&Note::of(&before, since)).unwrap();
            table.introduce(&ProcessNote {
                process: ProcessId(7),
                resource: &text,
            });
        }
        table.announce(&open(7, [10, 0, 0, 1]));
        let (first, second) = (table.of(7, Timestamp(99)), table.of(7, Timestamp(100)));
        assert_eq!((&first.resource, first.agent), (&before.resource, before.agent));
        assert!(!Arc::ptr_eq(&first, &second));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut table = Replayed::new(None, Vec::new(), 2);
        for last in 1..=4 {
            table.announce(&open(last.into(), [10, 0, 0, last]));
        }
        assert_eq!((table.len(), table.entries.len()), (2, 2));
        assert_eq!(&*table.of(4, Timestamp(1)).resource.service, "10.0.0.4");
        assert_eq!(&*table.of(1, Timestamp(1)).resource.service, "unknown_service");
    }
}
