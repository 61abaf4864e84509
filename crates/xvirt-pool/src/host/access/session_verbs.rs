//! The verbs of sessions: everybody has his own, and sees no other one.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::Inner;
use super::super::events::name_of;
use super::roles::permissions;
use super::sessions::{Key, Owner, Session};
use crate::model::{self, Call, Class, ClassTable, DateTime, Record};
use crate::operation::arguments::Arguments;
use crate::operation::{Caller, Failure, Who, accessor, codes};
use crate::sync::lock;

impl Inner {
    /// Calls a verb of sessions or users.
    pub(crate) fn call_access(
        &self,
        caller: &Caller,
        table: &'static ClassTable,
        name: &str,
        call: Call,
        arguments: &Arguments,
    ) -> Result<Value, Failure> {
        match call {
            Call::Own(_) if table.name == "user" => self.own_of_user(name, arguments),
            Call::Own(_) => self.own_of_session(caller, name, arguments),
            Call::GetRecord => self.session_record(caller, arguments)?.to_value().map_err(Failure::from),
            Call::Get(field) => Ok(accessor::get(&self.session_record(caller, arguments)?.to_value()?, field)),
            Call::Set(_) | Call::AddTo(_) | Call::RemoveFrom(_) => self.set_of_session(caller, call, arguments),
            // The reference would be found by what is no secret.
            _ => Err(codes::not_implemented(&format!("session.{name}"))),
        }
    }

    fn own_of_session(&self, caller: &Caller, name: &str, arguments: &Arguments) -> Result<Value, Failure> {
        match name {
            "logout" | "local_logout" => {
                self.events.leave(&name_of(caller));
                if let Caller::Session { session, .. } = caller {
                    let ended = lock(&self.access.sessions).remove_if(|one| one.uuid == session.session);
                    self.forget_sessions(&ended);
                }
                Ok(Value::Null)
            }
            "get_all_subject_identifiers" => {
                let sessions = lock(&self.access.sessions);
                let subjects: BTreeSet<String> = sessions.iter().filter_map(|one| subject_of(one.owner)).collect();
                Ok(subjects.into_iter().collect())
            }
            "logout_subject_identifier" => {
                let subject = arguments.text(0);
                let ended =
                    lock(&self.access.sessions).remove_if(|one| subject_of(one.owner).as_ref() == Some(&subject));
                self.forget_sessions(&ended);
                Ok(Value::Null)
            }
            "change_password" => self.change_password(caller, &arguments.text(0), &arguments.text(1)),
            _ => Err(codes::not_implemented(&format!("session.{name}"))),
        }
    }

    fn change_password(&self, caller: &Caller, old: &str, new: &str) -> Result<Value, Failure> {
        let Caller::Session { session, .. } = caller else { return Err(no_user()) };
        let Who::User { user, name, .. } = &session.who else { return Err(no_user()) };
        self.check_password(*user, name, old)?;
        self.set_password(*user, new, Some(session.session))?;
        Ok(Value::Null)
    }

    /// The session that a call is about, which is the caller's own.
    fn own_session(&self, caller: &Caller, arguments: &Arguments) -> Result<(Key, Session), Failure> {
        let reference = arguments.text(0);
        let key = Key::of(&reference);
        let sessions = lock(&self.access.sessions);
        let session = sessions.get(key).filter(|session| match caller {
            Caller::Session { session: own, .. } => own.session == session.uuid,
            // Who may do everything has the reference, so that it was given to him.
            Caller::Local { .. } => true,
        });
        session.cloned().map(|session| (key, session)).ok_or_else(|| codes::handle_invalid("session", reference))
    }

    fn session_record(&self, caller: &Caller, arguments: &Arguments) -> Result<model::Session, Failure> {
        let (_, session) = self.own_session(caller, arguments)?;
        self.record_of(session)
    }

    fn record_of(&self, session: Session) -> Result<model::Session, Failure> {
        let last_active = DateTime::from_unix(session.used.unix).unwrap_or_default();
        let mut record = model::Session {
            uuid: session.uuid.to_string(),
            this_host: self.host,
            last_active,
            validation_time: last_active,
            originator: session.originator,
            other_config: session.other_config,
            ..model::Session::default()
        };
        match session.owner {
            Owner::Local(uid) => {
                record.is_local_superuser = true;
                record.auth_user_name = format!("uid {uid}");
            }
            Owner::User(reference) => {
                let user = self.objects.get(reference)?;
                record.this_user = reference;
                record.auth_user_sid = user.uuid;
                record.auth_user_name = user.short_name;
                record.rbac_permissions =
                    model::RoleName::of_user(&user.xvirt_role).map(permissions).unwrap_or_default();
            }
        }
        Ok(record)
    }

    fn set_of_session(&self, caller: &Caller, call: Call, arguments: &Arguments) -> Result<Value, Failure> {
        let (key, session) = self.own_session(caller, arguments)?;
        let Value::Object(mut record) = self.record_of(session)?.to_value()? else { return Ok(Value::Null) };
        accessor::set(&mut record, model::Session::TABLE, call, arguments)?;
        let other_config = model::Session::from_value(Value::Object(record))?.other_config;
        let changed = {
            let mut sessions = lock(&self.access.sessions);
            let session = sessions.get_mut(key).ok_or_else(|| codes::handle_invalid("session", arguments.text(0)))?;
            session.other_config = other_config;
            session.clone()
        };
        self.objects.change(|change| match change.beside::<Session>(&key.path())? {
            None => Ok(()),
            Some(_) => change.put_beside(&key.path(), &changed),
        })?;
        Ok(Value::Null)
    }
}

/// The identifier of who has logged in, for those who are users.
fn subject_of(owner: Owner) -> Option<String> {
    match owner {
        Owner::Local(_) => None,
        Owner::User(user) => user.uuid().map(|uuid| uuid.to_string()),
    }
}

fn no_user() -> Failure {
    codes::not_allowed(
        "whoever is root on the host has no password here",
        "log in as a user, or use user.xvirt_set_password",
    )
}
