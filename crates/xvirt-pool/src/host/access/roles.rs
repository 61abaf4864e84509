//! What a role allows.

use uuid::{Uuid, uuid};

use super::super::Inner;
use crate::model::{CLASSES, Call, ClassTable, Ref, Role, RoleName, Roles, Task};
use crate::objects::beside_of;
use crate::operation::arguments::Arguments;
use crate::operation::{Caller, Failure};
use crate::task::Origin;

/// The roles that users can have, by the UUIDs that they have in every pool.
const ROLES: [(RoleName, Uuid, &str); 6] = [
    (RoleName::PoolAdmin, uuid!("0165f154-ba3e-034e-6b27-5d271af109ba"), "May do everything"),
    (RoleName::PoolOperator, uuid!("b9ce9791-0604-50cd-0649-09b3284c7dfd"), "May manage hosts, networks and storage"),
    (RoleName::VmPowerAdmin, uuid!("7955168d-7bec-10ed-105f-c6a7e6e63249"), "May manage all of VMs, and migrate them"),
    (RoleName::VmAdmin, uuid!("aaa00ab5-7340-bfbc-0d1b-7cf342639a6e"), "May create, change and destroy VMs"),
    (RoleName::VmOperator, uuid!("fb8d4ff9-310c-a959-0613-54101535d3d5"), "May start and stop VMs, and use consoles"),
    (RoleName::ReadOnly, uuid!("7233b8e3-eacb-d7da-2c95-f2e581cdbf4e"), "May look at everything"),
];

/// Whether a caller may call a verb.
///
/// # Errors
/// `RBAC_PERMISSION_DENIED`.
pub(super) fn permit(caller: &Caller, table: &ClassTable, name: &str, roles: Roles) -> Result<(), Failure> {
    if caller.has_one_of(roles) {
        return Ok(());
    }
    Err(caller.permission_denied(&format!("{}.{name}", table.name), roles))
}

/// The verbs that a role allows, as permissions.
pub(super) fn permissions(role: RoleName) -> Vec<String> {
    let of_class = |table: &'static ClassTable| {
        let calls = table.calls().into_iter().filter(move |(_, call)| call.roles(table).contains(role));
        calls.map(|(name, _)| format!("{}.{name}", table.name).to_lowercase())
    };
    CLASSES.iter().copied().flat_map(of_class).collect()
}

impl Inner {
    /// Whether a caller may call a verb with these parameters.
    ///
    /// # Errors
    /// `RBAC_PERMISSION_DENIED`.
    pub(crate) fn permit(
        &self,
        caller: &Caller,
        table: &'static ClassTable,
        name: &str,
        call: Call,
        arguments: &Arguments,
    ) -> Result<(), Failure> {
        // Everybody may change his own password.
        if (table.name, name) == ("session", "change_password") {
            return Ok(());
        }
        permit(caller, table, name, call.roles(table))?;
        if table.name != "task" || !matches!(name, "cancel" | "destroy") || caller.role().is_none() {
            return Ok(());
        }
        // Everybody may end his own tasks.
        let task: Ref<Task> = arguments.reference(0)?;
        let origin: Option<Origin> = self.objects.beside(&beside_of(task, "origin"))?;
        if origin.is_some_and(|origin| origin.caller == caller.to_string()) {
            return Ok(());
        }
        permit(caller, table, name, Roles::POOL_OPERATOR)
    }

    /// Writes the records of the roles. They tell clients what there is; nothing else needs them.
    pub(crate) fn describe_roles(&self) {
        let written = self.objects.change(|change| {
            for (role, uuid, description) in ROLES {
                let record = Role {
                    uuid: uuid.to_string(),
                    name_label: role.as_str().to_owned(),
                    name_description: description.to_owned(),
                    ..Role::default()
                };
                if change.find(Ref::<Role>::new(uuid))?.as_ref() != Some(&record) {
                    change.put(Ref::new(uuid), &record)?;
                }
            }
            Ok(())
        });
        if let Err(failure) = written {
            tracing::warn!(%failure, "clients do not see the roles of users");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_allows_more_than_the_one_before() {
        let mut before = Vec::new();
        for (role, ..) in ROLES.into_iter().rev() {
            let now = permissions(role);
            assert!(now.len() > before.len() && before.iter().all(|one| now.contains(one)), "{role:?}");
            before = now;
        }
        assert!(permissions(RoleName::VmOperator).contains(&"vm.start".to_owned()));
        assert!(!permissions(RoleName::ReadOnly).contains(&"vm.start".to_owned()));
        assert!(!before.contains(&"session.create_from_db_file".to_owned()));
    }
}
