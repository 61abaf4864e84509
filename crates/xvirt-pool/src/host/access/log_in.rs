//! Logging in, and whom a session stands for.

use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

use super::super::Inner;
use super::password;
use super::sessions::{FOLDER, Key, Moment, Owner, Session};
use crate::model::{Class, Ref, RoleName, User};
use crate::operation::{Caller, Failure, Identity, Login, Who};
use crate::sync::lock;

/// How many characters of what a client calls itself are kept.
const ORIGINATOR: usize = 128;
/// How many sessions are removed from the store at once.
const REMOVED_AT_ONCE: usize = 40;

impl Inner {
    /// See [`Verbs::log_in`](crate::operation::Verbs::log_in).
    pub(crate) fn log_in(&self, login: &Login) -> Result<String, Failure> {
        let outcome = self.owner_of(login).and_then(|owner| self.begin_session(owner, login));
        let who = login.local.map_or_else(|| format!("user {}", login.user), |uid| format!("uid {uid}"));
        let code = outcome.as_ref().map_or_else(|failure| failure.code.as_str(), |_| super::audit::SUCCESS);
        self.access.audit.write(self.now(), &who, login.from, "session.login_with_password", None, code);
        outcome
    }

    /// Who it is that wishes to log in.
    fn owner_of(&self, login: &Login) -> Result<Owner, Failure> {
        if let Some(uid) = login.local {
            return Ok(Owner::Local(uid));
        }
        let user = self.user_named(&login.user)?;
        let hash = match user {
            Some(user) => self.password_of(user)?,
            None => None,
        };
        let right = {
            let _one_at_a_time = lock(&self.access.checking);
            password::is_right(&login.password, hash.as_deref())
        };
        match user.filter(|_| right) {
            Some(user) => Ok(Owner::User(user)),
            None => Err(Failure::new(
                "SESSION_AUTHENTICATION_FAILED",
                [login.user.as_str(), "there is no such user, or the password is wrong"],
            )),
        }
    }

    fn begin_session(&self, owner: Owner, login: &Login) -> Result<String, Failure> {
        // 122 random bits of the kernel: nobody guesses it.
        let reference = Ref::<()>::new(Uuid::new_v4()).to_string();
        let key = Key::of(&reference);
        let now = self.moment();
        let originator = login.originator.chars().take(ORIGINATOR).collect();
        let other_config = std::collections::BTreeMap::new();
        let session = Session { uuid: Uuid::new_v4(), owner, originator, used: now.clone(), other_config };
        let stored = self.objects.change(|change| change.put_beside(&key.path(), &session));
        if let Err(failure) = stored {
            // Whoever comes to see why the store is full must be let in.
            tracing::warn!(%failure, "a session ends with the service, because the store cannot keep it");
        }
        let ended = lock(&self.access.sessions).add(key, session, &now);
        self.forget_sessions(&ended);
        Ok(reference)
    }

    /// Removes sessions that have ended from the store.
    pub(super) fn forget_sessions(&self, ended: &[Key]) {
        for some in ended.chunks(REMOVED_AT_ONCE) {
            let removed = self.objects.change(|change| {
                some.iter().for_each(|key| change.remove_beside(&key.path()));
                Ok(())
            });
            if let Err(failure) = removed {
                tracing::warn!(%failure, "sessions that have ended are still in the store");
            }
        }
    }

    /// See [`Verbs::caller`](crate::operation::Verbs::caller).
    pub(crate) fn caller_of(&self, reference: &str, from: Option<IpAddr>) -> Result<Caller, Failure> {
        let key = Key::of(reference);
        let invalid = || Failure::new("SESSION_INVALID", [reference]).with_remedy("log in again");
        let used = lock(&self.access.sessions).use_now(key, &self.moment());
        let (session, store) = used.ok_or_else(invalid)?;
        // What a program on this host may do, nobody else may, even if the reference came to him.
        let who = match session.owner {
            Owner::Local(_) if from.is_some() => return Err(invalid()),
            Owner::Local(uid) => Who::Local(uid),
            Owner::User(user) => {
                let record = self.objects.get(user).map_err(|failure| match failure.code.as_str() {
                    "HANDLE_INVALID" => invalid(),
                    _ => failure,
                })?;
                let role = RoleName::of_user(&record.xvirt_role).ok_or_else(invalid)?;
                Who::User { user, name: record.short_name, role }
            }
        };
        if store {
            self.store_use(key, &session);
        }
        Ok(Caller::Session { session: Arc::new(Identity { session: session.uuid, who }), from })
    }

    fn store_use(&self, key: Key, session: &Session) {
        let stored = self.objects.change(|change| match change.beside::<Session>(&key.path())? {
            // It may have ended meanwhile.
            None => Ok(()),
            Some(_) => change.put_beside(&key.path(), session),
        });
        if let Err(failure) = stored {
            tracing::warn!(%failure, "the store does not know that a session is used");
        }
    }

    /// Reads the sessions of earlier services.
    pub(crate) fn remember_sessions(&self) -> Result<(), Failure> {
        for (path, session) in self.objects.besides::<serde_json::Value>(FOLDER)? {
            let Some(key) = Key::of_path(&path) else { continue };
            match serde_json::from_value(session) {
                Ok(session) => lock(&self.access.sessions).remember(key, session),
                Err(error) => {
                    tracing::warn!(%error, "a session in the store cannot be read; its user must log in again")
                }
            }
        }
        Ok(())
    }

    fn moment(&self) -> Moment {
        let clock = &self.options.clock;
        Moment { boot: self.boot.clone(), since_boot: self.since_boot(), unix: clock.unix() }
    }

    /// The hash of the password of a user, if it has one.
    fn password_of(&self, user: Ref<User>) -> Result<Option<String>, Failure> {
        self.objects.beside(&crate::objects::beside_key(User::TABLE, user.uuid().unwrap_or_default(), "password"))
    }

    /// Fails unless this is the password of a user.
    pub(super) fn check_password(&self, user: Ref<User>, name: &str, given: &str) -> Result<(), Failure> {
        let hash = self.password_of(user)?;
        let _one_at_a_time = lock(&self.access.checking);
        if password::is_right(given, hash.as_deref()) {
            return Ok(());
        }
        Err(Failure::new("SESSION_AUTHENTICATION_FAILED", [name, "the old password is wrong"]))
    }
}
