/* Disk images, disks of the program, seeds. */

#include "support/check.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define SIZE (UINT64_C(4) << 20)

static void images(void) {
    char *base = path_of("base.raw"), *copy = path_of("copy.raw"), *qcow2 = path_of("b.qcow2"), *map = path_of("map");
    OK(xvirt_disk_create(base, XVIRT_IMAGE_FORMAT_RAW, SIZE, NULL, &error));
    FAILS(XVIRT_STATUS_ALREADY_EXISTS, xvirt_disk_create(base, XVIRT_IMAGE_FORMAT_RAW, SIZE, NULL, &error));
    OK(xvirt_disk_create(qcow2, XVIRT_IMAGE_FORMAT_QCOW2, SIZE, NULL, &error));
    OK(xvirt_disk_grow(base, XVIRT_IMAGE_FORMAT_RAW, 2 * SIZE, NULL, &error));
    XvirtImageInfo *info = NULL;
    OK(xvirt_disk_inspect(qcow2, 0, NULL, &info, &error));
    CHECK(info->format == XVIRT_IMAGE_FORMAT_QCOW2 && info->virtual_size == SIZE && info->backing_count == 0);
    xvirt_image_info_free(info);
    XvirtOverlayKind kind = 0;
    OK(xvirt_disk_overlay(base, XVIRT_IMAGE_FORMAT_RAW, copy, NULL, &kind, &error));
    CHECK(kind == XVIRT_OVERLAY_KIND_REFLINK || kind == XVIRT_OVERLAY_KIND_QCOW2);

    XvirtBlockBackend *disk = NULL, *other = NULL;
    OK(xvirt_disk_open(qcow2, 0, XVIRT_ACCESS_READ_WRITE, NULL, &disk, &error));
    uint64_t capacity = 0;
    uint32_t block_size = 0;
    bool read_only = true;
    OK(xvirt_block_backend_capacity(disk, &capacity, &error));
    OK(xvirt_block_backend_block_size(disk, &block_size, &error));
    OK(xvirt_block_backend_read_only(disk, &read_only, &error));
    CHECK(capacity == SIZE && block_size >= 512 && !read_only);
    uint8_t out[1024], in[1024];
    memset(out, 7, sizeof out);
    OK(xvirt_block_backend_write(disk, out, sizeof out, 4096, &error));
    OK(xvirt_block_backend_flush(disk, &error));
    OK(xvirt_block_backend_read(disk, in, sizeof in, 4096, &error));
    CHECK(memcmp(in, out, sizeof in) == 0);
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_block_backend_read(disk, in, sizeof in, SIZE - 512, &error));
    FAILS(XVIRT_STATUS_BUSY, xvirt_disk_open(qcow2, 0, XVIRT_ACCESS_READ_WRITE, NULL, &other, &error));

    /* The same disk by its open file. */
    xvirt_block_backend_free(disk);
    int opened = open(qcow2, O_RDWR | O_CLOEXEC);
    XvirtImageDescriptor image = {.struct_size = sizeof image, .descriptor = opened, .format = XVIRT_IMAGE_FORMAT_QCOW2};
    const XvirtImageDescriptor *chain[] = {&image};
    OK(xvirt_disk_open_descriptors(chain, 1, XVIRT_ACCESS_READ_WRITE, NULL, &disk, &error));
    close(opened);
    OK(xvirt_block_backend_read(disk, in, sizeof in, 4096, &error));
    CHECK(memcmp(in, out, sizeof in) == 0);

    /* A disk that is copied while it is used. */
    char *target_path = path_of("target.raw");
    OK(xvirt_disk_create(target_path, XVIRT_IMAGE_FORMAT_RAW, SIZE, NULL, &error));
    OK(xvirt_disk_open(target_path, XVIRT_IMAGE_FORMAT_RAW, XVIRT_ACCESS_READ_WRITE, NULL, &other, &error));
    XvirtStreamingDisk *streaming = NULL;
    OK(xvirt_streaming_disk_create(disk, other, map, 65536, NULL, &streaming, &error));
    bool complete = true;
    OK(xvirt_streaming_disk_is_complete(streaming, &complete, &error));
    CHECK(!complete);
    OK(xvirt_streaming_disk_complete(streaming, NULL, &error));
    OK(xvirt_streaming_disk_is_complete(streaming, &complete, &error));
    CHECK(complete);
    xvirt_streaming_disk_free(streaming);
    OK(xvirt_block_backend_read(other, in, sizeof in, 4096, &error));
    CHECK(memcmp(in, out, sizeof in) == 0);
    XvirtStreamingDisk *again = NULL;
    XvirtError *error = NULL;
    XvirtStatus status = xvirt_streaming_disk_open(disk, other, map, NULL, &again, &error);
    CHECK((status == XVIRT_STATUS_OK) == (again != NULL));
    xvirt_error_free(error);
    xvirt_streaming_disk_free(again);
    xvirt_block_backend_free(other);

    /* No boot loader is on it. */
    XvirtBootEntryList *entries = NULL;
    error = NULL;
    if (xvirt_boot_menu_entries(disk, NULL, &entries, &error) == XVIRT_STATUS_OK)
        CHECK(entries->count == 0);
    xvirt_boot_entry_list_free(entries);
    xvirt_error_free(error);
    XvirtBootEntry *entry = NULL;
    XvirtBootFiles *files = NULL;
    FAILS(XVIRT_STATUS_NOT_BOOTABLE, xvirt_boot_menu_entry(disk, NULL, NULL, &entry, &error));
    XvirtEntryChoice choice = {.struct_size = sizeof choice, .kind = XVIRT_ENTRY_CHOICE_KIND_INDEX, .index = 1};
    XvirtLimits limits = {.struct_size = sizeof limits, .kernel = 1 << 20};
    FAILS(XVIRT_STATUS_NOT_BOOTABLE, xvirt_boot_menu_load(disk, &choice, &limits, NULL, &files, &error));
    xvirt_boot_entry_free(entry);
    xvirt_boot_files_free(files);
    xvirt_block_backend_free(disk);
    free(base);
    free(copy);
    free(qcow2);
    free(map);
    free(target_path);
}

struct memory_disk {
    pthread_mutex_t lock;
    atomic_uint writes, released;
    uint8_t bytes[SIZE];
};

static int read_memory(void *user_data, uint8_t *buffer, size_t length, uint64_t offset) {
    struct memory_disk *disk = user_data;
    pthread_mutex_lock(&disk->lock);
    memcpy(buffer, disk->bytes + offset, length);
    pthread_mutex_unlock(&disk->lock);
    return 0;
}

static int write_memory(void *user_data, const uint8_t *buffer, size_t length, uint64_t offset) {
    struct memory_disk *disk = user_data;
    atomic_fetch_add(&disk->writes, 1);
    pthread_mutex_lock(&disk->lock);
    memcpy(disk->bytes + offset, buffer, length);
    pthread_mutex_unlock(&disk->lock);
    return 0;
}

static void release_memory(void *user_data) {
    atomic_fetch_add(&((struct memory_disk *)user_data)->released, 1);
}

/* The guest writes a disk of the program and reads it back. */
static void disk_of_the_program(const XvirtHost *host) {
    struct memory_disk *memory = calloc(1, sizeof *memory);
    CHECK(memory != NULL && pthread_mutex_init(&memory->lock, NULL) == 0);
    XvirtDiskOperations operations = {.struct_size = sizeof operations, .capacity = SIZE, .read = read_memory,
                                      .write = write_memory, .release = release_memory, .user_data = memory};
    XvirtBlockBackend *backend = NULL;
    XvirtDiskOperations wrong = operations;
    wrong.capacity = 77;
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_block_backend_new(&wrong, &backend, &error));
    wrong = operations;
    wrong.write = NULL;
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_block_backend_new(&wrong, &backend, &error));
    OK(xvirt_block_backend_new(&operations, &backend, &error));
    XvirtDiskSource source = {.struct_size = sizeof source, .kind = XVIRT_DISK_SOURCE_KIND_BACKEND, .backend = backend};
    XvirtDisk disk = {.struct_size = sizeof disk, .source = &source, .serial = "memory"};
    const XvirtDisk *disks[] = {&disk};
    XvirtVm *vm = demo_vm(host, "custom", "mode=blk,poweroff", disks, 1);
    xvirt_block_backend_free(backend);
    XvirtConsoleReader *reader = reader_of(vm);
    OK(xvirt_vm_start(vm, NULL, &error));
    wait_for(reader, "demo: done");
    XvirtCall call = {.struct_size = sizeof call, .timeout_ns = SECONDS(60)};
    OK(xvirt_vm_wait_halted(vm, &call, &error));
    xvirt_console_reader_free(reader);
    xvirt_vm_free(vm);
    CHECK(atomic_load(&memory->writes) > 0 && atomic_load(&memory->released) == 1);
    pthread_mutex_destroy(&memory->lock);
    free(memory);
}

static void seeds(void) {
    const char *keys[] = {"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHRlc3Q test"};
    XvirtUser user = {.struct_size = sizeof user, .name = "admin", .sudo = true, .authorized_keys = keys,
                      .authorized_key_count = 1};
    const XvirtUser *users[] = {&user};
    const char *words[] = {"touch", "/run/seeded"};
    XvirtStringList command = {.items = words, .count = 2};
    const XvirtStringList *commands[] = {&command};
    XvirtSeedNic nic = {.struct_size = sizeof nic, .mac = "02:00:00:00:00:01", .dhcp = true};
    const XvirtSeedNic *nics[] = {&nic};
    XvirtSeed seed = {.struct_size = sizeof seed, .hostname = "web-1", .users = users, .user_count = 1,
                      .commands = commands, .command_count = 1, .nics = nics, .nic_count = 1};
    OK(xvirt_seed_check(&seed, NULL, &error));
    uint8_t *image = NULL;
    size_t length = 0;
    OK(xvirt_seed_image(&seed, NULL, &image, &length, &error));
    CHECK(length > 1024 && memmem(image, length, "web-1", 5) != NULL && memmem(image, length, "/run/seeded", 11) != NULL);
    xvirt_free(image);
    char *path = path_of("seed.img");
    OK(xvirt_seed_write(&seed, path, NULL, &error));
    CHECK(access(path, R_OK) == 0);
    free(path);
    nic.dhcp = false;
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_seed_check(&seed, NULL, &error));
    nic.router_advertisements = true;
    OK(xvirt_seed_image(&seed, NULL, &image, &length, &error));
    CHECK(memmem(image, length, "ipv6_slaac", 10) != NULL);
    xvirt_free(image);
    nic.mac = "not an address";
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_seed_check(&seed, NULL, &error));
}

int main(void) {
    XvirtHost *host = probe();
    images();
    disk_of_the_program(host);
    seeds();
    xvirt_host_free(host);
    return 0;
}
