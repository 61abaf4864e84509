/* What the library says about this host, and descriptors of its devices. */

#include "support/check.h"

#include <fcntl.h>
#include <unistd.h>

static void tap(void) {
    XvirtTap *tap = NULL;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_tap_from_fd(null, NULL, &tap, &error));
    close(null);
    XvirtError *error = NULL;
    if (xvirt_tap_create(NULL, NULL, &tap, &error) != XVIRT_STATUS_OK) {
        printf("no tap interface can be made here: %s\n", xvirt_error_text(error));
        CHECK(tap == NULL);
        xvirt_error_free(error);
        FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_tap_open(NULL, NULL, &tap, &error));
        return;
    }
    char *name = NULL, *mac = NULL;
    uint32_t mtu = 0;
    OK(xvirt_tap_name(tap, &name, &error));
    OK(xvirt_tap_mac(tap, &mac, &error));
    CHECK(strlen(mac) == 17);
    xvirt_free(mac);
    OK(xvirt_tap_set_mtu(tap, 1400, NULL, &error));
    OK(xvirt_tap_mtu(tap, &mtu, &error));
    CHECK(mtu == 1400);
    XvirtOffloads offloads = {.struct_size = sizeof offloads, .checksum = true};
    OK(xvirt_tap_set_offloads(tap, &offloads, NULL, &error));
    OK(xvirt_tap_set_address(tap, "192.0.2.1", 24, NULL, &error));
    int descriptor = -1;
    OK(xvirt_tap_fd(tap, &descriptor, &error));
    CHECK(descriptor >= 0);
    OK(xvirt_tap_set_up(tap, NULL, &error));
    FAILS(XVIRT_STATUS_NOT_FOUND, xvirt_tap_attach_to_bridge(tap, "nobridge0", NULL, &error));
    XvirtTap *second = NULL;
    OK(xvirt_tap_from_fd(descriptor, NULL, &second, &error));
    xvirt_tap_free(second);
    FAILS(XVIRT_STATUS_BUSY, xvirt_tap_open(name, NULL, &second, &error));
    xvirt_free(name);
    xvirt_tap_free(tap);
}

int main(void) {
    XvirtHost *host = probe();
    OK(xvirt_host_require_kvm(host, NULL, &error));
    char *kernel = NULL;
    OK(xvirt_host_kernel(host, &kernel, &error));
    is_text(kernel, NULL);
    XvirtKvmStatus *kvm = NULL;
    OK(xvirt_host_kvm(host, &kvm, &error));
    const XvirtKvmCapabilities *capabilities = kvm->kind == XVIRT_KVM_STATUS_KIND_READY ? kvm->ready->capabilities
                                               : kvm->kind == XVIRT_KVM_STATUS_KIND_EMULATED ? kvm->emulated->capabilities
                                                                                             : NULL;
    CHECK(capabilities != NULL && capabilities->irqchip && capabilities->max_vcpus > 0);
    xvirt_kvm_status_free(kvm);
    XvirtCpus *cpus = NULL;
    OK(xvirt_host_cpus(host, &cpus, &error));
    CHECK(cpus->logical > 0 && strlen(cpus->vendor) > 0);
    xvirt_cpus_free(cpus);
    XvirtMemory *memory = NULL;
    OK(xvirt_host_memory(host, &memory, &error));
    CHECK(memory->total > memory->available);
    xvirt_memory_free(memory);
    XvirtAvailability availability = 0;
    OK(xvirt_host_io_uring(host, &availability, &error));
    CHECK(availability != 0);
    OK(xvirt_host_userfaultfd(host, &availability, &error));
    CHECK(availability != 0);
    XvirtHostProblemList *problems = NULL;
    OK(xvirt_host_problems(host, &problems, &error));
    for (size_t i = 0; i < problems->count; i++)
        CHECK(strlen(problems->items[i]->what) > 0);
    xvirt_host_problem_list_free(problems);
    bool reflinks = false;
    OK(xvirt_host_reflink_support(host, "/tmp", NULL, &reflinks, &error));
    XvirtCpuBaseline *baseline = NULL;
    OK(xvirt_host_cpu_baseline(host, NULL, &baseline, &error));
    char *vendor = NULL;
    OK(xvirt_cpu_baseline_vendor(baseline, &vendor, &error));
    is_text(vendor, NULL);
    const XvirtCpuBaseline *both[] = {baseline, baseline};
    XvirtCpuBaseline *common = NULL;
    OK(xvirt_cpu_baseline_of(both, 2, NULL, &common, &error));
    xvirt_cpu_baseline_free(common);
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_cpu_baseline_of(NULL, 0, NULL, &common, &error));
    /* A handle in a struct, into the library and out of it. */
    XvirtCpuConfig cpu = {.struct_size = sizeof cpu, .count = 2, .baseline = baseline};
    XvirtBootFile file = {.struct_size = sizeof file, .kind = XVIRT_BOOT_FILE_KIND_PATH, .path = "/k"};
    XvirtBootKernel with = {.struct_size = sizeof with, .kernel = &file};
    XvirtBoot boot = {.struct_size = sizeof boot, .kind = XVIRT_BOOT_KIND_KERNEL, .kernel = &with};
    XvirtVmConfig config = {.struct_size = sizeof config, .name = "base", .boot = &boot, .cpus = &cpu};
    char *json = NULL;
    OK(xvirt_vm_config_to_json(&config, &json, &error));
    CHECK(strstr(json, "baseline") != NULL);
    xvirt_free(json);
    xvirt_cpu_baseline_free(baseline);

    int device = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    CHECK(device >= 0);
    XvirtHost *other = NULL;
    OK(xvirt_host_with_kvm(host, device, NULL, &other, &error));
    close(device);
    OK(xvirt_host_require_kvm(other, NULL, &error));
    xvirt_host_free(other);
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_host_with_kvm(host, -1, NULL, &other, &error));
    xvirt_host_free(host);
    tap();
    return 0;
}
