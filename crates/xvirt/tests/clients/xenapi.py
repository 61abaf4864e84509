"""Drives a host service with the package XenAPI of PyPI: its arguments are the socket, the addresses of HTTPS and HTTP, and
a file with the command line of the demo guest. Prints the references of its sessions."""

import sys
import xmlrpc.client

import XenAPI
from XenAPI import XenAPI as module

SOCKET, HTTPS, HTTP, LINE = sys.argv[1:]
with open(LINE, encoding="utf-8") as file:
    COMMAND_LINE = file.read()


HIDDEN = ["secret"]


def socket_session():
    return XenAPI.Session("http://" + SOCKET.replace("/", "_"), transport=module.UDSTransport())


def remote_session(scheme="https", address=HTTPS):
    return XenAPI.Session(f"{scheme}://{address}")


def failure(call, *arguments):
    """The code and the parameters of the failure of a call."""
    try:
        call(*arguments)
    except XenAPI.Failure as failed:
        return failed.details
    raise AssertionError(f"{call} has not failed")


def logged_in(session, user, password):
    session.login_with_password(user, password, "2.21", "xvirt test")
    assert session._session.startswith("OpaqueRef:")
    print("session", session._session)
    return session


def every_class(session, hidden=()):
    """The records of every class that has them are there."""
    methods = session.system.listMethods()
    classes = [name.removesuffix(".get_all_records") for name in methods if name.endswith(".get_all_records")]
    assert len(classes) > 50 and "VM" in classes, classes
    for name in classes:
        try:
            records = getattr(session.xenapi, name).get_all_records()
        except XenAPI.Failure as failed:
            # Secrets are not for those who may only look.
            assert name in hidden and failed.details[0] == "RBAC_PERMISSION_DENIED", (name, failed)
            continue
        assert isinstance(records, dict), name
        for reference, record in records.items():
            assert reference.startswith("OpaqueRef:") and isinstance(record["uuid"], str), name
    pool = session.xenapi.pool.get_all()[0]
    host = session.xenapi.pool.get_master(pool)
    record = session.xenapi.host.get_record(host)
    assert isinstance(record["enabled"], bool) and isinstance(record["API_version_major"], str)
    metrics = session.xenapi.host_metrics.get_record(record["metrics"])
    assert isinstance(metrics["last_updated"], xmlrpc.client.DateTime) and int(metrics["memory_total"]) > 0
    assert session.API_version
    assert session.xenapi.VM.get_by_name_label("no such VM") == []


def life_of_a_vm(session):
    api = session.xenapi
    record = {
        "name_label": "démo <&>", "name_description": "", "user_version": "1", "is_a_template": False, "affinity": "",
        "memory_static_max": str(64 << 20), "memory_static_min": str(64 << 20),
        "memory_dynamic_max": str(64 << 20), "memory_dynamic_min": str(64 << 20), "VCPUs_params": {}, "VCPUs_max": "1",
        "VCPUs_at_startup": "1", "actions_after_shutdown": "destroy", "actions_after_reboot": "restart",
        "actions_after_crash": "destroy", "PV_bootloader": "", "PV_kernel": "demo", "PV_ramdisk": "",
        "PV_args": COMMAND_LINE, "PV_bootloader_args": "", "PV_legacy_args": "", "HVM_boot_policy": "",
        "HVM_boot_params": {}, "platform": {}, "PCI_bus": "", "other_config": {"folder": "/a"}, "recommendations": "",
    }
    vm = api.VM.create(record)
    assert api.VM.get_by_name_label("démo <&>") == [vm]
    assert api.VM.get_other_config(vm) == {"folder": "/a"}
    api.VM.add_to_other_config(vm, "key", " a\n<b> ")
    assert api.VM.get_other_config(vm)["key"] == " a\n<b> "
    assert failure(api.VM.add_to_other_config, vm, "key", "x")[0] == "MAP_DUPLICATE_KEY"
    assert failure(api.VM.set_name_label, vm)[:1] == ["MESSAGE_PARAMETER_COUNT_MISMATCH"]
    api.VM.start(vm, False, False)
    running = api.VM.get_record(vm)
    assert running["power_state"] == "Running" and running["memory_static_max"] == str(64 << 20)
    wrong = failure(api.VM.start, vm, False, False)
    assert wrong[:4] == ["VM_BAD_POWER_STATE", vm, "halted", "running"], wrong
    api.VM.hard_shutdown(vm)
    task = api.Async.VM.destroy(vm)
    while api.task.get_status(task) == "pending":
        pass
    assert api.task.get_status(task) == "success"
    api.task.destroy(task)
    assert failure(api.VM.get_record, vm)[:3] == ["HANDLE_INVALID", "VM", vm]


def own_session(session):
    api, own = session.xenapi.session, session._session
    record = api.get_record(own)
    assert own not in str(record) and record["originator"] == "xvirt test"
    assert api.get_uuid(own) == record["uuid"]
    assert api.get_this_host(own) == session.xenapi.host.get_all()[0]
    api.add_to_other_config(own, "a", "b")
    assert api.get_other_config(own) == {"a": "b"}
    return record


# On the socket whoever may connect may do everything: neither the name nor the password is looked at.
local = logged_in(socket_session(), "", "")
assert own_session(local)["is_local_superuser"] is True
every_class(local)
life_of_a_vm(local)

# From the network, only users with their passwords are let in.
wrong = failure(remote_session().login_with_password, "root", "correct hors")
assert wrong[:2] == ["SESSION_AUTHENTICATION_FAILED", "root"], wrong
stranger = remote_session()
stranger._session = "OpaqueRef:6d3ab9ad-4b8f-4d77-8cf0-0b3b1f1dd6a1"
invalid = stranger.VM.get_all(stranger._session)
assert invalid["Status"] == "Failure" and invalid["ErrorDescription"][:2] == ["SESSION_INVALID", stranger._session]
stolen = remote_session().VM.get_all(local._session)
assert stolen["ErrorDescription"][0] == "SESSION_INVALID"

remote = logged_in(remote_session(), "root", "correct horse")
record = own_session(remote)
assert record["is_local_superuser"] is False and record["auth_user_name"] == "root"
assert "vm.start" in record["rbac_permissions"] and record["this_user"] != "OpaqueRef:NULL"
assert remote.xenapi.session.get_all_subject_identifiers() == [record["auth_user_sid"]]
every_class(remote)
life_of_a_vm(remote)
assert failure(remote.xenapi.session.get_uuid, local._session)[0] == "HANDLE_INVALID"

looker = logged_in(remote_session("http", HTTP), "looker", "battery staple")
every_class(looker, hidden=HIDDEN)
denied = failure(looker.xenapi.VM.create, {})
assert denied[:2] == ["RBAC_PERMISSION_DENIED", "vm.create"] and "vm-admin" in denied[2], denied
task = looker.xenapi.Async.VM.start("OpaqueRef:6d3ab9ad-4b8f-4d77-8cf0-0b3b1f1dd6a1", False, False)
while looker.xenapi.task.get_status(task) == "pending":
    pass
assert looker.xenapi.task.get_error_info(task)[0] == "RBAC_PERMISSION_DENIED"
theirs = remote.xenapi.Async.VM.destroy("OpaqueRef:6d3ab9ad-4b8f-4d77-8cf0-0b3b1f1dd6a1")
assert failure(looker.xenapi.task.destroy, theirs)[:2] == ["RBAC_PERMISSION_DENIED", "task.destroy"]
looker.xenapi.task.destroy(task)

assert failure(looker.xenapi.session.change_password, "wrong", "another horse")[0] == "SESSION_AUTHENTICATION_FAILED"
looker.xenapi.session.change_password("battery staple", "battery stable")
looker.xenapi.session.change_password("battery stable", "battery staple")

ended = looker._session
looker.xenapi.session.logout()
again = remote_session().VM.get_all(ended)
assert again["ErrorDescription"][:2] == ["SESSION_INVALID", ended]
remote.xenapi.session.logout()
local.xenapi.session.logout()
