/* What goes into a VM and out of it: consoles, networks, vsock, events of several VMs. */

#include "support/check.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void consoles(const XvirtHost *host) {
    XvirtVm *vm = demo_vm(host, "consoles", "mode=echo", NULL, 0);
    XvirtConsole *console = NULL, *virtio = NULL;
    OK(xvirt_vm_console(vm, &console, &error));
    OK(xvirt_vm_virtio_console(vm, &virtio, &error));
    XvirtConsoleReader *reader = NULL, *late = NULL;
    OK(xvirt_console_reader(virtio, &reader, &error));
    uint8_t buffer[4096];
    bool is_ready = true;
    size_t count = 7;
    OK(xvirt_console_reader_try_read(reader, buffer, sizeof buffer, &is_ready, &count, &error));
    CHECK(!is_ready && count == 0);
    XvirtCall soon = {.struct_size = sizeof soon, .timeout_ns = 1};
    FAILS(XVIRT_STATUS_TIMEOUT, xvirt_console_reader_read(reader, buffer, sizeof buffer, &soon, &count, &error));
    int descriptor = -1;
    OK(xvirt_console_reader_event_fd(reader, &descriptor, &error));
    OK(xvirt_vm_start(vm, NULL, &error));
    XvirtConsoleReader *serial = NULL;
    OK(xvirt_console_reader(console, &serial, &error));
    wait_for(serial, "echo: ready");
    xvirt_console_reader_free(serial);
    OK(xvirt_console_write_all(virtio, (const uint8_t *)"ping\n", 5, NULL, &error));
    struct pollfd polled = {.fd = descriptor, .events = POLLIN};
    CHECK(poll(&polled, 1, 60000) == 1);
    OK(xvirt_console_reader_read(reader, buffer, sizeof buffer, NULL, &count, &error));
    CHECK(count > 0);
    OK(xvirt_console_reader_at_end(virtio, &late, &error));
    OK(xvirt_console_try_write(virtio, (const uint8_t *)"status\n", 7, &count, &error));
    CHECK(count == 7);
    wait_for(late, "status: cpus=1");
    uint64_t lost = 1;
    OK(xvirt_console_reader_lost(late, &lost, &error));
    CHECK(lost == 0);
    XvirtConsoleWriter *writer = NULL;
    OK(xvirt_console_writer(virtio, &writer, &error));
    OK(xvirt_console_writer_fd(writer, &descriptor, &error));
    /* More than there is room for, until the guest has read some of it. */
    static uint8_t lines[1 << 20];
    memset(lines, '\n', sizeof lines);
    OK(xvirt_console_writer_try_write(writer, lines, sizeof lines, &count, &error));
    CHECK(count > 0 && count < sizeof lines);
    polled.fd = descriptor;
    CHECK(poll(&polled, 1, 60000) == 1);
    xvirt_console_writer_free(writer);

    XvirtPtyAttachment *pty = NULL;
    char *path = NULL;
    OK(xvirt_console_attach_pty(console, NULL, &pty, &error));
    OK(xvirt_pty_attachment_path(pty, &path, &error));
    CHECK(access(path, R_OK | W_OK) == 0);
    xvirt_free(path);
    xvirt_pty_attachment_free(pty);
    char *socket_path = path_of("console.sock");
    XvirtSocketAttachment *attached = NULL;
    OK(xvirt_console_attach_unix_socket(console, socket_path, NULL, &attached, &error));
    OK(xvirt_socket_attachment_path(attached, &path, &error));
    is_text(path, socket_path);
    xvirt_socket_attachment_free(attached);
    free(socket_path);
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    XvirtConnectionAttachment *connection = NULL;
    OK(xvirt_console_attach_connection(console, pair[0], NULL, &connection, &error));
    CHECK(close(pair[0]) == 0 && read(pair[1], buffer, 1) == 1);
    bool over = true;
    OK(xvirt_connection_attachment_is_over(connection, &over, &error));
    CHECK(!over);
    xvirt_connection_attachment_free(connection);
    CHECK(close(pair[1]) == 0);
    xvirt_vm_free(vm);
    /* The end of a console. */
    do
        OK(xvirt_console_reader_read(reader, buffer, sizeof buffer, NULL, &count, &error));
    while (count > 0);
    xvirt_console_reader_free(reader);
    xvirt_console_reader_free(late);
    xvirt_console_free(console);
    xvirt_console_free(virtio);
    OK(xvirt_console_new(&console, &error));
    OK(xvirt_console_close(console, &error));
    xvirt_console_free(console);
    OK(xvirt_console_with_capacity(4096, &console, &error));
    xvirt_console_free(console);
}

struct network {
    atomic_uint frames, released;
    XvirtNetwork *network;
};

static void transmit(void *user_data, const uint8_t *frame, size_t length) {
    struct network *network = user_data;
    CHECK(length >= 14 && frame != NULL);
    atomic_fetch_add(&network->frames, 1);
}

static void released(void *user_data) {
    atomic_fetch_add(&((struct network *)user_data)->released, 1);
}

/* The demo guest sends each frame back. */
static void networks(const XvirtHost *host) {
    struct network program = {0};
    XvirtNetworkOperations operations = {
        .struct_size = sizeof operations, .transmit = transmit, .release = released, .user_data = &program};
    OK(xvirt_network_new(&operations, &program.network, &error));
    XvirtFrameStream *stream = NULL, *second = NULL;
    OK(xvirt_network_frame_stream(program.network, &stream, &error));
    FAILS(XVIRT_STATUS_INVALID_STATE, xvirt_network_frame_stream(program.network, &second, &error));
    char *path = NULL;
    OK(xvirt_frame_stream_path(stream, &path, &error));
    CHECK(path == NULL);
    FAILS(XVIRT_STATUS_NOT_FOUND, xvirt_frame_stream_connect("/nowhere/net.sock", NULL, &second, &error));

    XvirtNicBackendConfig backend = {
        .struct_size = sizeof backend, .kind = XVIRT_NIC_BACKEND_CONFIG_KIND_CONNECTION, .connection = stream};
    XvirtNic nic = {.struct_size = sizeof nic, .backend = &backend, .mac = "02:00:00:00:00:07"};
    const uint8_t *bytes = NULL;
    size_t length = 0;
    OK(xvirt_demo_kernel(&bytes, &length, &error));
    XvirtBootFile file = {.struct_size = sizeof file, .kind = XVIRT_BOOT_FILE_KIND_BYTES, .bytes = bytes, .bytes_length = length};
    XvirtBootKernel kernel = {.struct_size = sizeof kernel, .kernel = &file, .command_line = "mode=net"};
    XvirtBoot boot = {.struct_size = sizeof boot, .kind = XVIRT_BOOT_KIND_KERNEL, .kernel = &kernel};
    const XvirtNic *nics[] = {&nic};
    XvirtVmConfig config = {.struct_size = sizeof config, .name = "network", .memory = UINT64_C(64) << 20, .seccomp = seccomp(), .boot = &boot,
                            .nics = nics, .nic_count = 1};
    XvirtVm *vm = NULL;
    OK(xvirt_vm_config_build(&config, host, NULL, &vm, &error));
    xvirt_frame_stream_free(stream);
    XvirtConsoleReader *reader = reader_of(vm);
    OK(xvirt_vm_start(vm, NULL, &error));
    wait_for(reader, "net");
    uint8_t frame[60] = {2, 0, 0, 0, 0, 7, 2, 0, 0, 0, 0, 9, 0x88, 0xb5};
    for (int i = 0; i < 600 && atomic_load(&program.frames) == 0; i++) {
        XvirtError *error = NULL;
        xvirt_network_send(program.network, frame, sizeof frame, &error);
        xvirt_error_free(error);
        usleep(100000);
    }
    CHECK(atomic_load(&program.frames) > 0);
    XvirtNicStatusList *status = NULL;
    OK(xvirt_vm_nics(vm, &status, &error));
    CHECK(status->count == 1 && strcmp(status->items[0]->mac, "02:00:00:00:00:07") == 0 && status->items[0]->link_up);
    size_t position = status->items[0]->position;
    xvirt_nic_status_list_free(status);
    XvirtSizeList *positions = NULL;
    OK(xvirt_vm_nic_positions(vm, &positions, &error));
    CHECK(positions->count == 1 && positions->items[0] == position);
    xvirt_size_list_free(positions);
    XvirtRateLimit rate = {.struct_size = sizeof rate, .has_bytes_per_second = true, .bytes_per_second = 1 << 20};
    XvirtNicLimit limit = {.struct_size = sizeof limit, .receive = &rate};
    OK(xvirt_vm_set_nic_limit(vm, position, &limit, NULL, &error));
    OK(xvirt_vm_set_link(vm, position, false, NULL, &error));
    OK(xvirt_vm_set_link(vm, position, true, NULL, &error));
    size_t plugged = 0;
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    OK(xvirt_frame_stream_new(pair[0], &stream, &error));
    OK(xvirt_frame_stream_new(pair[1], &second, &error));
    OK(xvirt_frame_stream_send(stream, frame, sizeof frame, &error));
    uint8_t received[1600];
    OK(xvirt_frame_stream_receive(second, received, sizeof received, &length, &error));
    CHECK(length == sizeof frame && memcmp(received, frame, length) == 0);
    OK(xvirt_frame_stream_receive(second, received, sizeof received, &length, &error));
    CHECK(length == 0);
    backend.connection = stream;
    nic.mac = NULL;
    OK(xvirt_vm_plug_nic(vm, &nic, NULL, &plugged, &error));
    XvirtCall soon = {.struct_size = sizeof soon, .timeout_ns = SECONDS(1) / 10};
    FAILS(XVIRT_STATUS_TIMEOUT, xvirt_vm_unplug_nic(vm, plugged, &soon, &error));
    close(pair[0]);
    close(pair[1]);
    xvirt_frame_stream_free(stream);
    xvirt_frame_stream_free(second);
    xvirt_console_reader_free(reader);
    xvirt_vm_free(vm);
    FAILS(XVIRT_STATUS_GONE, xvirt_network_send(program.network, frame, sizeof frame, &error));
    xvirt_network_free(program.network);
    CHECK(atomic_load(&program.released) == 1);
}

static void vsock(const XvirtHost *host) {
    char *path = path_of("v.sock");
    const uint8_t *bytes = NULL;
    size_t length = 0;
    OK(xvirt_demo_kernel(&bytes, &length, &error));
    XvirtBootFile file = {.struct_size = sizeof file, .kind = XVIRT_BOOT_FILE_KIND_BYTES, .bytes = bytes, .bytes_length = length};
    XvirtBootKernel kernel = {.struct_size = sizeof kernel, .kernel = &file, .command_line = "mode=vsock"};
    XvirtBoot boot = {.struct_size = sizeof boot, .kind = XVIRT_BOOT_KIND_KERNEL, .kernel = &kernel};
    XvirtVsock device = {.struct_size = sizeof device, .cid = 77, .path = path};
    XvirtVmConfig config = {.struct_size = sizeof config, .name = "vsock", .memory = UINT64_C(64) << 20, .seccomp = seccomp(), .boot = &boot, .vsock = &device};
    XvirtVm *vm = NULL;
    OK(xvirt_vm_config_build(&config, host, NULL, &vm, &error));
    char *found = NULL;
    OK(xvirt_vm_vsock_path(vm, &found, &error));
    is_text(found, path);
    XvirtVsockListener *listener = NULL;
    OK(xvirt_vm_vsock_listen(vm, 9000, NULL, &listener, &error));
    int descriptor = -1, accepted = 7;
    OK(xvirt_vsock_listener_fd(listener, &descriptor, &error));
    CHECK(descriptor >= 0);
    OK(xvirt_vsock_listener_try_accept(listener, &accepted, &error));
    CHECK(accepted == -1);
    XvirtConsoleReader *reader = reader_of(vm);
    OK(xvirt_vm_start(vm, NULL, &error));
    wait_for(reader, "vsock: cid=77 ready");
    XvirtCall call = {.struct_size = sizeof call, .timeout_ns = SECONDS(60)};
    int socket = -1;
    OK(xvirt_vm_vsock_connect(vm, 1000, &call, &socket, &error));
    CHECK(write(socket, "hello", 5) == 5);
    char echo[5];
    for (size_t got = 0; got < sizeof echo;) {
        ssize_t count = read(socket, echo + got, sizeof echo - got);
        CHECK(count > 0);
        got += (size_t)count;
    }
    CHECK(memcmp(echo, "hello", 5) == 0);
    close(socket);
    XvirtCall soon = {.struct_size = sizeof soon, .timeout_ns = SECONDS(1) / 10};
    FAILS(XVIRT_STATUS_TIMEOUT, xvirt_vsock_listener_accept(listener, &soon, &accepted, &error));
    xvirt_vsock_listener_free(listener);
    xvirt_console_reader_free(reader);
    xvirt_vm_free(vm);
    free(path);
}

/* One receiver for the events of two VMs. */
static void events(const XvirtHost *host) {
    XvirtEventReceiver *receiver = NULL;
    OK(xvirt_event_receiver_new(&receiver, &error));
    XvirtVm *vms[2];
    for (int i = 0; i < 2; i++) {
        vms[i] = demo_vm(host, i == 0 ? "a" : "b", "mode=crash", NULL, 0);
        OK(xvirt_event_receiver_listen(receiver, vms[i], &error));
        OK(xvirt_vm_start(vms[i], NULL, &error));
    }
    for (int crashes = 0; crashes < 2;) {
        XvirtCall call = {.struct_size = sizeof call, .timeout_ns = SECONDS(60)};
        XvirtEventRecord *record = NULL;
        OK(xvirt_event_receiver_next(receiver, &call, &record, &error));
        crashes += record->event->kind == XVIRT_EVENT_KIND_CRASHED;
        if (record->event->kind == XVIRT_EVENT_KIND_CRASHED)
            CHECK(record->event->crashed->kind == XVIRT_CRASH_REASON_KIND_TRIPLE_FAULT);
        xvirt_event_record_free(record);
    }
    XvirtCrash *crash = NULL;
    OK(xvirt_vm_last_crash(vms[0], &crash, &error));
    CHECK(crash != NULL && crash->reason->kind == XVIRT_CRASH_REASON_KIND_TRIPLE_FAULT);
    xvirt_crash_free(crash);
    char *uuid = NULL;
    OK(xvirt_vm_uuid(vms[0], &uuid, &error));
    is_text(uuid, NULL);
    XvirtVmConfig *config = NULL;
    OK(xvirt_vm_config(vms[0], NULL, &config, &error));
    CHECK(strcmp(config->name, "a") == 0);
    xvirt_vm_config_free(config);
    XvirtOperationList *operations = NULL;
    OK(xvirt_vm_current_operations(vms[0], &operations, &error));
    CHECK(operations->count == 0);
    xvirt_operation_list_free(operations);
    FAILS(XVIRT_STATUS_INVALID_STATE, xvirt_vm_resolve_migration(vms[0], true, NULL, &error));
    XvirtCall soon = {.struct_size = sizeof soon, .timeout_ns = SECONDS(1) / 10};
    FAILS(XVIRT_STATUS_INVALID_STATE, xvirt_vm_clean_reboot(vms[0], &soon, &error));
    FAILS(XVIRT_STATUS_INVALID_STATE, xvirt_vm_hard_reboot(vms[0], NULL, &error));
    FAILS(XVIRT_STATUS_INVALID_STATE, xvirt_vm_wait_memory_target(vms[0], &soon, &error));
    XvirtMemoryStatistics *memory = NULL;
    FAILS(XVIRT_STATUS_INVALID_STATE, xvirt_vm_refresh_memory_statistics(vms[0], &soon, &memory, &error));
    xvirt_vm_free(vms[0]);
    xvirt_vm_free(vms[1]);
    xvirt_event_receiver_free(receiver);
}

/* The ways to reach another host. */
static void migration_channels(void) {
    XvirtChannel *channel = NULL, *inner = NULL;
    char *path = path_of("m.sock");
    OK(xvirt_channel_connect_unix(path, &channel, &error));
    xvirt_channel_free(channel);
    OK(xvirt_channel_connect_tcp("127.0.0.1:7400", NULL, &channel, &error));
    xvirt_channel_free(channel);
    FAILS(XVIRT_STATUS_IO, xvirt_channel_connect_tcp("no port", NULL, &channel, &error));
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    CHECK(bind(listening, (struct sockaddr *)&address, sizeof address) == 0 && listen(listening, 1) == 0);
    OK(xvirt_channel_listen(listening, &inner, &error));
    close(listening);
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_channel_listen(0x7fff, &channel, &error));
    XvirtTls *tls = NULL;
    FAILS(XVIRT_STATUS_NOT_FOUND, xvirt_tls_from_files("/nowhere/a", "/nowhere/b", "/nowhere/c", &tls, &error));
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_tls_from_pem((const uint8_t *)"x", 1, (const uint8_t *)"y", 1, (const uint8_t *)"z", 1, &tls, &error));
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_tls_connect_tcp(tls, "host-b:7400", NULL, &channel, &error));
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_tls_connect(tls, "host-b", inner, &channel, &error));
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_tls_accept(tls, inner, &channel, &error));
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_vm_check_migration(NULL, inner, NULL, NULL, NULL, &error));
    xvirt_tls_free(tls);
    xvirt_channel_free(inner);
    free(path);
}

int main(void) {
    XvirtHost *host = probe();
    consoles(host);
    networks(host);
    vsock(host);
    events(host);
    migration_channels();
    xvirt_host_free(host);
    return 0;
}
