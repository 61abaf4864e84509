/* Runs several VMs in one thread: poll(2) waits for their events and for their consoles. */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include <xvirt.h>

#define VMS 3

static void check(XvirtStatus status, XvirtError **error) {
    if (status == XVIRT_STATUS_OK)
        return;
    fprintf(stderr, "event-loop: %s\n", xvirt_error_text(*error));
    xvirt_error_free(*error);
    exit(1);
}

static XvirtVm *build(const XvirtHost *host, int number) {
    XvirtError *error = NULL;
    const uint8_t *image = NULL;
    size_t length = 0;
    char name[32];
    snprintf(name, sizeof name, "vm-%d", number);
    check(xvirt_demo_kernel(&image, &length, &error), &error);
    XvirtBootFile file = {
        .struct_size = sizeof file, .kind = XVIRT_BOOT_FILE_KIND_BYTES, .bytes = image, .bytes_length = length};
    XvirtBootKernel kernel = {
        .struct_size = sizeof kernel, .kernel = &file, .command_line = "mode=hello,poweroff"};
    XvirtBoot boot = {.struct_size = sizeof boot, .kind = XVIRT_BOOT_KIND_KERNEL, .kernel = &kernel};
    XvirtVmConfig config = {.struct_size = sizeof config, .name = name, .memory = 64 << 20, .boot = &boot};
    XvirtVm *vm = NULL;
    check(xvirt_vm_config_build(&config, host, NULL, &vm, &error), &error);
    return vm;
}

/* Counts the output that is there. It is 0 at the end of the console. */
static size_t drain(XvirtConsoleReader *reader) {
    XvirtError *error = NULL;
    uint8_t buffer[4096];
    size_t count = 0, total = 0;
    bool is_ready = false;
    do {
        check(xvirt_console_reader_try_read(reader, buffer, sizeof buffer, &is_ready, &count, &error), &error);
        total += count;
    } while (is_ready && count > 0);
    return total;
}

/* Takes all events that are there. The number of VMs that have halted. */
static int halted(XvirtEventReceiver *events) {
    XvirtError *error = NULL;
    int count = 0;
    for (;;) {
        XvirtEventRecord *record = NULL;
        check(xvirt_event_receiver_try_next(events, &record, &error), &error);
        if (record == NULL)
            return count;
        switch (record->event->kind) {
        case XVIRT_EVENT_KIND_STARTED:
            printf("%s has started\n", record->vm);
            break;
        case XVIRT_EVENT_KIND_GUEST_SHUTDOWN:
            printf("%s has shut down\n", record->vm);
            count++;
            break;
        case XVIRT_EVENT_KIND_CRASHED:
            printf("%s has crashed\n", record->vm);
            count++;
            break;
        default:
            break;
        }
        xvirt_event_record_free(record);
    }
}

int main(void) {
    XvirtError *error = NULL;
    XvirtHost *host = NULL;
    check(xvirt_host_probe(NULL, &host, &error), &error);

    /* One receiver for the events of all VMs, and a reader for each console. */
    XvirtEventReceiver *events = NULL;
    check(xvirt_event_receiver_new(&events, &error), &error);
    XvirtVm *vms[VMS];
    XvirtConsoleReader *readers[VMS];
    struct pollfd polled[VMS + 1];
    for (int i = 0; i < VMS; i++) {
        XvirtConsole *console = NULL;
        vms[i] = build(host, i);
        check(xvirt_event_receiver_listen(events, vms[i], &error), &error);
        check(xvirt_vm_console(vms[i], &console, &error), &error);
        check(xvirt_console_reader(console, &readers[i], &error), &error);
        xvirt_console_free(console);
        polled[i].events = POLLIN;
        check(xvirt_console_reader_event_fd(readers[i], &polled[i].fd, &error), &error);
        check(xvirt_vm_start(vms[i], NULL, &error), &error);
    }
    polled[VMS].events = POLLIN;
    check(xvirt_event_receiver_fd(events, &polled[VMS].fd, &error), &error);

    size_t printed = 0;
    for (int running = VMS; running > 0;) {
        if (poll(polled, VMS + 1, 60000) <= 0) {
            fprintf(stderr, "event-loop: nothing happened for a minute\n");
            return 1;
        }
        for (int i = 0; i < VMS; i++)
            if (polled[i].revents != 0)
                printed += drain(readers[i]);
        if (polled[VMS].revents != 0)
            running -= halted(events);
    }
    for (int i = 0; i < VMS; i++) {
        printed += drain(readers[i]);
        xvirt_console_reader_free(readers[i]);
        xvirt_vm_free(vms[i]);
    }
    printf("%d VMs have printed %zu bytes\n", VMS, printed);
    xvirt_event_receiver_free(events);
    xvirt_host_free(host);
    return printed > 0 ? 0 : 1;
}
