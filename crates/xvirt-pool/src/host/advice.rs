//! The verbs that only tell clients what they could do with a VM.

use serde_json::{Value, json};

use super::{Inner, slot};
use crate::model::{Class, Ref, Vm, VmOperations};
use crate::operation::arguments::Arguments;
use crate::operation::{Failure, codes, create, power, values};

impl Inner {
    /// The verbs of a VM that advise; `None` if it is another one.
    pub(crate) fn advise(&self, vm: Ref<Vm>, name: &str, arguments: &Arguments) -> Option<Result<Value, Failure>> {
        let advice: fn(&Self, Ref<Vm>, &Arguments) -> Result<Value, Failure> = match name {
            "assert_operation_valid" => Self::assert_operation_valid,
            "compute_memory_overhead" => {
                |inner, vm, _| Ok(json!(values::overhead(inner.objects.get(vm)?.memory_static_max)))
            }
            "get_allowed_VBD_devices" => |inner, vm, _| {
                let record = inner.objects.get(vm)?;
                let mut taken = Vec::new();
                for vbd in &record.vbds {
                    taken.push(inner.objects.get(*vbd)?.userdevice);
                }
                Ok(json!(create::free_places(&taken)))
            },
            "get_allowed_VIF_devices" => |inner, vm, _| {
                let record = inner.objects.get(vm)?;
                let mut taken = Vec::new();
                for vif in &record.vifs {
                    taken.push(inner.objects.get(*vif)?.device);
                }
                Ok(json!(create::free_places(&taken)))
            },
            "get_possible_hosts" => |inner, vm, _| inner.objects.get(vm).map(|_| json!([inner.host.to_string()])),
            "update_allowed_operations" => |inner, vm, _| {
                inner.objects.change(|change| {
                    let mut record = change.get(vm)?;
                    slot::put(change, vm, &mut record)
                })?;
                Ok(Value::Null)
            },
            _ => return None,
        };
        Some(advice(self, vm, arguments))
    }

    fn assert_operation_valid(&self, vm: Ref<Vm>, arguments: &Arguments) -> Result<Value, Failure> {
        let record = self.objects.get(vm)?;
        let operation: VmOperations = serde_json::from_value(arguments.value(1))
            .map_err(|_| codes::invalid_value("op", arguments.text(1), "name an operation of a VM"))?;
        power::require(&record, vm, operation).map(|()| Value::Null)
    }

    /// `VM.set_is_default_template(vm, value)`.
    pub(crate) fn set_is_default_template(&self, vm: Ref<Vm>, value: bool) -> Result<Value, Failure> {
        self.objects.change(|change| {
            let mut record = change.get(vm)?;
            if value && !record.is_a_template {
                return Err(codes::invalid_value(
                    &format!("{}.is_default_template", Vm::TABLE.name),
                    value,
                    "make it a template first",
                ));
            }
            record.is_default_template = value;
            slot::put(change, vm, &mut record)
        })?;
        Ok(Value::Null)
    }
}
