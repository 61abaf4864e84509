//! Users, sessions and roles.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use xvirt_pool::host::ManualHostClock;
use xvirt_pool::operation::{Caller, Failure, Login, Verbs as _};
use xvirt_pool::{Host, HostOptions};

use crate::support::{Place, Service};

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const HOUR: Duration = Duration::from_secs(3600);

fn add_user(service: &Service, name: &str, role: &str) -> Value {
    service.ok("user.xvirt_create", [json!(name), json!("A Name"), json!(role), json!(password(name))])
}

fn password(name: &str) -> String {
    format!("password of {name}")
}

fn log_in(service: &Service, name: &str, password: &str) -> Result<String, Failure> {
    let mut login = Login::new(name, password);
    login.from = Some(ADDRESS);
    service.0.log_in(&login)
}

fn caller(service: &Service, session: &str) -> Result<Caller, String> {
    service.0.caller(session, Some(ADDRESS)).map_err(|failure| failure.code)
}

/// Calls a verb as the user of a session.
fn call(service: &Service, session: &str, verb: &str, parameters: &[Value]) -> Result<Value, String> {
    let caller = caller(service, session)?;
    service.0.call(&caller, verb, parameters.to_vec()).map_err(|failure| failure.code)
}

#[test]
fn sessions_outlive_the_service_and_end_with_their_user() {
    let place = Place::new();
    let service = place.open();
    let user = add_user(&service, "alice", "vm-admin");
    for (name, wrong) in [("alice", "password of alicf"), ("bob", "password of alice"), ("", "")] {
        let failure = log_in(&service, name, wrong).unwrap_err();
        assert_eq!(
            (failure.code.as_str(), &failure.parameters[0]),
            ("SESSION_AUTHENTICATION_FAILED", &name.to_owned())
        );
    }
    let sessions: Vec<String> = (0..3).map(|_| log_in(&service, "alice", &password("alice")).unwrap()).collect();
    assert_eq!(call(&service, &sessions[0], "session.logout", &[]), Ok(Value::Null));
    drop(service);
    let service = place.open();
    assert_eq!(caller(&service, &sessions[0]).unwrap_err(), "SESSION_INVALID");
    assert!(call(&service, &sessions[1], "VM.get_all_records", &[]).is_ok());
    let record = call(&service, &sessions[1], "session.get_record", &[json!(sessions[1])]).unwrap();
    assert_eq!((&record["auth_user_name"], &record["this_user"]), (&json!("alice"), &user));
    assert!(!record.to_string().contains(&sessions[1]));
    // Nobody sees another session, not even of the same user; and the socket's is of no use elsewhere.
    assert_eq!(call(&service, &sessions[1], "session.get_uuid", &[json!(sessions[2])]).unwrap_err(), "HANDLE_INVALID");
    let mut login = Login::new("", "");
    login.local = Some(0);
    let local = service.0.log_in(&login).unwrap();
    assert_eq!(caller(&service, &local).unwrap_err(), "SESSION_INVALID");
    assert!(service.0.caller(&local, None).unwrap().role().is_none());

    service.ok("user.destroy", [user]);
    assert_eq!(caller(&service, &sessions[2]).unwrap_err(), "SESSION_INVALID");
    assert_eq!(log_in(&service, "alice", &password("alice")).unwrap_err().code, "SESSION_AUTHENTICATION_FAILED");
    // The name can be another one's.
    add_user(&service, "alice", "read-only");
}

#[test]
fn a_session_that_is_not_used_for_a_day_ends() {
    let place = Place::new();
    let clock = Arc::new(ManualHostClock::default());
    clock.set_unix(1_700_000_000);
    let options = |place: &Place| -> HostOptions { place.options().clock(Arc::clone(&clock) as _) };
    let service = Service(Host::open(options(&place)).unwrap());
    add_user(&service, "alice", "read-only");
    let session = log_in(&service, "alice", &password("alice")).unwrap();
    let idle = log_in(&service, "alice", &password("alice")).unwrap();
    clock.advance(HOUR * 20);
    assert!(caller(&service, &session).is_ok());
    drop(service);
    let service = Service(Host::open(options(&place)).unwrap());
    clock.advance(HOUR * 5);
    assert!(caller(&service, &session).is_ok());
    assert_eq!(caller(&service, &idle).unwrap_err(), "SESSION_INVALID");
    // A clock that is set changes nothing while the host runs.
    clock.set_unix(0);
    assert!(caller(&service, &session).is_ok());
    clock.set_unix(4_000_000_000);
    assert!(caller(&service, &session).is_ok());
    clock.advance(HOUR * 24);
    assert_eq!(caller(&service, &session).unwrap_err(), "SESSION_INVALID");
}

#[test]
fn a_role_allows_what_the_model_says() {
    let place = Place::new();
    let service = place.open();
    let none = json!("OpaqueRef:6d3ab9ad-4b8f-4d77-8cf0-0b3b1f1dd6a1");
    let start = [none.clone(), json!(false), json!(false)];
    let mut created = Vec::new();
    for (role, may_start, may_create, may_add_users) in [
        ("read-only", false, false, false),
        ("vm-operator", true, false, false),
        ("vm-admin", true, true, false),
        ("pool-operator", true, true, false),
        ("pool-admin", true, true, true),
    ] {
        add_user(&service, role, role);
        let session = log_in(&service, role, &password(role)).unwrap();
        let denied = |verb: &str, parameters: &[Value]| {
            call(&service, &session, verb, parameters) == Err("RBAC_PERMISSION_DENIED".to_owned())
        };
        assert!(!denied("VM.get_all_records", &[]), "{role}");
        assert_eq!(!denied("VM.start", &start), may_start, "{role}");
        assert_eq!(!denied("VM.create", &[json!({ "name_label": role })]), may_create, "{role}");
        assert_eq!(!denied("VM.set_name_label", &[none.clone(), json!("x")]), may_create, "{role}");
        assert_eq!(!denied("user.xvirt_get_all_records", &[]), may_add_users, "{role}");
        created.push(session);
    }
    // A role that is taken away is gone at once.
    let admin = service.ok("user.xvirt_get_all_records", []);
    let admin =
        admin.as_object().unwrap().iter().find(|(_, user)| user["short_name"] == "pool-admin").unwrap().0.clone();
    service.ok("user.xvirt_set_role", [json!(admin), json!("read-only")]);
    let last = created.last().unwrap();
    assert_eq!(call(&service, last, "user.xvirt_get_all_records", &[]).unwrap_err(), "RBAC_PERMISSION_DENIED");
}

#[test]
fn an_asynchronous_verb_that_is_denied_fails_its_task_which_only_its_owner_ends() {
    let place = Place::new();
    let service = place.open();
    let sessions = ["one", "other"].map(|name| {
        add_user(&service, name, "read-only");
        log_in(&service, name, &password(name)).unwrap()
    });
    let none = json!("OpaqueRef:6d3ab9ad-4b8f-4d77-8cf0-0b3b1f1dd6a1");
    let task = call(&service, &sessions[0], "Async.VM.start", &[none, json!(false), json!(false)]).unwrap();
    while service.field("task", &task, "status") == "pending" {
        std::thread::yield_now();
    }
    let error = service.field("task", &task, "error_info");
    assert_eq!((&error[0], &error[1]), (&json!("RBAC_PERMISSION_DENIED"), &json!("vm.start")));
    let destroy = |session| call(&service, session, "task.destroy", std::slice::from_ref(&task));
    assert_eq!(destroy(&sessions[1]).unwrap_err(), "RBAC_PERMISSION_DENIED");
    assert_eq!(destroy(&sessions[0]), Ok(Value::Null));
    // Wrong parameters are told at once.
    assert_eq!(call(&service, &sessions[0], "Async.VM.start", &[]).unwrap_err(), "MESSAGE_PARAMETER_COUNT_MISMATCH");
}

#[test]
fn passwords_are_changed_and_the_other_sessions_end() {
    let place = Place::new();
    let service = place.open();
    let user = add_user(&service, "alice", "read-only");
    let sessions = [0, 1].map(|_| log_in(&service, "alice", &password("alice")).unwrap());
    let change =
        |old: &str, new: &str| call(&service, &sessions[0], "session.change_password", &[json!(old), json!(new)]);
    assert_eq!(change("wrong", "a new password").unwrap_err(), "SESSION_AUTHENTICATION_FAILED");
    assert_eq!(change(&password("alice"), "short").unwrap_err(), "INVALID_VALUE");
    assert_eq!(change(&password("alice"), "a new password"), Ok(Value::Null));
    assert!(caller(&service, &sessions[0]).is_ok() && caller(&service, &sessions[1]).is_err());
    assert!(log_in(&service, "alice", &password("alice")).is_err());
    assert!(log_in(&service, "alice", "a new password").is_ok());
    service.ok("user.xvirt_set_password", [user, json!("another password")]);
    assert!(caller(&service, &sessions[0]).is_err());
    assert_eq!(service.code("session.change_password", [json!("x"), json!("a new password")]), "OPERATION_NOT_ALLOWED");
}

#[test]
fn users_that_cannot_be_are_refused() {
    let place = Place::new();
    let service = place.open();
    add_user(&service, "alice", "read-only");
    for (name, role, password) in [
        ("alice", "read-only", "long enough"),
        ("", "read-only", "long enough"),
        ("with space", "read-only", "long enough"),
        ("bob", "root", "long enough"),
        ("bob", "client-cert", "long enough"),
        ("bob", "read-only", "short"),
    ] {
        let code = service.code("user.xvirt_create", [json!(name), json!(""), json!(role), json!(password)]);
        assert_eq!(code, "INVALID_VALUE", "{name} {role}");
    }
    assert_eq!(service.code("user.create", [json!({ "short_name": "bob" })]), "NOT_IMPLEMENTED");
    let roles = service.ok("role.get_all_records", []);
    assert_eq!(roles.as_object().unwrap().len(), 6);
}
