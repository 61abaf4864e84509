/* A VM from its configuration to its end: console, events, power states, statistics. */

#include "support/check.h"

#include <poll.h>

/* Waits for events until one of this kind. */
static void wait_event(const XvirtEventReceiver *events, XvirtEventKind kind) {
    int descriptor = -1;
    OK(xvirt_event_receiver_fd(events, &descriptor, &error));
    for (;;) {
        struct pollfd polled = {.fd = descriptor, .events = POLLIN};
        CHECK(poll(&polled, 1, 60000) == 1);
        for (;;) {
            XvirtEventRecord *record = NULL;
            OK(xvirt_event_receiver_try_next(events, &record, &error));
            if (record == NULL)
                break;
            XvirtEventKind found = record->event->kind;
            CHECK(record->time_ns > UINT64_C(1600000000) * 1000000000);
            xvirt_event_record_free(record);
            if (found == kind)
                return;
        }
    }
}

/* Counts the lines until the guest says that it is done. */
static bool count_lines(void *user_data, const uint8_t *bytes, size_t length) {
    static char all[1 << 16];
    size_t there = strlen(all);
    CHECK(length > 0 && there + length < sizeof all);
    memcpy(all + there, bytes, length);
    for (size_t i = 0; i < length; i++)
        *(unsigned *)user_data += bytes[i] == '\n';
    return strstr(all, "demo: done") == NULL;
}

static void follow(const XvirtVm *vm) {
    unsigned lines = 0;
    XvirtConsoleReader *reader = reader_of(vm);
    XvirtCall minute = {.struct_size = sizeof minute, .timeout_ns = SECONDS(60)};
    OK(xvirt_console_reader_follow(reader, count_lines, &lines, &minute, &error));
    CHECK(lines > 1);
    /* No more comes, since the VM is halted. */
    XvirtCall soon = {.struct_size = sizeof soon, .timeout_ns = SECONDS(1) / 10};
    FAILS(XVIRT_STATUS_TIMEOUT, xvirt_console_reader_follow(reader, count_lines, &lines, &soon, &error));
    /* After the console, nothing is to be waited for. */
    XvirtConsole *console = NULL;
    OK(xvirt_vm_console(vm, &console, &error));
    OK(xvirt_console_close(console, &error));
    OK(xvirt_console_reader_follow(reader, count_lines, &lines, NULL, &error));
    xvirt_console_free(console);
    xvirt_console_reader_free(reader);
}

int main(void) {
    XvirtHost *host = probe();
    XvirtVm *vm = demo_vm(host, "lifecycle", "mode=hello,poweroff", NULL, 0);
    XvirtEventReceiver *events = NULL;
    OK(xvirt_vm_events(vm, &events, &error));
    char *name = NULL;
    OK(xvirt_vm_name(vm, &name, &error));
    CHECK(strcmp(name, "lifecycle") == 0);
    xvirt_free(name);
    CHECK(state_of(vm) == XVIRT_POWER_STATE_HALTED);

    XvirtConsoleReader *reader = reader_of(vm);
    OK(xvirt_vm_start(vm, NULL, &error));
    wait_event(events, XVIRT_EVENT_KIND_STARTED);
    wait_for(reader, "xvirt demo");
    XvirtCall minute = {.struct_size = sizeof minute, .timeout_ns = SECONDS(60)};
    OK(xvirt_vm_wait_halted(vm, &minute, &error));
    wait_event(events, XVIRT_EVENT_KIND_GUEST_SHUTDOWN);
    CHECK(state_of(vm) == XVIRT_POWER_STATE_HALTED);
    XvirtHalted *halted = NULL;
    OK(xvirt_vm_halted(vm, &halted, &error));
    CHECK(halted != NULL && halted->cause->kind == XVIRT_HALT_CAUSE_KIND_GUEST_SHUTDOWN);
    xvirt_halted_free(halted);

    FAILS(XVIRT_STATUS_INVALID_STATE, xvirt_vm_pause(vm, NULL, &error));
    follow(vm);
    xvirt_vm_free(vm);

    vm = demo_vm(host, "runs", "mode=counter", NULL, 0);
    OK(xvirt_vm_start(vm, NULL, &error));
    XvirtStatistics *statistics = NULL;
    OK(xvirt_vm_statistics(vm, &statistics, &error));
    CHECK(statistics->vcpu_count == 1 && statistics->vcpus[0]->exits != NULL);
    xvirt_statistics_free(statistics);
    OK(xvirt_vm_pause(vm, NULL, &error));
    CHECK(state_of(vm) == XVIRT_POWER_STATE_PAUSED);
    XvirtVerbList *verbs = NULL;
    OK(xvirt_vm_allowed_operations(vm, &verbs, &error));
    CHECK(verbs->count > 3);
    xvirt_verb_list_free(verbs);
    OK(xvirt_vm_unpause(vm, NULL, &error));
    /* A guest that does not react to the power button. */
    XvirtCall soon = {.struct_size = sizeof soon, .timeout_ns = SECONDS(1) / 5};
    FAILS(XVIRT_STATUS_TIMEOUT, xvirt_vm_wait_halted(vm, &soon, &error));
    OK(xvirt_vm_hard_shutdown(vm, NULL, &error));
    CHECK(state_of(vm) == XVIRT_POWER_STATE_HALTED);
    xvirt_vm_free(vm);
    wait_event(events, XVIRT_EVENT_KIND_DROPPED);

    xvirt_console_reader_free(reader);
    xvirt_event_receiver_free(events);
    xvirt_host_free(host);
    return 0;
}
