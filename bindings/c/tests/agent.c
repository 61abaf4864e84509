/* The guest agent. */

#include "support/check.h"

#include <fcntl.h>
#include <unistd.h>

static bool collect(void *user_data, XvirtOutputStream stream, const uint8_t *bytes, size_t length) {
    char *text = user_data;
    CHECK(stream == XVIRT_OUTPUT_STREAM_STDOUT || stream == XVIRT_OUTPUT_STREAM_STDERR);
    strncat(text, (const char *)bytes, length);
    return true;
}

/* What the small agent of the demo guest refuses, as do agents whose administrator has disabled it. */
static void refused(const XvirtGuestAgent *agent) {
    uint8_t *bytes = NULL;
    size_t length = 0;
    FAILS(XVIRT_STATUS_AGENT_REFUSED, xvirt_guest_agent_read_file(agent, "/etc/hostname", 100, NULL, &bytes, &length, &error));
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    uint64_t count = 0;
    FAILS(XVIRT_STATUS_AGENT_REFUSED, xvirt_guest_agent_read_file_to(agent, "/etc/hostname", null, NULL, &count, &error));
    FAILS(XVIRT_STATUS_AGENT_REFUSED, xvirt_guest_agent_write_file(agent, "/tmp/a", (const uint8_t *)"a", 1, NULL, &error));
    FAILS(XVIRT_STATUS_AGENT_REFUSED, xvirt_guest_agent_write_file_from(agent, "/tmp/a", null, NULL, &count, &error));
    close(null);
    XvirtFrozenFileSystems *frozen = NULL;
    FAILS(XVIRT_STATUS_AGENT_REFUSED, xvirt_guest_agent_freeze_file_systems(agent, SECONDS(1), NULL, &frozen, &error));
    CHECK(frozen == NULL);
    size_t thawed = 0;
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_frozen_file_systems_count(frozen, &thawed, &error));
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_frozen_file_systems_thaw(frozen, NULL, &thawed, &error));
    xvirt_frozen_file_systems_free(frozen);
    XvirtNetworkInterfaceList *interfaces = NULL;
    FAILS(XVIRT_STATUS_AGENT_REFUSED, xvirt_guest_agent_network_interfaces(agent, NULL, &interfaces, &error));
    xvirt_network_interface_list_free(interfaces);
}

int main(void) {
    XvirtHost *host = probe();
    XvirtVm *vm = demo_vm(host, "agent", "mode=agent,echo", NULL, 0);
    XvirtGuestAgent *usual = NULL, *agent = NULL;
    OK(xvirt_vm_agent(vm, &usual, &error));
    OK(xvirt_guest_agent_with_timeout(usual, SECONDS(60), &agent, &error));
    xvirt_guest_agent_free(usual);
    uint64_t timeout = 0;
    OK(xvirt_guest_agent_timeout(agent, &timeout, &error));
    CHECK(timeout == SECONDS(60));
    XvirtCall call = {.struct_size = sizeof call, .timeout_ns = SECONDS(60)};
    FAILS(XVIRT_STATUS_INVALID_STATE, xvirt_guest_agent_wait_ready(agent, &call, &error));
    OK(xvirt_vm_start(vm, NULL, &error));
    OK(xvirt_guest_agent_wait_ready(agent, &call, &error));
    bool present = false;
    OK(xvirt_guest_agent_is_present(agent, &present, &error));
    CHECK(present);
    OK(xvirt_guest_agent_ping(agent, NULL, &error));
    XvirtAgentInfo *info = NULL;
    OK(xvirt_guest_agent_info(agent, NULL, &info, &error));
    CHECK(info->command_count > 0 && strlen(info->version) > 0);
    xvirt_agent_info_free(info);
    uint64_t time = 0;
    OK(xvirt_guest_agent_time(agent, NULL, &time, &error));
    CHECK(time == UINT64_C(1700000000123456789));
    OK(xvirt_guest_agent_set_time(agent, time, NULL, &error));

    const char *args[] = {"a", "b"};
    XvirtGuestCommand command = {.struct_size = sizeof command, .program = "hello", .args = args, .arg_count = 2,
                                 .has_timeout = true, .timeout_ns = SECONDS(60)};
    XvirtCommandOutput *output = NULL;
    OK(xvirt_guest_agent_run(agent, &command, NULL, &output, &error));
    CHECK(output->status->kind == XVIRT_COMMAND_STATUS_KIND_EXITED && output->status->exited == 3);
    CHECK(output->standard_output_length == 6 && memcmp(output->standard_output, "hello\n", 6) == 0 && !output->stdout_truncated);
    xvirt_command_output_free(output);
    XvirtGuestCommand none = {.struct_size = sizeof none};
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_guest_agent_run(agent, &none, NULL, &output, &error));
    char text[100] = "";
    XvirtCommandStatus *status = NULL;
    XvirtError *error = NULL;
    if (xvirt_guest_agent_run_streamed(agent, &command, collect, text, NULL, &status, &error) != XVIRT_STATUS_OK)
        CHECK(xvirt_error_status(error) == XVIRT_STATUS_AGENT_REFUSED);
    xvirt_command_status_free(status);
    xvirt_error_free(error);
    refused(agent);
    error = NULL;
    XvirtStatus rebooted = xvirt_guest_agent_reboot(agent, NULL, &error);
    CHECK(rebooted == XVIRT_STATUS_OK || xvirt_error_message(error)[0] != 0);
    xvirt_error_free(error);
    /* The agent of the demo guest knows only one way down. */
    OK(xvirt_vm_wait_halted(vm, &call, &error));
    OK(xvirt_vm_start(vm, NULL, &error));
    OK(xvirt_guest_agent_wait_ready(agent, &call, &error));
    OK(xvirt_guest_agent_shutdown(agent, NULL, &error));
    OK(xvirt_vm_wait_halted(vm, &call, &error));
    xvirt_guest_agent_free(agent);
    xvirt_vm_free(vm);
    xvirt_host_free(host);
    return 0;
}
