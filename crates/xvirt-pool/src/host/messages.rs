//! The verbs of messages, whose queries are verbs of their own in XenAPI.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Inner;
use crate::model::{Call, ClassTable, DateTime, Message, Ref};
use crate::operation::arguments::Arguments;
use crate::operation::{Failure, codes};

impl Inner {
    /// The verbs of messages.
    pub(crate) fn own_of_message(
        &self,
        table: &'static ClassTable,
        name: &str,
        arguments: &Arguments,
    ) -> Result<Value, Failure> {
        let call = match name {
            "create" => return self.create_message(arguments),
            "destroy" => return self.destroy_messages(&[arguments.reference(0)?]),
            "destroy_many" => {
                let references: Vec<Ref<Message>> = serde_json::from_value(arguments.value(0))
                    .map_err(|_| codes::handle_invalid(table.name, arguments.value(0)))?;
                return self.destroy_messages(&references);
            }
            "get" => return self.messages_since(arguments, 2, Some((&arguments.text(0), &arguments.text(1)))),
            "get_since" => return self.messages_since(arguments, 0, None),
            "get_all" => Call::GetAll,
            "get_all_records" => Call::GetAllRecords,
            "get_all_records_where" => Call::GetAllRecordsWhere,
            "get_record" => Call::GetRecord,
            "get_by_uuid" => Call::GetByUuid,
            _ => return Err(codes::not_implemented(&format!("message.{name}"))),
        };
        self.access(table, call, arguments)
    }

    /// `message.create(name, priority, cls, obj_uuid, body)`.
    fn create_message(&self, arguments: &Arguments) -> Result<Value, Failure> {
        let uuid = Uuid::new_v4();
        let about = arguments.text(3);
        Uuid::try_parse(&about).map_err(|_| codes::invalid_value("obj_uuid", &about, "give the UUID of an object"))?;
        let class = arguments.value(2);
        let message = Message {
            uuid: uuid.to_string(),
            name: arguments.text(0),
            priority: arguments.int(1),
            cls: serde_json::from_value(class.clone())
                .map_err(|_| codes::invalid_value("cls", class, "name a class that messages are about"))?,
            obj_uuid: about,
            timestamp: self.now(),
            body: arguments.text(4),
        };
        let reference = Ref::<Message>::new(uuid);
        self.objects.change(|change| change.put(reference, &message))?;
        self.messages.written(&self.objects, uuid)?;
        Ok(json!(reference.to_string()))
    }

    fn destroy_messages(&self, messages: &[Ref<Message>]) -> Result<Value, Failure> {
        // As many as go into one transaction.
        for some in messages.chunks(50) {
            self.objects.change(|change| {
                for message in some {
                    change.get(*message)?;
                    change.remove(*message);
                }
                Ok(())
            })?;
        }
        Ok(Value::Null)
    }

    /// The messages since a time, which is the parameter at a place; of one object, if `about` has its class and UUID.
    fn messages_since(
        &self,
        arguments: &Arguments,
        place: usize,
        about: Option<(&str, &str)>,
    ) -> Result<Value, Failure> {
        let since: DateTime = arguments.text(place).parse().unwrap_or_default();
        let meant = |message: &Message| {
            message.timestamp >= since
                && about.is_none_or(|(class, uuid)| message.cls.as_str() == class && message.obj_uuid == uuid)
        };
        let all = self.objects.all::<Message>()?.into_iter().filter(|(_, message)| meant(message));
        let records: Result<serde_json::Map<_, _>, Failure> = all
            .map(|(reference, message)| Ok((reference.to_string(), crate::model::Record::to_value(&message)?)))
            .collect();
        Ok(Value::Object(records?))
    }
}
