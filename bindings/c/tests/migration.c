/* A VM moves between two threads over a pair of sockets. */

#include "support/check.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

struct target {
    const XvirtHost *host;
    int socket;
    /* Refuses the VM. */
    bool refuses;
    XvirtVm *vm;
};

static const XvirtVmConfig *accept_vm(void *user_data, const XvirtArrivingVm *arriving, char *reason, size_t reason_size) {
    static XvirtVmConfig config;
    static const uint8_t *bytes;
    static size_t length;
    static XvirtBootFile file;
    static XvirtBootKernel kernel;
    static XvirtBoot boot;
    struct target *target = user_data;

    CHECK(strcmp(arriving->name, "moves") == 0 && strlen(arriving->uuid) == 36);
    if (target->refuses) {
        snprintf(reason, reason_size, "the test is full");
        return NULL;
    }
    OK(xvirt_demo_kernel(&bytes, &length, &error));
    file = (XvirtBootFile){.struct_size = sizeof file, .kind = XVIRT_BOOT_FILE_KIND_BYTES, .bytes = bytes, .bytes_length = length};
    kernel = (XvirtBootKernel){.struct_size = sizeof kernel, .kernel = &file, .command_line = "mode=echo"};
    boot = (XvirtBoot){.struct_size = sizeof boot, .kind = XVIRT_BOOT_KIND_KERNEL, .kernel = &kernel};
    config = (XvirtVmConfig){.struct_size = sizeof config, .name = arriving->name, .uuid = arriving->uuid,
                             .memory = UINT64_C(64) << 20, .seccomp = seccomp(), .boot = &boot};
    return &config;
}

static void *receive(void *given) {
    struct target *target = given;
    XvirtChannel *channel = NULL;
    OK(xvirt_channel_use(&target->socket, 1, &channel, &error));
    XvirtCall call = {.struct_size = sizeof call, .timeout_ns = SECONDS(60)};
    XvirtError *error = NULL;
    XvirtStatus status = xvirt_migrate_receive(channel, target->host, NULL, accept_vm, target, NULL, NULL, &call, &target->vm, &error);
    CHECK(status == (target->refuses ? XVIRT_STATUS_MIGRATION_REFUSED : XVIRT_STATUS_OK));
    xvirt_error_free(error);
    xvirt_channel_free(channel);
    return NULL;
}

static void count_reports(void *user_data, const XvirtMigrationReport *report) {
    CHECK(report->phase != 0 && report->elapsed_ns < SECONDS(60));
    ++*(unsigned *)user_data;
}

static const XvirtMigration *new_settings(void *user_data) {
    (void)user_data;
    static const XvirtMigration settings = {.struct_size = sizeof settings, .has_max_throttle = true, .max_throttle = 50};
    return &settings;
}

/* Starts the target and gives this end of the connection. */
static XvirtChannel *connect_target(struct target *target, pthread_t *thread) {
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    target->socket = pair[1];
    CHECK(pthread_create(thread, NULL, receive, target) == 0);
    XvirtChannel *channel = NULL;
    OK(xvirt_channel_use(pair, 1, &channel, &error));
    close(pair[0]);
    return channel;
}

int main(void) {
    XvirtHost *host = probe();
    XvirtVm *vm = demo_vm(host, "moves", "mode=echo", NULL, 0);
    XvirtConsoleReader *reader = reader_of(vm);
    OK(xvirt_vm_start(vm, NULL, &error));
    wait_for(reader, "echo: ready");
    xvirt_console_reader_free(reader);

    pthread_t thread;
    struct target full = {.host = host, .refuses = true};
    XvirtChannel *channel = connect_target(&full, &thread);
    XvirtError *refused = NULL;
    XvirtMigrationSummary *summary = NULL;
    CHECK(xvirt_vm_migrate(vm, channel, NULL, NULL, NULL, NULL, &summary, &refused) == XVIRT_STATUS_MIGRATION_REFUSED);
    CHECK(summary == NULL && strstr(xvirt_error_text(refused), "the test is full") != NULL);
    xvirt_error_free(refused);
    CHECK(pthread_join(thread, NULL) == 0);
    close(full.socket);
    xvirt_channel_free(channel);
    CHECK(state_of(vm) == XVIRT_POWER_STATE_RUNNING);

    struct target target = {.host = host};
    channel = connect_target(&target, &thread);
    unsigned reports = 0;
    XvirtMigration settings = {.struct_size = sizeof settings, .downtime_ns = SECONDS(1), .time_limit_ns = SECONDS(60)};
    XvirtMigrationObserver observer = {
        .struct_size = sizeof observer, .report = count_reports, .settings = new_settings, .user_data = &reports};
    OK(xvirt_vm_migrate(vm, channel, &settings, NULL, &observer, NULL, &summary, &error));
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(reports > 0 && summary->report->bytes > 0);
    xvirt_migration_summary_free(summary);
    close(target.socket);
    xvirt_channel_free(channel);

    CHECK(state_of(vm) == XVIRT_POWER_STATE_HALTED);
    XvirtHalted *halted = NULL;
    OK(xvirt_vm_halted(vm, &halted, &error));
    CHECK(halted->cause->kind == XVIRT_HALT_CAUSE_KIND_MIGRATED);
    xvirt_halted_free(halted);
    xvirt_vm_free(vm);
    CHECK(state_of(target.vm) == XVIRT_POWER_STATE_RUNNING);
    reader = reader_of(target.vm);
    XvirtConsole *console = NULL;
    OK(xvirt_vm_console(target.vm, &console, &error));
    OK(xvirt_console_write_all(console, (const uint8_t *)"ping\n", 5, NULL, &error));
    wait_for(reader, "pong");
    xvirt_console_free(console);
    xvirt_console_reader_free(reader);
    OK(xvirt_vm_hard_shutdown(target.vm, NULL, &error));
    xvirt_vm_free(target.vm);
    xvirt_host_free(host);
    return 0;
}
