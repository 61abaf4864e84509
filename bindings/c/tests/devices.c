/* What changes while a VM runs: console input, disks that come and go, limits, memory. */

#include "support/check.h"

#include <pthread.h>
#include <unistd.h>

static void type(const XvirtVm *vm, const char *line) {
    XvirtConsole *console = NULL;
    OK(xvirt_vm_console(vm, &console, &error));
    OK(xvirt_console_write_all(console, (const uint8_t *)line, strlen(line), NULL, &error));
    xvirt_console_free(console);
}

static void limits(const XvirtVm *vm, size_t disk) {
    XvirtRateLimit limit = {.struct_size = sizeof limit, .has_operations_per_second = true, .operations_per_second = 500,
                            .has_bytes_per_second = true, .bytes_per_second = 100 << 20};
    OK(xvirt_vm_set_disk_limit(vm, disk, &limit, NULL, &error));
    XvirtRateLimit *found = NULL;
    OK(xvirt_vm_disk_limit(vm, disk, NULL, &found, &error));
    CHECK(found->has_operations_per_second && found->operations_per_second == 500 && !found->has_operations_burst);
    CHECK(found->bytes_per_second == 100 << 20);
    /* What comes out goes in again. */
    OK(xvirt_vm_set_disk_limit(vm, disk, found, NULL, &error));
    xvirt_rate_limit_free(found);
    OK(xvirt_vm_set_disk_limit(vm, disk, NULL, NULL, &error));
    OK(xvirt_vm_disk_limit(vm, disk, NULL, &found, &error));
    CHECK(!found->has_operations_per_second && !found->has_bytes_per_second);
    xvirt_rate_limit_free(found);
    FAILS(XVIRT_STATUS_NOT_FOUND, xvirt_vm_set_disk_limit(vm, 77, &limit, NULL, &error));

    XvirtCpuLimit *cpu = NULL;
    XvirtError *error = NULL;
    if (xvirt_vm_cpu_limit(vm, NULL, &cpu, &error) == XVIRT_STATUS_OK)
        OK(xvirt_vm_set_cpu_limit(vm, cpu, NULL, &error));
    xvirt_cpu_limit_free(cpu);
    xvirt_error_free(error);
}

static void memory(const XvirtVm *vm) {
    OK(xvirt_vm_set_memory_target(vm, UINT64_C(48) << 20, NULL, &error));
    XvirtMemoryStatistics *statistics = NULL;
    OK(xvirt_vm_memory_statistics(vm, NULL, &statistics, &error));
    CHECK(statistics->target == UINT64_C(48) << 20);
    xvirt_memory_statistics_free(statistics);
}

static void *cancel_soon(void *cancel) {
    usleep(200000);
    OK(xvirt_cancel_cancel(cancel, &error));
    return NULL;
}

/* A call of this thread that waits ends when another thread cancels it. */
static void cancelled(const XvirtVm *vm) {
    XvirtCancel *cancel = NULL;
    OK(xvirt_cancel_new(&cancel, &error));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, cancel_soon, cancel) == 0);
    XvirtCall call = {.struct_size = sizeof call, .cancel = cancel, .timeout_ns = SECONDS(60)};
    FAILS(XVIRT_STATUS_CANCELLED, xvirt_vm_wait_halted(vm, &call, &error));
    CHECK(pthread_join(thread, NULL) == 0);
    FAILS(XVIRT_STATUS_CANCELLED, xvirt_vm_pause(vm, &call, &error));
    xvirt_cancel_free(cancel);
}

int main(void) {
    XvirtHost *host = probe();
    char path[4096];
    snprintf(path, sizeof path, "%s/plugged.raw", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    OK(xvirt_disk_create(path, XVIRT_IMAGE_FORMAT_RAW, 1 << 20, NULL, &error));
    XvirtDiskSourceImage image = {.struct_size = sizeof image, .path = path, .format = XVIRT_IMAGE_FORMAT_RAW};
    XvirtDiskSource source = {.struct_size = sizeof source, .kind = XVIRT_DISK_SOURCE_KIND_IMAGE, .image = &image};
    XvirtDisk disk = {.struct_size = sizeof disk, .source = &source, .serial = "plugged"};

    XvirtVm *vm = demo_vm(host, "devices", "mode=hotplug,echo", NULL, 0);
    XvirtConsoleReader *reader = reader_of(vm);
    OK(xvirt_vm_start(vm, NULL, &error));
    wait_for(reader, "echo: ready");
    type(vm, "ping\n");
    wait_for(reader, "pong");

    size_t position = 99;
    OK(xvirt_vm_plug_disk(vm, &disk, NULL, &position, &error));
    wait_for(reader, "plugged");
    XvirtSizeList *positions = NULL;
    OK(xvirt_vm_disk_positions(vm, &positions, &error));
    CHECK(positions->count == 1 && positions->items[0] == position);
    xvirt_size_list_free(positions);
    XvirtDiskStatusList *disks = NULL;
    OK(xvirt_vm_disks(vm, &disks, &error));
    CHECK(disks->count == 1 && disks->items[0]->position == position);
    CHECK(disks->items[0]->engine == XVIRT_IO_ENGINE_IO_URING || disks->items[0]->engine == XVIRT_IO_ENGINE_THREADS);
    xvirt_disk_status_list_free(disks);
    limits(vm, position);
    memory(vm);
    OK(xvirt_vm_resize_disk(vm, position, 2 << 20, NULL, &error));
    XvirtStatistics *statistics = NULL;
    OK(xvirt_vm_statistics(vm, &statistics, &error));
    CHECK(statistics->disk_count == 1 && statistics->disk_positions[0] == position);
    uint64_t total = 0, worst = 0;
    bool has_worst = false;
    OK(xvirt_latencies_total(statistics->disks[0]->writes->latency, &total, &error));
    OK(xvirt_latencies_percentile(statistics->disks[0]->writes->latency, 99.0, &has_worst, &worst, &error));
    CHECK(total == statistics->disks[0]->writes->operations && has_worst == (total > 0));
    XvirtLatencyBucketList *buckets = NULL;
    uint64_t sum = 0;
    OK(xvirt_latencies_buckets(statistics->disks[0]->writes->latency, &buckets, &error));
    for (size_t i = 0; i < buckets->count; i++)
        sum += buckets->items[i]->count;
    CHECK(sum == total);
    xvirt_latency_bucket_list_free(buckets);
    xvirt_statistics_free(statistics);
    cancelled(vm);
    XvirtCall patience = {.struct_size = sizeof patience, .timeout_ns = SECONDS(60)};
    OK(xvirt_vm_unplug_disk(vm, position, &patience, &error));
    FAILS(XVIRT_STATUS_NOT_FOUND, xvirt_vm_unplug_disk(vm, position, &patience, &error));
    OK(xvirt_vm_clean_shutdown(vm, &patience, &error));
    CHECK(state_of(vm) == XVIRT_POWER_STATE_HALTED);
    xvirt_vm_free(vm);
    xvirt_console_reader_free(reader);
    xvirt_host_free(host);
    return 0;
}
