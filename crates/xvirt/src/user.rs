//! The verbs of users.

use clap::Subcommand;
use serde_json::{Value, json};
use xvirt_pool::model::User;

use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::objects::{Object, all_by};
use crate::output::{Output, table};
use crate::password;

/// What a user may do, from all to least
const ROLES: [&str; 6] = ["pool-admin", "pool-operator", "vm-power-admin", "vm-admin", "vm-operator", "read-only"];

#[derive(Debug, Subcommand)]
pub enum UserVerb {
    /// List the users
    List,
    /// Create a user; the password is asked for, or is the first line of standard input
    Create {
        /// The name to log in with
        name: String,
        /// What the user may do
        #[arg(long, value_parser = ROLES, default_value = "read-only")]
        role: String,
        /// The name for people
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        full_name: String,
    },
    /// Set another password, which is asked for or read likewise; the user must log in again
    Passwd {
        /// The name or the UUID of the user
        name: String,
    },
    /// Set what a user may do
    Role {
        /// The name or the UUID of the user
        name: String,
        /// The role
        #[arg(value_parser = ROLES)]
        role: String,
    },
    /// Remove a user, whose sessions end
    Remove {
        /// The name or the UUID of the user
        name: String,
    },
}

/// Carries out a verb.
pub async fn run(client: &Client, verb: UserVerb, output: &Output) -> Result<()> {
    match verb {
        UserVerb::List => list(client, output).await,
        UserVerb::Create { name, role, full_name } => {
            let parameters = vec![json!(name), json!(full_name), json!(role), json!(password::read()?)];
            let done = client.call("user.xvirt_create", parameters).await;
            let reference = done.map_err(|failure| failure.doing(format!("cannot create the user {name}")))?;
            let uuid = reference.as_str().and_then(|text| text.strip_prefix("OpaqueRef:")).unwrap_or_default();
            output.print(&json!({ "uuid": uuid }), || format!("{uuid}\n"))
        }
        UserVerb::Passwd { name } => {
            let user = find(client, &name).await?;
            change(client, "user.xvirt_set_password", &user, vec![json!(password::read()?)], output).await
        }
        UserVerb::Role { name, role } => {
            let user = find(client, &name).await?;
            change(client, "user.xvirt_set_role", &user, vec![json!(role)], output).await
        }
        UserVerb::Remove { name } => {
            let user = find(client, &name).await?;
            change(client, "user.destroy", &user, Vec::new(), output).await
        }
    }
}

/// Lists the users by name.
async fn list(client: &Client, output: &Output) -> Result<()> {
    let mut users = all(client).await?;
    users.sort_by(|(_, one, _), (_, other, _)| one.short_name.cmp(&other.short_name));
    let records: Vec<&Value> = users.iter().map(|(_, _, record)| record).collect();
    output.print(&records, || {
        let rows = users.iter().map(|(_, user, _)| {
            vec![user.short_name.clone(), user.xvirt_role.clone(), user.fullname.clone(), user.uuid.clone()]
        });
        table(&["NAME", "ROLE", "FULL NAME", "UUID"], &rows.collect::<Vec<_>>())
    })
}

async fn change(client: &Client, verb: &str, user: &Found, more: Vec<Value>, output: &Output) -> Result<()> {
    let parameters = std::iter::once(json!(user.reference)).chain(more).collect();
    let done = client.call(verb, parameters).await;
    done.map_err(|failure| failure.doing(format!("cannot change the user {}", user.record.short_name)))?;
    output.print(&json!({ "uuid": user.record.uuid }), String::new)
}

/// A user that was found.
struct Found {
    reference: String,
    record: User,
}

/// The user with this name or UUID.
async fn find(client: &Client, name: &str) -> Result<Found> {
    let users = all(client).await?.into_iter();
    let mut found = users.filter(|(_, user, _)| user.short_name == name || user.uuid == name);
    let (reference, record, _) = found.next().ok_or_else(|| {
        Failure::not_found(format!("cannot find the user {name:?}"), "none has this name; see `xvirt user list`")
    })?;
    Ok(Found { reference, record })
}

async fn all(client: &Client) -> Result<Vec<Object<User>>> {
    all_by(client, "user.xvirt_get_all_records").await
}
