/* A disk that the program implements: blocks in memory, which the guest writes and reads back. */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xvirt.h>

#define SIZE (UINT64_C(16) << 20)

struct disk {
    /* The functions of a disk are called on several threads at once. */
    pthread_rwlock_t lock;
    atomic_ulong reads, writes;
    uint8_t *bytes;
};

static int read_disk(void *user_data, uint8_t *buffer, size_t length, uint64_t offset) {
    struct disk *disk = user_data;
    if (offset > SIZE || length > SIZE - offset)
        return EIO;
    pthread_rwlock_rdlock(&disk->lock);
    memcpy(buffer, disk->bytes + offset, length);
    pthread_rwlock_unlock(&disk->lock);
    atomic_fetch_add(&disk->reads, 1);
    return 0;
}

static int write_disk(void *user_data, const uint8_t *buffer, size_t length, uint64_t offset) {
    struct disk *disk = user_data;
    if (offset > SIZE || length > SIZE - offset)
        return EIO;
    pthread_rwlock_wrlock(&disk->lock);
    memcpy(disk->bytes + offset, buffer, length);
    pthread_rwlock_unlock(&disk->lock);
    atomic_fetch_add(&disk->writes, 1);
    return 0;
}

static int flush_disk(void *user_data) {
    (void)user_data;
    return 0;
}

static void check(XvirtStatus status, XvirtError **error) {
    if (status == XVIRT_STATUS_OK)
        return;
    fprintf(stderr, "custom-disk: %s\n", xvirt_error_text(*error));
    xvirt_error_free(*error);
    exit(1);
}

int main(void) {
    XvirtError *error = NULL;
    struct disk disk = {.bytes = calloc(1, SIZE)};
    if (disk.bytes == NULL || pthread_rwlock_init(&disk.lock, NULL) != 0)
        return 1;

    XvirtDiskOperations operations = {
        .struct_size = sizeof operations,
        .capacity = SIZE,
        .read = read_disk,
        .write = write_disk,
        .flush = flush_disk,
        .user_data = &disk,
    };
    XvirtBlockBackend *backend = NULL;
    check(xvirt_block_backend_new(&operations, &backend, &error), &error);
    XvirtDiskSource source = {
        .struct_size = sizeof source, .kind = XVIRT_DISK_SOURCE_KIND_BACKEND, .backend = backend};
    XvirtDisk config_disk = {.struct_size = sizeof config_disk, .source = &source};
    const XvirtDisk *disks[] = {&config_disk};

    const uint8_t *image = NULL;
    size_t length = 0;
    check(xvirt_demo_kernel(&image, &length, &error), &error);
    XvirtBootFile file = {
        .struct_size = sizeof file, .kind = XVIRT_BOOT_FILE_KIND_BYTES, .bytes = image, .bytes_length = length};
    XvirtBootKernel kernel = {
        .struct_size = sizeof kernel, .kernel = &file, .command_line = "mode=blk,poweroff"};
    XvirtBoot boot = {.struct_size = sizeof boot, .kind = XVIRT_BOOT_KIND_KERNEL, .kernel = &kernel};
    XvirtVmConfig config = {.struct_size = sizeof config, .name = "custom-disk", .memory = 64 << 20,
                            .boot = &boot, .disks = disks, .disk_count = 1};
    XvirtHost *host = NULL;
    XvirtVm *vm = NULL;
    check(xvirt_host_probe(NULL, &host, &error), &error);
    check(xvirt_vm_config_build(&config, host, NULL, &vm, &error), &error);
    /* The VM keeps the disk. */
    xvirt_block_backend_free(backend);

    check(xvirt_vm_start(vm, NULL, &error), &error);
    XvirtCall call = {.struct_size = sizeof call, .timeout_ns = UINT64_C(60000000000)};
    check(xvirt_vm_wait_halted(vm, &call, &error), &error);
    xvirt_vm_free(vm);
    xvirt_host_free(host);

    printf("the guest has read %lu times and written %lu times\n", atomic_load(&disk.reads), atomic_load(&disk.writes));
    pthread_rwlock_destroy(&disk.lock);
    free(disk.bytes);
    return atomic_load(&disk.writes) > 0 ? 0 : 1;
}
