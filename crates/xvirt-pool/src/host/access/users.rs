//! The verbs of users.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::super::Inner;
use super::password;
use super::sessions::Owner;
use crate::model::{Ref, RoleName, User};
use crate::objects::{Change, beside_of};
use crate::operation::arguments::Arguments;
use crate::operation::{Failure, codes};
use crate::sync::lock;

/// How many users there may be.
const MOST: usize = 1000;
/// How many characters the name of a user may have.
const LONGEST: usize = 64;

impl Inner {
    /// A verb of users that fields do not imply.
    pub(super) fn own_of_user(&self, name: &str, arguments: &Arguments) -> Result<Value, Failure> {
        match name {
            "xvirt_create" => self.create_user(arguments),
            "xvirt_get_all_records" => {
                let users = self.objects.all::<User>()?.into_iter();
                Ok(users.map(|(user, record)| (user.to_string(), json!(record))).collect())
            }
            "xvirt_set_password" => {
                let user = arguments.reference(0)?;
                self.objects.get::<User>(user)?;
                self.set_password(user, &arguments.text(1), None)?;
                Ok(Value::Null)
            }
            "xvirt_set_role" => {
                let (user, role) = (arguments.reference::<User>(0)?, role(&arguments.text(1))?);
                self.objects.change(|change| {
                    let mut record = change.get(user)?;
                    role.as_str().clone_into(&mut record.xvirt_role);
                    change.put(user, &record)
                })?;
                Ok(Value::Null)
            }
            "destroy" => {
                let user = arguments.reference::<User>(0)?;
                self.objects.change(|change| {
                    let record = change.get(user)?;
                    change.remove(user);
                    change.remove_beside(&beside_of(user, "password"));
                    change.remove_beside(&name_key(&record.short_name));
                    Ok(())
                })?;
                self.end_sessions_of(user, None);
                Ok(Value::Null)
            }
            "create" => Err(codes::not_implemented("user.create").with_remedy("use user.xvirt_create")),
            _ => Err(codes::not_implemented(&format!("user.{name}"))),
        }
    }

    fn create_user(&self, arguments: &Arguments) -> Result<Value, Failure> {
        let (name, fullname, role) = (arguments.text(0), arguments.text(1), role(&arguments.text(2))?);
        check_name(&name)?;
        let hash = password::hash(&arguments.text(3))?;
        if self.objects.all::<User>()?.len() >= MOST {
            return Err(codes::not_allowed(format!("there are {MOST} users"), "remove one first"));
        }
        let uuid = Uuid::new_v4();
        let user = Ref::<User>::new(uuid);
        let record = User {
            uuid: uuid.to_string(),
            short_name: name.clone(),
            fullname,
            xvirt_role: role.as_str().to_owned(),
            ..User::default()
        };
        self.objects.change(|change| {
            let key = name_key(&name);
            if change.beside::<Uuid>(&key)?.is_some() {
                return Err(codes::invalid_value(
                    "short_name",
                    &name,
                    "choose another name: there is a user with this one",
                ));
            }
            change.put(user, &record)?;
            put_password(change, user, &hash)?;
            change.put_beside(&key, &uuid)
        })?;
        Ok(json!(user.to_string()))
    }

    /// Sets the password of a user, and ends its sessions but the one with this UUID.
    pub(super) fn set_password(&self, user: Ref<User>, password: &str, kept: Option<Uuid>) -> Result<(), Failure> {
        let hash = password::hash(password)?;
        self.objects.change(|change| {
            change.get(user)?;
            put_password(change, user, &hash)
        })?;
        self.end_sessions_of(user, kept);
        Ok(())
    }

    /// Ends the sessions of a user but the one with this UUID.
    pub(super) fn end_sessions_of(&self, user: Ref<User>, kept: Option<Uuid>) {
        let ends =
            |session: &super::sessions::Session| session.owner == Owner::User(user) && Some(session.uuid) != kept;
        let ended = lock(&self.access.sessions).remove_if(ends);
        self.forget_sessions(&ended);
    }

    /// The user with this name, if there is one.
    pub(super) fn user_named(&self, name: &str) -> Result<Option<Ref<User>>, Failure> {
        let uuid: Option<Uuid> = self.objects.beside(&name_key(name))?;
        Ok(uuid.map(Ref::new))
    }
}

fn put_password(change: &mut Change<'_>, user: Ref<User>, hash: &str) -> Result<(), Failure> {
    change.put_beside(&beside_of(user, "password"), &hash)
}

/// Where the UUID of the user with this name is. Names may have what keys may not.
fn name_key(name: &str) -> String {
    let digits: String = Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("/user/{digits}/named")
}

fn check_name(name: &str) -> Result<(), Failure> {
    let length = name.chars().count();
    let plain = name.chars().all(|character| !character.is_control() && !character.is_whitespace());
    if plain && (1..=LONGEST).contains(&length) {
        return Ok(());
    }
    Err(codes::invalid_value("short_name", name, format!("give 1 to {LONGEST} characters without spaces")))
}

fn role(name: &str) -> Result<RoleName, Failure> {
    RoleName::of_user(name).ok_or_else(|| {
        let all = RoleName::ALL.into_iter().filter(|role| *role != RoleName::ClientCert).map(RoleName::as_str);
        codes::invalid_value("role", name, format!("use one of: {}", all.collect::<Vec<_>>().join(", ")))
    })
}
