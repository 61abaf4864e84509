/*
 * xvirt: virtual machines over KVM, in the process of the program that uses them.
 *
 * The rules of this interface, which hold for all of it:
 *
 * Status. Almost every function returns an XvirtStatus: 0 (XVIRT_STATUS_OK) for success, else the kind of the error. Its last
 * parameter is `XvirtError **error`: NULL, or where a failed call puts an error, which the caller frees with
 * xvirt_error_free(). After success, NULL is put there. Do not pass the call and its error to one function, as in
 * `check(xvirt_vm_start(vm, NULL, &error), error)`: C does not say which of them is evaluated first. Pass `&error`, as the
 * examples do.
 *
 * Results. A failed call puts NULL, 0 or false where its results would go, unless its comment says otherwise.
 *
 * Handles. A pointer to a type without members, such as XvirtVm, is a handle. Each one that a call puts somewhere is the
 * caller's, and is freed with the function whose name ends with `_free`, also if a call has used it up. Freeing NULL is
 * fine; freeing twice, or using a handle after that, is a bug of the caller. The comment of each type says whether several
 * threads may use it at once. No thread may use a handle while another one frees it.
 *
 * Structs that go in. They begin with `size_t struct_size`, which is set to sizeof; everything else may be zero, which means
 * "as by default": `XvirtDisk disk = {.struct_size = sizeof disk, ...}`, or in C++ `XvirtDisk disk = {}; disk.struct_size =
 * sizeof disk;`. Members whose comments say "Required" have no default. Structs contain others by pointer, and lists as a
 * pointer to pointers and a count. Numbers that may be absent have a flag, such as `has_queues`. A struct with a `kind` is
 * one of several things: the member of that name says more. Nothing is kept: a call copies what it needs.
 *
 * Structs that come out. A call puts a pointer to one somewhere. With all that it points to, it is freed by one call of the
 * function of its type, such as xvirt_statistics_free(). A struct that came out may go in again, also with members changed,
 * which does not change what is freed. Change it in place: a copy needs the `struct_size` of the copy, and lacks the members
 * that a later library has added. Enums have the value 0 if there is none, or if this header is older than the library.
 *
 * Text is UTF-8 and ends with a NUL, in both directions; paths have any bytes but NUL. Bytes are a pointer and a length.
 * Text and bytes that a call puts somewhere are freed with xvirt_free().
 *
 * Descriptors that go in are duplicated; the caller keeps its own. Those that come out are the caller's to close, except
 * those of functions whose names end with `_fd`, which are for poll(2) only.
 *
 * Numbers: sizes are in bytes. Names that end with `_ns` are nanoseconds, of durations or since 1970.
 *
 * Waiting. Calls that may take long have a parameter `const XvirtCall *call`: NULL, or a time limit, what cancels it, and a
 * callback for its progress. Other calls are short, unless their comments say otherwise.
 *
 * Callbacks run on the thread of the call, before it returns. Only the functions of XvirtDiskOperations and
 * XvirtNetworkOperations run on threads of the library. Callbacks must return: no longjmp(3) or exceptions through the
 * library.
 *
 * Threads. Functions may be called on any thread. The comment of each handle says whether several may use it at once.
 * XvirtError, and structs that came out, may be read by several threads at once.
 *
 * After fork(2), the child may exec or exit. Using a handle of a VM there fails with XVIRT_STATUS_INVALID_STATE.
 *
 * Versions. The library's soname is libxvirt.so.0. As long as that stays, programs run with each later library without being
 * compiled again. Functions stay and keep their parameters, constants keep their numbers, and structs their members. What is
 * new becomes a new function, a new constant, or a member at the end of a struct: `struct_size` tells the library which
 * members the program knows, and the others are as by default. A member that is set but too new for the library is an error.
 */

#ifndef XVIRT_H
#define XVIRT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * The most vCPUs of a VM.
 */
#define XVIRT_MAX_VCPUS 254

/**
 * The length in bytes of the header before each frame of an XvirtTap: a `struct virtio_net_hdr_v1`.
 */
#define XVIRT_VNET_HEADER_LENGTH 12

/**
 * What a call returns: 0 for success, else the kind of the error. The numbers never change.
 */
enum XvirtStatus
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The call has succeeded.
     */
    XVIRT_STATUS_OK = 0,
    /**
     * A configuration or argument is invalid; the message names the field.
     */
    XVIRT_STATUS_INVALID_CONFIG = 1,
    /**
     * A named object, such as a file or interface, does not exist.
     */
    XVIRT_STATUS_NOT_FOUND = 2,
    /**
     * The object to be created already exists.
     */
    XVIRT_STATUS_ALREADY_EXISTS = 3,
    /**
     * The operating system refused access.
     */
    XVIRT_STATUS_PERMISSION_DENIED = 4,
    /**
     * The object is in use, such as a disk locked by another process.
     */
    XVIRT_STATUS_BUSY = 5,
    /**
     * A disk or file system is full.
     */
    XVIRT_STATUS_NO_SPACE = 6,
    /**
     * The host does not have enough memory.
     */
    XVIRT_STATUS_OUT_OF_MEMORY = 7,
    /**
     * The process has reached its limit of file descriptors, or the host its limit of open files.
     */
    XVIRT_STATUS_OUT_OF_DESCRIPTORS = 8,
    /**
     * There is no KVM on this host.
     */
    XVIRT_STATUS_KVM_ABSENT = 9,
    /**
     * KVM exists, but this user lacks the permission to use it.
     */
    XVIRT_STATUS_KVM_DENIED = 10,
    /**
     * The host lacks a required capability.
     */
    XVIRT_STATUS_HOST_UNSUPPORTED = 11,
    /**
     * The operation is not allowed in the VM's power state, in the current state of its disks, or in a child of
     * fork(2).
     */
    XVIRT_STATUS_INVALID_STATE = 12,
    /**
     * A disk image is damaged, or does not have the expected format.
     */
    XVIRT_STATUS_CORRUPT_IMAGE = 13,
    /**
     * A disk image is encrypted, which is not supported.
     */
    XVIRT_STATUS_ENCRYPTED_IMAGE = 14,
    /**
     * A disk image uses a feature that is not supported.
     */
    XVIRT_STATUS_UNSUPPORTED_IMAGE = 15,
    /**
     * A virtual appliance is damaged or incomplete, or is not a valid archive.
     */
    XVIRT_STATUS_CORRUPT_ARCHIVE = 16,
    /**
     * A virtual appliance uses a feature that is not supported.
     */
    XVIRT_STATUS_UNSUPPORTED_ARCHIVE = 17,
    /**
     * A storage repository is damaged.
     */
    XVIRT_STATUS_CORRUPT_REPOSITORY = 18,
    /**
     * A storage repository was created by a newer version.
     */
    XVIRT_STATUS_UNSUPPORTED_REPOSITORY = 19,
    /**
     * The file with the saved state of a VM is damaged, cut off, or another kind of file.
     */
    XVIRT_STATUS_CORRUPT_STATE = 20,
    /**
     * The saved state of a VM has an unsupported format, section or architecture.
     */
    XVIRT_STATUS_UNSUPPORTED_STATE = 21,
    /**
     * Other objects depend on the object; the message names them.
     */
    XVIRT_STATUS_IN_USE = 22,
    /**
     * A limit would be exceeded; the message names it and the setting that raises it.
     */
    XVIRT_STATUS_LIMIT_EXCEEDED = 23,
    /**
     * A kernel or initrd cannot be loaded.
     */
    XVIRT_STATUS_INVALID_KERNEL = 24,
    /**
     * No bootable kernel was found on a disk.
     */
    XVIRT_STATUS_NOT_BOOTABLE = 25,
    /**
     * The guest did something that no real machine could handle.
     */
    XVIRT_STATUS_GUEST_FAULT = 26,
    /**
     * A time limit was exceeded.
     */
    XVIRT_STATUS_TIMEOUT = 27,
    /**
     * The awaited event can no longer occur: the VM was freed, or the console was closed.
     */
    XVIRT_STATUS_GONE = 28,
    /**
     * The guest agent is not running, or has stopped.
     */
    XVIRT_STATUS_AGENT_ABSENT = 29,
    /**
     * The guest agent answered with an error.
     */
    XVIRT_STATUS_AGENT_REFUSED = 30,
    /**
     * The answer of the guest agent is invalid.
     */
    XVIRT_STATUS_INVALID_ANSWER = 31,
    /**
     * The target of a migration cannot take the VM, or speaks another version of the protocol; the message has all
     * reasons.
     */
    XVIRT_STATUS_MIGRATION_REFUSED = 32,
    /**
     * The other side of a migration failed, closed the connection or broke the protocol.
     */
    XVIRT_STATUS_PEER_FAILED = 33,
    /**
     * The other side of a migration does not trust this host, or is not trusted: a certificate is missing, expired,
     * for another name, or not signed by a trusted authority.
     */
    XVIRT_STATUS_UNTRUSTED = 34,
    /**
     * The outcome of a migration is unknown: the VM is stopped at the source, and may run at the target.
     */
    XVIRT_STATUS_INDETERMINATE = 35,
    /**
     * The caller cancelled the operation.
     */
    XVIRT_STATUS_CANCELLED = 36,
    /**
     * Any other I/O error.
     */
    XVIRT_STATUS_IO = 37,
    /**
     * A defect of the library: a panic, which the message describes.
     */
    XVIRT_STATUS_INTERNAL = 1000,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtStatus XvirtStatus;
#else
typedef uint32_t XvirtStatus;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The output stream to which a command wrote.
 */
enum XvirtOutputStream
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_OUTPUT_STREAM_DEFAULT = 0,
    /**
     * Its standard output.
     */
    XVIRT_OUTPUT_STREAM_STDOUT = 1,
    /**
     * Its standard error.
     */
    XVIRT_OUTPUT_STREAM_STDERR = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtOutputStream XvirtOutputStream;
#else
typedef uint32_t XvirtOutputStream;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The variants of `XvirtCommandStatus`.
 */
enum XvirtCommandStatusKind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * With this exit status, where 0 is success.
     */
    XVIRT_COMMAND_STATUS_KIND_EXITED = 1,
    /**
     * By this signal.
     */
    XVIRT_COMMAND_STATUS_KIND_SIGNALLED = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtCommandStatusKind XvirtCommandStatusKind;
#else
typedef uint32_t XvirtCommandStatusKind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The kind of boot configuration that an entry comes from.
 */
enum XvirtBootSource
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * GRUB 2's `grub.cfg`, with the loader entries it includes by `blscfg`.
     */
    XVIRT_BOOT_SOURCE_GRUB = 1,
    /**
     * Boot Loader Specification entries in `/loader/entries`, as systemd-boot reads them.
     */
    XVIRT_BOOT_SOURCE_LOADER_ENTRIES = 2,
    /**
     * A unified kernel image in `/EFI/Linux`.
     */
    XVIRT_BOOT_SOURCE_UNIFIED_KERNEL = 3,
    /**
     * `extlinux.conf` or `syslinux.cfg`.
     */
    XVIRT_BOOT_SOURCE_EXTLINUX = 4,
    /**
     * `menu.lst` or `grub.conf` of GRUB 0.97.
     */
    XVIRT_BOOT_SOURCE_GRUB_LEGACY = 5,
    /**
     * No configuration: kernels with their usual file names.
     */
    XVIRT_BOOT_SOURCE_KERNEL_FILES = 6,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtBootSource XvirtBootSource;
#else
typedef uint32_t XvirtBootSource;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The variants of `XvirtEntryChoice`.
 */
enum XvirtEntryChoiceKind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_ENTRY_CHOICE_KIND_DEFAULT = 0,
    /**
     * By index in xvirt_boot_menu_entries(), from 0.
     */
    XVIRT_ENTRY_CHOICE_KIND_INDEX = 1,
    /**
     * By its title.
     */
    XVIRT_ENTRY_CHOICE_KIND_TITLE = 2,
    /**
     * By its identifier.
     */
    XVIRT_ENTRY_CHOICE_KIND_ID = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtEntryChoiceKind XvirtEntryChoiceKind;
#else
typedef uint32_t XvirtEntryChoiceKind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The variants of `XvirtKvmStatus`.
 */
enum XvirtKvmStatusKind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * KVM works with hardware virtualization.
     */
    XVIRT_KVM_STATUS_KIND_READY = 1,
    /**
     * KVM works without hardware virtualization: orders of magnitude slower, and not every guest starts.
     */
    XVIRT_KVM_STATUS_KIND_EMULATED = 2,
    /**
     * KVM exists, but this process lacks the permission to use it.
     */
    XVIRT_KVM_STATUS_KIND_DENIED = 3,
    /**
     * There is no KVM.
     */
    XVIRT_KVM_STATUS_KIND_ABSENT = 4,
    /**
     * KVM lacks required capabilities.
     */
    XVIRT_KVM_STATUS_KIND_TOO_OLD = 5,
    /**
     * KVM exists and this process may use it, but it does not work.
     */
    XVIRT_KVM_STATUS_KIND_FAILED = 6,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtKvmStatusKind XvirtKvmStatusKind;
#else
typedef uint32_t XvirtKvmStatusKind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Why a host has no KVM.
 */
enum XvirtKvmAbsence
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The CPU does not report support for virtualization.
     */
    XVIRT_KVM_ABSENCE_NO_HARDWARE = 1,
    /**
     * The kernel module is not loaded.
     */
    XVIRT_KVM_ABSENCE_NOT_LOADED = 2,
    /**
     * The module is loaded, but there is no `/dev/kvm`, as in many containers.
     */
    XVIRT_KVM_ABSENCE_NO_DEVICE = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtKvmAbsence XvirtKvmAbsence;
#else
typedef uint32_t XvirtKvmAbsence;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Whether an optional feature of the kernel can be used.
 */
enum XvirtAvailability
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * A test succeeded.
     */
    XVIRT_AVAILABILITY_READY = 1,
    /**
     * The administrator disabled it with a sysctl.
     */
    XVIRT_AVAILABILITY_DISABLED = 2,
    /**
     * This process lacks the permission.
     */
    XVIRT_AVAILABILITY_DENIED = 3,
    /**
     * The kernel does not support it.
     */
    XVIRT_AVAILABILITY_ABSENT = 4,
    /**
     * A test failed for another reason, which the problem names.
     */
    XVIRT_AVAILABILITY_FAILED = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtAvailability XvirtAvailability;
#else
typedef uint32_t XvirtAvailability;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How the memory of a running guest is saved.
 */
enum XvirtCheckpointMethod
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_CHECKPOINT_METHOD_DEFAULT = 0,
    /**
     * XVIRT_CHECKPOINT_METHOD_PROTECT where host and memory allow it, otherwise XVIRT_CHECKPOINT_METHOD_ROUNDS.
     */
    XVIRT_CHECKPOINT_METHOD_AUTO = 1,
    /**
     * The guest is stopped shortly. Afterwards its memory is protected against writes, and saved while the guest
     * runs; who writes a page that was not read yet waits until it has been, usually less than a millisecond.
     *
     * Needs userfaultfd with write protection (Linux 5.7), which xvirt_host_userfaultfd() reports, and memory that
     * is no file: XvirtMemoryBacking without `shared`, `file` and `huge_pages`, of a VM that was not resumed lazily,
     * as instances of templates with memory and forks are by default.
     */
    XVIRT_CHECKPOINT_METHOD_PROTECT = 2,
    /**
     * Memory is saved while the guest runs, then what it has written meanwhile, in rounds. The guest is stopped for
     * the last one. The file system must not become full meanwhile: room is made only for what comes behind memory.
     */
    XVIRT_CHECKPOINT_METHOD_ROUNDS = 3,
    /**
     * The guest is stopped until its memory is saved. Room is made as for XVIRT_CHECKPOINT_METHOD_ROUNDS.
     */
    XVIRT_CHECKPOINT_METHOD_STOP = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtCheckpointMethod XvirtCheckpointMethod;
#else
typedef uint32_t XvirtCheckpointMethod;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * An output register of CPUID.
 */
enum XvirtCpuidRegister
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_CPUID_REGISTER_DEFAULT = 0,
    XVIRT_CPUID_REGISTER_EAX = 1,
    XVIRT_CPUID_REGISTER_EBX = 2,
    XVIRT_CPUID_REGISTER_ECX = 3,
    XVIRT_CPUID_REGISTER_EDX = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtCpuidRegister XvirtCpuidRegister;
#else
typedef uint32_t XvirtCpuidRegister;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * A switch that is on or off by default.
 */
enum XvirtToggle
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * As by default.
     */
    XVIRT_TOGGLE_DEFAULT = 0,
    /**
     * On.
     */
    XVIRT_TOGGLE_ON = 1,
    /**
     * Off.
     */
    XVIRT_TOGGLE_OFF = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtToggle XvirtToggle;
#else
typedef uint32_t XvirtToggle;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What to do with a crashed VM: XenServer's `actions_after_crash`.
 */
enum XvirtCrashAction
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_CRASH_ACTION_DEFAULT = 0,
    /**
     * Powers the VM off.
     */
    XVIRT_CRASH_ACTION_HALT = 1,
    /**
     * Resets it, so that it boots again. A guest that crashes at each boot repeats this endlessly.
     */
    XVIRT_CRASH_ACTION_RESTART = 2,
    /**
     * Pauses it with its memory unchanged, for inspection.
     */
    XVIRT_CRASH_ACTION_PRESERVE = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtCrashAction XvirtCrashAction;
#else
typedef uint32_t XvirtCrashAction;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The variants of `XvirtBoot`.
 */
enum XvirtBootKind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_BOOT_KIND_DEFAULT = 0,
    /**
     * Reads the boot loader configuration on a disk and loads the kernel that it names, at every start and reboot.
     * What GRUB would write into its environment block then is written to the disk, if it can be written.
     */
    XVIRT_BOOT_KIND_DISK = 1,
    /**
     * Loads a given kernel.
     */
    XVIRT_BOOT_KIND_KERNEL = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtBootKind XvirtBootKind;
#else
typedef uint32_t XvirtBootKind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The variants of `XvirtBootFile`.
 */
enum XvirtBootFileKind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_BOOT_FILE_KIND_DEFAULT = 0,
    /**
     * In a file, read at every start and reboot.
     */
    XVIRT_BOOT_FILE_KIND_PATH = 1,
    /**
     * In memory.
     */
    XVIRT_BOOT_FILE_KIND_BYTES = 2,
    /**
     * An open regular file, read from its beginning at every start and reboot. The offset of the descriptor is
     * neither used nor changed. A start fails with XVIRT_STATUS_INVALID_CONFIG if it is not a regular file, or not
     * open for reading.
     */
    XVIRT_BOOT_FILE_KIND_DESCRIPTOR = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtBootFileKind XvirtBootFileKind;
#else
typedef uint32_t XvirtBootFileKind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The boot protocol by which a kernel is entered.
 */
enum XvirtEntryProtocol
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_ENTRY_PROTOCOL_DEFAULT = 0,
    /**
     * PVH if an ELF image supports it, otherwise Linux's 64-bit protocol.
     */
    XVIRT_ENTRY_PROTOCOL_AUTO = 1,
    /**
     * PVH: 32-bit, for ELF images with the PVH note.
     */
    XVIRT_ENTRY_PROTOCOL_PVH = 2,
    /**
     * Linux's 64-bit boot protocol.
     */
    XVIRT_ENTRY_PROTOCOL_LINUX64 = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtEntryProtocol XvirtEntryProtocol;
#else
typedef uint32_t XvirtEntryProtocol;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The variants of `XvirtDiskSource`.
 */
enum XvirtDiskSourceKind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_DISK_SOURCE_KIND_DEFAULT = 0,
    /**
     * An image file or block device, which is locked while the VM runs.
     */
    XVIRT_DISK_SOURCE_KIND_IMAGE = 1,
    /**
     * Open image files: the image, followed by its backing files from the nearest to the deepest. They are locked
     * while the VM runs. No file is opened by its path.
     */
    XVIRT_DISK_SOURCE_KIND_DESCRIPTORS = 2,
    /**
     * A backend of the program.
     */
    XVIRT_DISK_SOURCE_KIND_BACKEND = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtDiskSourceKind XvirtDiskSourceKind;
#else
typedef uint32_t XvirtDiskSourceKind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The format of a disk image.
 */
enum XvirtImageFormat
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_IMAGE_FORMAT_DEFAULT = 0,
    /**
     * The bytes of the disk in a plain file or on a block device.
     */
    XVIRT_IMAGE_FORMAT_RAW = 1,
    /**
     * QEMU's copy-on-write format, version 2 or 3. Requires the crate feature `qcow2`.
     */
    XVIRT_IMAGE_FORMAT_QCOW2 = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtImageFormat XvirtImageFormat;
#else
typedef uint32_t XvirtImageFormat;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How the host executes the I/O of a disk.
 */
enum XvirtIoEngine
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_IO_ENGINE_DEFAULT = 0,
    /**
     * io_uring, or threads if the host refuses io_uring.
     */
    XVIRT_IO_ENGINE_AUTO = 1,
    /**
     * io_uring: the kernel executes all requests for existing parts of a file asynchronously. A few threads execute
     * the rest, such as writes that allocate a qcow2 cluster.
     */
    XVIRT_IO_ENGINE_IO_URING = 2,
    /**
     * Threads that make blocking calls, up to eight per disk.
     */
    XVIRT_IO_ENGINE_THREADS = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtIoEngine XvirtIoEngine;
#else
typedef uint32_t XvirtIoEngine;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The variants of `XvirtNicBackendConfig`.
 */
enum XvirtNicBackendConfigKind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_NIC_BACKEND_CONFIG_KIND_DEFAULT = 0,
    /**
     * A tap interface with this name: an existing one, or one that is created at start and removed with the VM.
     */
    XVIRT_NIC_BACKEND_CONFIG_KIND_TAP = 1,
    /**
     * A tap interface that is created at start with a free name.
     */
    XVIRT_NIC_BACKEND_CONFIG_KIND_NEW_TAP = 2,
    /**
     * A tap interface as an open descriptor.
     */
    XVIRT_NIC_BACKEND_CONFIG_KIND_TAP_DESCRIPTOR = 3,
    /**
     * The unix socket at this path, on which a program that carries frames listens, such as `passt`.
     */
    XVIRT_NIC_BACKEND_CONFIG_KIND_STREAM = 4,
    /**
     * A connected unix socket.
     */
    XVIRT_NIC_BACKEND_CONFIG_KIND_CONNECTION = 5,
    /**
     * A `passt` process that is started and stopped with the VM.
     */
    XVIRT_NIC_BACKEND_CONFIG_KIND_USER = 6,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtNicBackendConfigKind XvirtNicBackendConfigKind;
#else
typedef uint32_t XvirtNicBackendConfigKind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * A transport protocol.
 */
enum XvirtTransportProtocol
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_TRANSPORT_PROTOCOL_DEFAULT = 0,
    /**
     * TCP.
     */
    XVIRT_TRANSPORT_PROTOCOL_TCP = 1,
    /**
     * UDP.
     */
    XVIRT_TRANSPORT_PROTOCOL_UDP = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtTransportProtocol XvirtTransportProtocol;
#else
typedef uint32_t XvirtTransportProtocol;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Which unused templates to delete.
 */
enum XvirtUnused
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_UNUSED_DEFAULT = 0,
    /**
     * Only those with a newer version.
     */
    XVIRT_UNUSED_SUPERSEDED = 1,
    /**
     * All of them.
     */
    XVIRT_UNUSED_ALL = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtUnused XvirtUnused;
#else
typedef uint32_t XvirtUnused;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The variants of `XvirtEvent`.
 */
enum XvirtEventKind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * It was started.
     */
    XVIRT_EVENT_KIND_STARTED = 1,
    /**
     * It was paused.
     */
    XVIRT_EVENT_KIND_PAUSED = 2,
    /**
     * It was unpaused.
     */
    XVIRT_EVENT_KIND_UNPAUSED = 3,
    /**
     * It was suspended: the state of its memory and devices is in a file.
     */
    XVIRT_EVENT_KIND_SUSPENDED = 4,
    /**
     * It was resumed from that file, and runs again.
     */
    XVIRT_EVENT_KIND_RESUMED = 5,
    /**
     * It was migrated, and runs elsewhere. The VM here is halted.
     */
    XVIRT_EVENT_KIND_MIGRATED = 6,
    /**
     * It was shut down with xvirt_vm_hard_shutdown(), or freed.
     */
    XVIRT_EVENT_KIND_HARD_SHUTDOWN = 7,
    /**
     * It was reset with xvirt_vm_hard_reboot().
     */
    XVIRT_EVENT_KIND_HARD_RESET = 8,
    /**
     * The guest powered off.
     */
    XVIRT_EVENT_KIND_GUEST_SHUTDOWN = 9,
    /**
     * The guest reset itself, and runs again.
     */
    XVIRT_EVENT_KIND_GUEST_RESET = 10,
    /**
     * The guest's kernel reported a panic. Unless its crash kernel takes over, XVIRT_EVENT_KIND_CRASHED follows.
     */
    XVIRT_EVENT_KIND_GUEST_PANICKED = 11,
    /**
     * The guest cannot continue. Depending on the configuration, the VM is halted, or XVIRT_EVENT_KIND_RESTARTED or
     * XVIRT_EVENT_KIND_PAUSED follows.
     */
    XVIRT_EVENT_KIND_CRASHED = 12,
    /**
     * It was reset after a crash, and runs again.
     */
    XVIRT_EVENT_KIND_RESTARTED = 13,
    /**
     * A disk was plugged in.
     */
    XVIRT_EVENT_KIND_DISK_PLUGGED = 14,
    /**
     * A disk was unplugged, on request or because the guest ejected it. Its image is no longer locked.
     */
    XVIRT_EVENT_KIND_DISK_UNPLUGGED = 15,
    /**
     * The size of a disk changed.
     */
    XVIRT_EVENT_KIND_DISK_RESIZED = 16,
    /**
     * A network interface was plugged in.
     */
    XVIRT_EVENT_KIND_NIC_PLUGGED = 17,
    /**
     * A network interface was unplugged, on request or because the guest ejected it.
     */
    XVIRT_EVENT_KIND_NIC_UNPLUGGED = 18,
    /**
     * A request to a disk failed, and the guest was told so.
     */
    XVIRT_EVENT_KIND_IO_ERROR = 19,
    /**
     * A network interface on a socket lost its peer, and the guest sees the link go down.
     */
    XVIRT_EVENT_KIND_NIC_DISCONNECTED = 20,
    /**
     * A network interface on a socket has a peer again.
     */
    XVIRT_EVENT_KIND_NIC_CONNECTED = 21,
    /**
     * A device cannot be served because the host lacks something, such as a thread or a network interface that was
     * removed. The driver is notified (DEVICE_NEEDS_RESET); the device is tried again when the driver resets it, or
     * at a reboot. Sent once, until the device works again.
     */
    XVIRT_EVENT_KIND_DEVICE_FAILED = 22,
    /**
     * The XvirtVm was dropped. This is its last event.
     */
    XVIRT_EVENT_KIND_DROPPED = 23,
    /**
     * The listener was too slow, and this many of the VM's events are lost, up to the one with this sequence number.
     */
    XVIRT_EVENT_KIND_MISSED = 24,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtEventKind XvirtEventKind;
#else
typedef uint32_t XvirtEventKind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The variants of `XvirtCrashReason`.
 */
enum XvirtCrashReasonKind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * A triple fault: an exception during the delivery of a double fault.
     */
    XVIRT_CRASH_REASON_KIND_TRIPLE_FAULT = 1,
    /**
     * The guest's kernel reported a panic.
     */
    XVIRT_CRASH_REASON_KIND_PANIC = 2,
    /**
     * The guest did not ping its watchdog in time.
     */
    XVIRT_CRASH_REASON_KIND_WATCHDOG = 3,
    /**
     * KVM or the CPU cannot continue, for the given reason.
     */
    XVIRT_CRASH_REASON_KIND_HARDWARE = 4,
    /**
     * The vCPUs could not be stopped for a reset or after a crash, for the given reason: the program blocks or
     * handles the signal that interrupts them.
     */
    XVIRT_CRASH_REASON_KIND_NOT_STOPPED = 5,
    /**
     * The kernel could not be loaded again for a reset, for the given reason.
     */
    XVIRT_CRASH_REASON_KIND_RESET = 6,
    /**
     * A thread of the VM panicked, by a fault of this library or of code that the program runs on its threads, such
     * as a log subscriber. If the thread was `vm-supervisor`, which carries out the configured crash action, the VM
     * is halted in any case, even when paused.
     */
    XVIRT_CRASH_REASON_KIND_THREAD_PANICKED = 7,
    /**
     * The guest's memory, which was to be loaded while the guest runs, could not be loaded, for the given reason.
     */
    XVIRT_CRASH_REASON_KIND_MEMORY_NOT_LOADED = 8,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtCrashReasonKind XvirtCrashReasonKind;
#else
typedef uint32_t XvirtCrashReasonKind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The operation of a request.
 */
enum XvirtIoOperation
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Read.
     */
    XVIRT_IO_OPERATION_READ = 1,
    /**
     * Write.
     */
    XVIRT_IO_OPERATION_WRITE = 2,
    /**
     * Flush: make all completed writes durable.
     */
    XVIRT_IO_OPERATION_FLUSH = 3,
    /**
     * Discard: release space.
     */
    XVIRT_IO_OPERATION_DISCARD = 4,
    /**
     * Write zeroes.
     */
    XVIRT_IO_OPERATION_WRITE_ZEROES = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtIoOperation XvirtIoOperation;
#else
typedef uint32_t XvirtIoOperation;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The variants of `XvirtDevice`.
 */
enum XvirtDeviceKind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The disk at this position.
     */
    XVIRT_DEVICE_KIND_DISK = 1,
    /**
     * The network interface at this position.
     */
    XVIRT_DEVICE_KIND_NIC = 2,
    /**
     * The virtio console.
     */
    XVIRT_DEVICE_KIND_CONSOLE = 3,
    /**
     * The entropy source.
     */
    XVIRT_DEVICE_KIND_RNG = 4,
    /**
     * The memory balloon.
     */
    XVIRT_DEVICE_KIND_BALLOON = 5,
    /**
     * The vsock device.
     */
    XVIRT_DEVICE_KIND_VSOCK = 6,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtDeviceKind XvirtDeviceKind;
#else
typedef uint32_t XvirtDeviceKind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The variants of `XvirtHaltCause`.
 */
enum XvirtHaltCauseKind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Nothing: this handle has not started it yet.
     */
    XVIRT_HALT_CAUSE_KIND_NOT_STARTED = 1,
    /**
     * xvirt_vm_hard_shutdown().
     */
    XVIRT_HALT_CAUSE_KIND_HARD_SHUTDOWN = 2,
    /**
     * It was migrated, and runs elsewhere.
     */
    XVIRT_HALT_CAUSE_KIND_MIGRATED = 3,
    /**
     * The guest powered off.
     */
    XVIRT_HALT_CAUSE_KIND_GUEST_SHUTDOWN = 4,
    /**
     * The guest crashed, or something it needs on the host failed.
     */
    XVIRT_HALT_CAUSE_KIND_CRASHED = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtHaltCauseKind XvirtHaltCauseKind;
#else
typedef uint32_t XvirtHaltCauseKind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The power state of a VM.
 */
enum XvirtPowerState
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Off, and not in memory.
     */
    XVIRT_POWER_STATE_HALTED = 1,
    /**
     * Running.
     */
    XVIRT_POWER_STATE_RUNNING = 2,
    /**
     * In memory, with its vCPUs stopped.
     */
    XVIRT_POWER_STATE_PAUSED = 3,
    /**
     * Saved to disk, with its memory.
     */
    XVIRT_POWER_STATE_SUSPENDED = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtPowerState XvirtPowerState;
#else
typedef uint32_t XvirtPowerState;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * An operation on a VM.
 */
enum XvirtVerb
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    XVIRT_VERB_START = 1,
    XVIRT_VERB_CLEAN_SHUTDOWN = 2,
    XVIRT_VERB_HARD_SHUTDOWN = 3,
    XVIRT_VERB_CLEAN_REBOOT = 4,
    XVIRT_VERB_HARD_REBOOT = 5,
    XVIRT_VERB_PAUSE = 6,
    XVIRT_VERB_UNPAUSE = 7,
    XVIRT_VERB_SUSPEND = 8,
    XVIRT_VERB_RESUME = 9,
    XVIRT_VERB_SNAPSHOT = 10,
    XVIRT_VERB_CHECKPOINT = 11,
    XVIRT_VERB_EXPORT = 12,
    XVIRT_VERB_MIGRATE = 13,
    XVIRT_VERB_SEAL = 14,
    XVIRT_VERB_CLONE = 15,
    XVIRT_VERB_COPY = 16,
    XVIRT_VERB_PLUG = 17,
    XVIRT_VERB_UNPLUG = 18,
    XVIRT_VERB_RESIZE_DISK = 19,
    XVIRT_VERB_SET_LINK = 20,
    XVIRT_VERB_SET_DISK_LIMIT = 21,
    XVIRT_VERB_SET_NIC_LIMIT = 22,
    XVIRT_VERB_SET_CPU_LIMIT = 23,
    XVIRT_VERB_SET_MEMORY_TARGET = 24,
    XVIRT_VERB_WAIT_MEMORY_TARGET = 25,
    XVIRT_VERB_READ_MEMORY_STATISTICS = 26,
    XVIRT_VERB_CONNECT_VSOCK = 27,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtVerb XvirtVerb;
#else
typedef uint32_t XvirtVerb;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How the clocks of a guest account for the time during which it was saved: KVM's clock and the time stamp
 * counters, which go on together. Neither ever goes back.
 *
 * The real-time clock always shows the host's time. The timer of ACPI does not count while a guest is saved. The
 * host cannot see which of its clocks a guest derives its date from.
 */
enum XvirtElapsedTime
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_ELAPSED_TIME_DEFAULT = 0,
    /**
     * The clocks go on as if the guest had run all the time. The date of a guest that uses kvmclock is right at
     * once, and that of one that uses the time stamp counter is too, unless its kernel loses a part of such a long
     * interval (Linux computes with intervals of up to about ten minutes). One that uses the timer of ACPI is late
     * by that time.
     */
    XVIRT_ELAPSED_TIME_COUNTED = 1,
    /**
     * The clocks go on as if no time had passed: the guest's date is late by that time until it is set, for example
     * by the guest's NTP client.
     */
    XVIRT_ELAPSED_TIME_IGNORED = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtElapsedTime XvirtElapsedTime;
#else
typedef uint32_t XvirtElapsedTime;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * When a resume loads the guest's memory.
 */
enum XvirtMemoryLoading
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_MEMORY_LOADING_DEFAULT = 0,
    /**
     * Lazily for the first run of an instance of a template with memory or of a fork, where its file can be mapped,
     * which is then neither verified nor may it be shortened; and before the guest runs for other VMs.
     */
    XVIRT_MEMORY_LOADING_AUTO = 1,
    /**
     * Before the guest runs. The checksums of the file are verified, and the file's storage is free afterwards.
     */
    XVIRT_MEMORY_LOADING_READ = 2,
    /**
     * When the guest uses it: it runs at once. What the file and the VM are decides how:
     *
     * - Private memory in a file on a disk of this host (ext4, XFS, Btrfs, F2FS, bcachefs or ZFS) is mapped: pages
     *   that the guest does not write stay shared with all VMs that are resumed from the same file. Nobody may
     *   shorten the file: an error of reading it would be a SIGBUS in this process. Its storage is used until the VM
     *   is halted. Checksums are not verified. What the guest gives back is as in the file again, and shared; a
     *   guest that initialises free memory (`init_on_free`) keeps what it reports as free. Checkpoints of the
     *   running VM save its memory in rounds.
     * - Shared memory (`shared_memory`), huge pages, memory in a file on another file system, such
     *   as NFS, tmpfs and the overlayfs of containers, and an incremental checkpoint are read into new memory in
     *   blocks of 2 MiB: those that somebody waits for first, then all others in the background. Checksums are
     *   verified. If a block cannot be read or is damaged, the guest stops before it executes another instruction,
     *   which is a crash (`MemoryNotLoaded`). Then its state is lost, as in a power failure, because the file was
     *   removed when it was resumed. Until all is read, its storage is used, and verbs that need all memory wait:
     *   suspends, checkpoints and migrations.
     *
     * The second way needs userfaultfd, which xvirt_host_userfaultfd() reports. It is not possible with a memory
     * file (`memory_file`) of the program: another process that maps it would find zeroes where
     * memory is not read yet.
     */
    XVIRT_MEMORY_LOADING_LAZY = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtMemoryLoading XvirtMemoryLoading;
#else
typedef uint32_t XvirtMemoryLoading;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How the guest's memory was loaded by a resume.
 */
enum XvirtMemoryLoaded
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * It was read before the guest ran.
     */
    XVIRT_MEMORY_LOADED_READ = 1,
    /**
     * It is mapped from the file.
     */
    XVIRT_MEMORY_LOADED_MAPPED = 2,
    /**
     * It is read while the guest runs, with userfaultfd.
     */
    XVIRT_MEMORY_LOADED_USERFAULT = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtMemoryLoaded XvirtMemoryLoaded;
#else
typedef uint32_t XvirtMemoryLoaded;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The kind of firmware of a VM.
 */
enum XvirtFirmware
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * A BIOS.
     */
    XVIRT_FIRMWARE_BIOS = 1,
    /**
     * UEFI.
     */
    XVIRT_FIRMWARE_UEFI = 2,
    /**
     * Paravirtual: there is no firmware; the kernel comes from the disk or the host and runs on Xen only.
     */
    XVIRT_FIRMWARE_PARAVIRTUAL = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtFirmware XvirtFirmware;
#else
typedef uint32_t XvirtFirmware;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The action after a guest crash. XenServer may also write a dump, or rename the VM first.
 */
enum XvirtAfterCrash
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The VM is halted.
     */
    XVIRT_AFTER_CRASH_DESTROY = 1,
    /**
     * The VM is started again.
     */
    XVIRT_AFTER_CRASH_RESTART = 2,
    /**
     * The VM is preserved for inspection.
     */
    XVIRT_AFTER_CRASH_PRESERVE = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtAfterCrash XvirtAfterCrash;
#else
typedef uint32_t XvirtAfterCrash;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How to open a disk: the access mode, and who else may open it.
 */
enum XvirtAccess
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_ACCESS_DEFAULT = 0,
    /**
     * Read and write, exclusively.
     */
    XVIRT_ACCESS_READ_WRITE = 1,
    /**
     * Read only, together with other readers.
     */
    XVIRT_ACCESS_READ_ONLY = 2,
    /**
     * Read and write, together with others that also open it as shared. For raw images whose guests coordinate their
     * writes, as cluster file systems do.
     */
    XVIRT_ACCESS_SHARED = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtAccess XvirtAccess;
#else
typedef uint32_t XvirtAccess;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How a copy shares data with its base.
 */
enum XvirtOverlayKind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Reflink: the file system shares the blocks. The copy has the format of the base and is independent of it: the
     * base may be changed or deleted.
     */
    XVIRT_OVERLAY_KIND_REFLINK = 1,
    /**
     * The copy is a qcow2 image with the base as its backing file, which must stay at its path and unchanged.
     */
    XVIRT_OVERLAY_KIND_QCOW2 = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtOverlayKind XvirtOverlayKind;
#else
typedef uint32_t XvirtOverlayKind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The compression of an archive.
 */
enum XvirtCompression
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_COMPRESSION_DEFAULT = 0,
    /**
     * No compression.
     */
    XVIRT_COMPRESSION_NONE = 1,
    /**
     * gzip, supported by all versions of XenServer, but slow.
     */
    XVIRT_COMPRESSION_GZIP = 2,
    /**
     * zstd, supported by XCP-ng since 7.6 and by XenServer since 8.1.
     */
    XVIRT_COMPRESSION_ZSTD = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtCompression XvirtCompression;
#else
typedef uint32_t XvirtCompression;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The checksum algorithm of chunks.
 */
enum XvirtChecksum
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_CHECKSUM_DEFAULT = 0,
    /**
     * XXH64, supported by XenServer and XCP-ng since 8.1.
     */
    XVIRT_CHECKSUM_XXHASH = 1,
    /**
     * SHA-1, supported by all versions.
     */
    XVIRT_CHECKSUM_SHA1 = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtChecksum XvirtChecksum;
#else
typedef uint32_t XvirtChecksum;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The phase of a migration. The module describes them.
 */
enum XvirtMigrationPhase
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Source: the guest runs, and its memory is copied.
     */
    XVIRT_MIGRATION_PHASE_RUNNING = 1,
    /**
     * Source: the guest is stopped; the last pages are sent.
     */
    XVIRT_MIGRATION_PHASE_PARKED = 2,
    /**
     * Source: the disks are closed and unlocked; the target opens them.
     */
    XVIRT_MIGRATION_PHASE_RELEASED = 3,
    /**
     * Source: the decision about the commit is made.
     */
    XVIRT_MIGRATION_PHASE_DECIDING = 4,
    /**
     * Source: the commit is sent.
     */
    XVIRT_MIGRATION_PHASE_COMMITTING = 5,
    /**
     * Source: the migration has failed, and the disks are opened again.
     */
    XVIRT_MIGRATION_PHASE_RECLAIMING = 6,
    /**
     * Target: memory arrives.
     */
    XVIRT_MIGRATION_PHASE_RECEIVING = 7,
    /**
     * Target: the disks are open and the state is loaded.
     */
    XVIRT_MIGRATION_PHASE_PREPARED = 8,
    /**
     * Target: the connection broke before the commit; the decision is read.
     */
    XVIRT_MIGRATION_PHASE_ASKING = 9,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtMigrationPhase XvirtMigrationPhase;
#else
typedef uint32_t XvirtMigrationPhase;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How the target of a migration gets the guest's memory.
 */
enum XvirtMemoryTransfer
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_MEMORY_TRANSFER_DEFAULT = 0,
    /**
     * It is copied over the connections while the guest runs.
     */
    XVIRT_MEMORY_TRANSFER_COPY = 1,
    /**
     * A local hand-over: nothing is copied, but the target gets the descriptors of the files that hold the memory,
     * and maps them. This moves a VM to another process of the same host, such as the next version of the program,
     * and stops its guest for a few milliseconds whatever the size of its memory.
     *
     * It needs memory in a file (`shared_memory`, huge pages, or a sealed
     * `memory_file`), and one connection, which is a unix socket. Both processes can write to the
     * memory from then on, so they must trust each other.
     */
    XVIRT_MEMORY_TRANSFER_LOCAL_HAND_OVER = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtMemoryTransfer XvirtMemoryTransfer;
#else
typedef uint32_t XvirtMemoryTransfer;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What a migration does when its time is over and its guest still writes too fast.
 */
enum XvirtAtLimit
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The default.
     */
    XVIRT_AT_LIMIT_DEFAULT = 0,
    /**
     * It fails, and the guest runs on at the source.
     */
    XVIRT_AT_LIMIT_ABORT = 1,
    /**
     * It stops the guest after the current round and sends the rest, however long that takes.
     */
    XVIRT_AT_LIMIT_PAUSE = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtAtLimit XvirtAtLimit;
#else
typedef uint32_t XvirtAtLimit;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What is known about the transaction that makes the target the owner of the VM.
 */
enum XvirtDecision
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * It is applied: the target is the owner.
     */
    XVIRT_DECISION_APPLIED = 1,
    /**
     * It is not applied, and never will be.
     */
    XVIRT_DECISION_REFUSED = 2,
    /**
     * It may be applied now or later; nobody can say yet.
     */
    XVIRT_DECISION_UNKNOWN = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum XvirtDecision XvirtDecision;
#else
typedef uint32_t XvirtDecision;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * An archive with random access to its disks.
 *
 * It must be a file that is uncompressed, or that xvirt_xva_export() compressed with zstd. The file must not
 * change meanwhile.
 *
 * Several threads may use it at once. Free it with xvirt_archive_free() when no call uses it any more.
 */
typedef struct XvirtArchive XvirtArchive;

/**
 * An open disk image, or a disk that the program implements.
 *
 * Several threads may use it at once. Free it with xvirt_block_backend_free() when no call uses it any more. A VM that
 * got it keeps it open.
 */
typedef struct XvirtBlockBackend XvirtBlockBackend;

/**
 * Cancels the calls that got it in their `XvirtCall`.
 *
 * Several threads may use it at once, and several calls may get it. Free it with xvirt_cancel_free() when no call that
 * got it runs any more.
 */
typedef struct XvirtCancel XvirtCancel;

/**
 * The connections of a migration.
 *
 * Several threads may use it at once, but only one migration at a time. Free it with xvirt_channel_free() when no call
 * uses it any more.
 */
typedef struct XvirtChannel XvirtChannel;

/**
 * A console that serves one connection. Freeing it disconnects the peer and ends the thread.
 *
 * Several threads may use it at once. Free it with xvirt_connection_attachment_free() when no call uses it any
 * more.
 */
typedef struct XvirtConnectionAttachment XvirtConnectionAttachment;

/**
 * The console of a VM: its output so far, and its input.
 *
 * No user of the console slows the guest down: output goes into a bounded ring, and readers that fall behind
 * lose the oldest bytes and are told so. The console is kept across reboots and ends with the VM. In a child of
 * fork(2) it is closed.
 *
 * Input goes only to the guest that is running when it is sent. A halted VM accepts none. Input that the guest
 * has not read when it is halted or reset is dropped, so the next boot never executes old input. The guest of a
 * paused VM reads its input once it is unpaused, and that of a suspended VM once it is resumed. If another
 * process resumes the VM, its console has the newest 64 KiB of the output, and the input that the guest had not
 * read at the suspend.
 *
 * Several threads may use it at once. Free it with xvirt_console_free() when no call uses it any more.
 */
typedef struct XvirtConsole XvirtConsole;

/**
 * Reads a console's output from its own position; other readers are not affected.
 *
 * One call at a time can use it: another one at the same time fails with XVIRT_STATUS_BUSY. Free it with
 * xvirt_console_reader_free() when no call uses it any more.
 */
typedef struct XvirtConsoleReader XvirtConsoleReader;

/**
 * Sends input to a console without waiting, for event loops. xvirt_console_writer() returns it.
 *
 * May be used from several threads, but they share one descriptor, which tells of the last
 * xvirt_console_writer_try_write() only. Create one for each user otherwise.
 *
 * Several threads may use it at once. Free it with xvirt_console_writer_free() when no call uses it any more.
 */
typedef struct XvirtConsoleWriter XvirtConsoleWriter;

/**
 * The CPU features that one host has for its guests, or that several hosts have in common.
 *
 * A VM that is to be resumed on any of several hosts must be started with their common features
 * (`cpu_baseline`): a guest uses what it finds when it boots. Each host determines its own
 * (xvirt_host_cpu_baseline()) and can send them, for example as JSON; xvirt_cpu_baseline_of() computes what they
 * have in common.
 *
 * This covers the feature bits of CPUID (Intel SDM volume 2A; AMD APM volume 3, appendix E). It does not cover
 * these:
 *
 * - The frequency of the time stamp counter. A host whose counter has another frequency (by more than 250
 *   millionths) can resume a guest only if its CPU can scale the counter; otherwise the resume fails and says
 *   so.
 * - What model-specific registers say, such as the mitigations in `IA32_ARCH_CAPABILITIES` that a CPU does not
 *   need. A guest keeps the answers of the host on which it booted, so boot it on the host with the oldest CPU.
 * - The width of physical addresses, which the guest also keeps. It matters to guests with more memory than the
 *   smallest host can address.
 *
 * Several threads may use it at once. Free it with xvirt_cpu_baseline_free() when no call uses it any more.
 */
typedef struct XvirtCpuBaseline XvirtCpuBaseline;

/**
 * What went wrong, in all detail.
 *
 * The caller of the failed call owns it, and frees it with xvirt_error_free(). Several threads may use it at once. Its
 * texts are NUL-terminated UTF-8 and valid until it is freed.
 */
typedef struct XvirtError XvirtError;

/**
 * A listener for the events of one VM or of many. It gets all events from xvirt_event_receiver_listen() on,
 * those of each VM in their order, and then reports that the VMs are gone.
 *
 * Several threads may use it at once. Free it with xvirt_event_receiver_free() when no call uses it any more.
 */
typedef struct XvirtEventReceiver XvirtEventReceiver;

/**
 * One end of a connection that carries Ethernet frames. No function blocks, and all may be called from any
 * thread.
 *
 * Partly received and sent frames are kept here, so that a connection can outlive the NIC that uses it.
 *
 * Several threads may use it at once. Free it with xvirt_frame_stream_free() when no call uses it any more.
 */
typedef struct XvirtFrameStream XvirtFrameStream;

/**
 * The frozen file systems of a guest: nothing is written to them until they are thawed, by
 * xvirt_frozen_file_systems_thaw(), by freeing this, or at the time limit. Freeing this waits for the agent at
 * most for its time limit (xvirt_guest_agent_timeout()); a failed thaw is retried on a thread as long as the VM
 * exists and runs.
 *
 * One call at a time can use it: another one at the same time fails with XVIRT_STATUS_BUSY. Free it with
 * xvirt_frozen_file_systems_free() when no call uses it any more.
 */
typedef struct XvirtFrozenFileSystems XvirtFrozenFileSystems;

/**
 * The QEMU guest agent of a VM, returned by xvirt_vm_agent().
 *
 * All calls may be made from any thread; those to one VM take turns. Each has a time limit, 10 s unless changed
 * by xvirt_guest_agent_with_timeout(), which includes waiting for its turn. A call that fails may take a few
 * seconds longer, to close files and kill commands in the guest; if it was interrupted, a thread does that. The
 * handle does not keep the VM alive: calls fail with XVIRT_STATUS_GONE after the VM is freed, and with
 * XVIRT_STATUS_INVALID_STATE in a child of fork(2).
 *
 * Errors:
 * All calls may fail with these kinds:
 * - XVIRT_STATUS_AGENT_ABSENT: no program in the guest has the port open, or it has closed it. Install and start
 *   `qemu-guest-agent` in the guest; xvirt_guest_agent_wait_ready() waits for it.
 * - XVIRT_STATUS_AGENT_REFUSED: the agent answered with an error, which xvirt_error_cause() returns.
 * - XVIRT_STATUS_INVALID_ANSWER: its answer is malformed or too long.
 * - XVIRT_STATUS_TIMEOUT: it did not answer in time, for example because the VM is paused. The agent may execute
 *   the call later.
 * - XVIRT_STATUS_INVALID_STATE: the VM is halted, or was halted or reset during the call.
 *
 * Trust:
 * The guest controls its answers: each is checked and bounded, and costs no more than the time limit, but may be
 * untrue. The agent runs as root; the owner of this handle can do anything in the guest.
 *
 * Several threads may use it at once. Free it with xvirt_guest_agent_free() when no call uses it any more.
 */
typedef struct XvirtGuestAgent XvirtGuestAgent;

/**
 * What a host offers to VMs, at the time of the probe.
 *
 * Sizes are in bytes.
 *
 * Several threads may use it at once. Free it with xvirt_host_free() when no call uses it any more.
 */
typedef struct XvirtHost XvirtHost;

/**
 * A histogram of durations.
 *
 * The width of a bucket is at most an eighth of its lower end, so a reported duration is at most that much too
 * long. All durations below 1024 ns share a bucket, and so do those of 69 s and more.
 *
 * Several threads may use it at once. It belongs to the result that contains it.
 */
typedef struct XvirtLatencies XvirtLatencies;

/**
 * A network that the program implements, for one NIC.
 *
 * Several threads may use it at once. Free it with xvirt_network_free() when no call uses it any more.
 */
typedef struct XvirtNetwork XvirtNetwork;

/**
 * A console attached to a pseudo-terminal. Freeing it closes the terminal and ends its thread.
 *
 * Several threads may use it at once. Free it with xvirt_pty_attachment_free() when no call uses it any more.
 */
typedef struct XvirtPtyAttachment XvirtPtyAttachment;

/**
 * A folder that stores templates, VMs and their disks.
 *
 * Several processes may use it at once, and all functions may be called from any thread. Nothing is held open
 * between calls.
 *
 * Several threads may use it at once. Free it with xvirt_repository_free() when no call uses it any more.
 */
typedef struct XvirtRepository XvirtRepository;

/**
 * A snapshot of a VM: its disks and its configuration at one moment, and for a checkpoint its memory.
 *
 * Several threads may use it at once. Free it with xvirt_snapshot_free() when no call uses it any more.
 */
typedef struct XvirtSnapshot XvirtSnapshot;

/**
 * A disk at a point in time, regardless of later writes: a read-only backend.
 *
 * While the view exists, the disk's image stays locked, and old contents of overwritten blocks take space in the
 * scratch file. If the host cannot preserve them, usually because the scratch file's file system is full, all
 * further reads fail with that reason; the guest is not affected.
 *
 * Several threads may use it at once. It belongs to the result that contains it.
 */
typedef struct XvirtSnapshotView XvirtSnapshotView;

/**
 * A console that listens on a Unix socket. Freeing it disconnects all clients, ends the thread and removes the
 * file.
 *
 * Several threads may use it at once. Free it with xvirt_socket_attachment_free() when no call uses it any more.
 */
typedef struct XvirtSocketAttachment XvirtSocketAttachment;

/**
 * A folder in which the disks of a new VM are created until it is committed. Freeing it uncommitted removes
 * everything in it.
 *
 * It may be used from any thread of the process that created it; freeing it in a child of fork(2) has no effect.
 * If the process dies, the next opening of the repository removes it.
 *
 * One call at a time can use it: another one at the same time fails with XVIRT_STATUS_BUSY. Free it with
 * xvirt_stage_free() when no call uses it any more.
 */
typedef struct XvirtStage XvirtStage;

/**
 * A VM in a repository: a snapshot of its record at the time of the call.
 *
 * Several threads may use it at once. Free it with xvirt_stored_vm_free() when no call uses it any more.
 */
typedef struct XvirtStoredVm XvirtStoredVm;

/**
 * A disk that fetches its data from a slow source on demand and keeps it in a target image.
 *
 * While a block is fetched, only requests that need it wait. An error of the source fails the request that
 * needed it; the next one tries again.
 *
 * Several threads may use it at once. Free it with xvirt_streaming_disk_free() when no call uses it any more.
 */
typedef struct XvirtStreamingDisk XvirtStreamingDisk;

/**
 * A VM whose disks are still in an archive, or partly copied from it.
 *
 * xvirt_streaming_import_config() can be built and started immediately: data that the guest reads is fetched
 * from the archive on demand, and data that it writes goes to images in the repository. Meanwhile,
 * xvirt_streaming_import_complete() copies the rest and turns it into a VM of the repository, which may keep
 * running. Until then, the VM exists only as long as this value: when it is freed, or the process dies, the
 * images are removed, and the guest's writes are lost. So keep it until xvirt_streaming_import_complete() has
 * succeeded.
 *
 * Several threads may use it at once. Free it with xvirt_streaming_import_free() when no call uses it any more.
 */
typedef struct XvirtStreamingImport XvirtStreamingImport;

/**
 * A VM that was suspended, maybe by another process: the file that xvirt_vm_suspend() wrote.
 *
 * One call at a time can use it: another one at the same time fails with XVIRT_STATUS_BUSY. Free it with
 * xvirt_suspended_vm_free() when no call uses it any more.
 */
typedef struct XvirtSuspendedVm XvirtSuspendedVm;

/**
 * A tap interface of the host: frames written to it are received by the host, and frames that the host sends are
 * read from it.
 *
 * Each read and write is one Ethernet frame after a header of XVIRT_VNET_HEADER_LENGTH bytes. The descriptor is
 * non-blocking and can be polled.
 *
 * Methods that concern the interface rather than frames (MTU, state, address, bridge) work in the network
 * namespace of the calling thread.
 *
 * Several threads may use it at once. Free it with xvirt_tap_free() when no call uses it any more.
 */
typedef struct XvirtTap XvirtTap;

/**
 * An immutable template in a repository.
 *
 * Several threads may use it at once. Free it with xvirt_template_free() when no call uses it any more.
 */
typedef struct XvirtTemplate XvirtTemplate;

/**
 * The certificate of this host, its key, and the certificates of the authorities that it trusts, for migrations with
 * TLS.
 *
 * Several threads may use it at once. Free it with xvirt_tls_free() when no call uses it any more.
 */
typedef struct XvirtTls XvirtTls;

/**
 * A virtual machine.
 *
 * Verbs change the VM one at a time: each waits for its turn, and xvirt_vm_current_operations() lists those in
 * progress. Queries (power state, statistics, lists, events) never wait for a verb. The timeout of a verb starts
 * when its turn comes. Freeing the VM is a hard shutdown: it releases threads, descriptors, locks and memory.
 *
 * It belongs to the process that made it. In a child of fork(2), verbs fail with XVIRT_STATUS_INVALID_STATE,
 * queries return what they do for a halted VM without devices, and freeing it has no effect.
 *
 * A verb that the VM's state does not allow fails with XVIRT_STATUS_INVALID_STATE, which names both. Another
 * thread or the guest may have caused that state.
 *
 * Signals and panics:
 * The VM's own threads block all signals. One signal interrupts vCPU threads: the first real-time signal without
 * a handler when the first VM of the process starts. If the program installs a handler for it later, the verbs
 * that need it fail with XVIRT_STATUS_BUSY.
 *
 * A panic on one of the VM's threads, for example in the program's log subscriber, is a crash of the VM
 * (XVIRT_CRASH_REASON_KIND_THREAD_PANICKED).
 *
 * Several threads may use it at once. Free it with xvirt_vm_free() when no call uses it any more.
 */
typedef struct XvirtVm XvirtVm;

/**
 * Listens for connections from the guest to one port of its host. Freeing the listener or the VM refuses further
 * connections; halting the VM does not.
 *
 * Its descriptor is readable while a connection waits or the VM is gone, for use in the program's own event
 * loop.
 *
 * Several threads may use it at once. Free it with xvirt_vsock_listener_free() when no call uses it any more.
 */
typedef struct XvirtVsockListener XvirtVsockListener;

/**
 * A name and its value, both NUL-terminated. Programs make arrays of them, so they never get another member.
 */
typedef struct XvirtStringPair {
    /**
     * The name.
     */
    const char *key;
    /**
     * The value.
     */
    const char *value;
} XvirtStringPair;

/**
 * A command to run in the guest, for xvirt_guest_agent_run() and xvirt_guest_agent_run_streamed().
 *
 * It runs as the agent does: as root, in the folder `/`.
 */
typedef struct XvirtGuestCommand {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The program: a path, or a name that is looked up in the agent's `PATH`. Required.
     */
    const char *program;
    /**
     * Its arguments.
     */
    const char *const *args;
    /**
     * The number of `args`.
     */
    size_t arg_count;
    /**
     * Its environment; that of the agent if empty.
     */
    const struct XvirtStringPair *env;
    /**
     * The number of `env`.
     */
    size_t env_count;
    /**
     * Its standard input.
     */
    const uint8_t *input;
    /**
     * The number of bytes of `input`.
     */
    size_t input_length;
    /**
     * Whether `timeout_ns` is set.
     */
    bool has_timeout;
    /**
     * When it is killed; never if absent. In nanoseconds.
     */
    uint64_t timeout_ns;
    /**
     * How many bytes of each of its outputs are kept: 1 MiB by default, and at most 16 MiB.
     */
    size_t output_limit;
} XvirtGuestCommand;

/**
 * How a call runs that may take long. All zeroes, or NULL in its place, is fine.
 *
 * The call only reads it, so several calls may use one at the same time. What calls are told in addition in later
 * versions of the library is added here, with zero for what was done before.
 */
typedef struct XvirtCall {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The longest time that the call may take, in nanoseconds; 0 and UINT64_MAX are no limit. After it, the call fails
     * with XVIRT_STATUS_TIMEOUT.
     */
    uint64_t timeout_ns;
    /**
     * Cancels the call from another thread, if it is not NULL. It must not be freed before the call has returned.
     */
    const struct XvirtCancel *cancel;
    /**
     * Called now and then, always on the thread of the call and never after it, if it is not NULL. `done` is the number
     * of bytes that are done, of `total`; `total` is 0 while that is unknown. Returns false to cancel the call.
     * Only calls that move data report progress.
     */
    bool (*progress)(void *user_data, uint64_t done, uint64_t total);
    /**
     * What `progress` gets.
     */
    void *user_data;
} XvirtCall;

/**
 * How a command in the guest ended.
 */
typedef struct XvirtCommandStatus {
    /**
     * Which of the variants it is, and which member says more.
     */
    XvirtCommandStatusKind kind;
    /**
     * With this exit status, where 0 is success.
     */
    int32_t exited;
    /**
     * By this signal.
     */
    int32_t signalled;
} XvirtCommandStatus;

/**
 * What a disk does that the program implements.
 *
 * The functions are called on threads of the VM's device, several at once. They return 0, or the number of an error as
 * in errno(3), which the guest gets as an I/O error. They get `user_data`, an offset in bytes, and a buffer that may be
 * memory of the guest: the guest may change it at any time, and it is gone when the function has returned. They must not
 * call functions of this library for the VM that has the disk.
 */
typedef struct XvirtDiskOperations {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The size of the disk in bytes, a multiple of 512. Required.
     */
    uint64_t capacity;
    /**
     * The physical block size in bytes, a power of two; 512 if it is 0.
     */
    uint32_t block_size;
    /**
     * Whether writes are refused.
     */
    bool read_only;
    /**
     * Fills a buffer. Required.
     */
    int (*read)(void *user_data, uint8_t *buffer, size_t length, uint64_t offset);
    /**
     * Writes a buffer. Required, unless the disk is read-only.
     */
    int (*write)(void *user_data, const uint8_t *buffer, size_t length, uint64_t offset);
    /**
     * Returns when everything written before is on stable storage. NULL if it always is.
     */
    int (*flush)(void *user_data);
    /**
     * Discards a range, which then reads as its old contents or as zeroes. NULL if that changes nothing.
     */
    int (*discard)(void *user_data, uint64_t offset, uint64_t length);
    /**
     * Zeroes a range; with `unmap`, its space may be released. NULL if `write` is to write zeroes.
     */
    int (*write_zeroes)(void *user_data, uint64_t offset, uint64_t length, bool unmap);
    /**
     * Called once, when nothing uses the disk any more, on any thread. It may be NULL.
     */
    void (*release)(void *user_data);
    /**
     * What the functions get.
     */
    void *user_data;
} XvirtDiskOperations;

/**
 * A file on a partition of the disk.
 */
typedef struct XvirtDiskPath {
    /**
     * Linux's partition number, from 1; 0 for an unpartitioned disk.
     */
    uint32_t partition;
    /**
     * The path from the root of the partition's file system.
     */
    const char *path;
} XvirtDiskPath;

/**
 * One entry of a disk's boot menu.
 */
typedef struct XvirtBootEntry {
    /**
     * The entry's identifier in its configuration, or its title if it has none.
     */
    const char *id;
    /**
     * The title in the menu.
     */
    const char *title;
    /**
     * The titles of the submenus around it, outermost first.
     */
    const char *const *submenu;
    /**
     * The number of `submenu`.
     */
    size_t submenu_count;
    /**
     * The kernel, if the entry starts one.
     */
    const struct XvirtDiskPath *kernel;
    /**
     * The initial RAM disks, in load order.
     */
    const struct XvirtDiskPath *const *initrds;
    /**
     * The number of `initrds`.
     */
    size_t initrd_count;
    /**
     * The kernel command line.
     */
    const char *command_line;
    /**
     * Whether the disk boots this entry by default.
     */
    bool default_;
    /**
     * The configuration that contains it.
     */
    XvirtBootSource source;
    /**
     * Why this entry cannot be booted, if so.
     */
    const char *not_bootable;
} XvirtBootEntry;

/**
 * A list, which `xvirt_boot_entry_list_free()` frees with all that is in it.
 */
typedef struct XvirtBootEntryList {
    /**
     * The values.
     */
    const struct XvirtBootEntry *const *items;
    /**
     * Their number.
     */
    size_t count;
} XvirtBootEntryList;

/**
 * Selects an entry of a boot menu.
 */
typedef struct XvirtEntryChoice {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * Which of the variants it is, and which member says more.
     */
    XvirtEntryChoiceKind kind;
    /**
     * By index in xvirt_boot_menu_entries(), from 0.
     */
    size_t index;
    /**
     * By its title.
     */
    const char *title;
    /**
     * By its identifier.
     */
    const char *id;
} XvirtEntryChoice;

/**
 * Size limits of the files read from a disk.
 */
typedef struct XvirtLimits {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The largest kernel image, in bytes; 256 MiB by default.
     */
    uint64_t kernel;
    /**
     * The largest sum of all initial RAM disks, in bytes; 1 GiB by default.
     */
    uint64_t initrd;
} XvirtLimits;

/**
 * The files and the command line to start a kernel with.
 */
typedef struct XvirtBootFiles {
    /**
     * The kernel image.
     */
    const uint8_t *kernel;
    /**
     * The number of bytes of `kernel`.
     */
    size_t kernel_length;
    /**
     * The initial RAM disks, concatenated.
     */
    const uint8_t *initrd;
    /**
     * The number of bytes of `initrd`.
     */
    size_t initrd_length;
    /**
     * The kernel command line.
     */
    const char *command_line;
} XvirtBootFiles;

/**
 * A command of the agent's protocol.
 */
typedef struct XvirtAgentCommand {
    /**
     * Its name, such as `guest-exec`.
     */
    const char *name;
    /**
     * Whether the guest's administrator allows it, and the agent's current state.
     */
    bool enabled;
} XvirtAgentCommand;

/**
 * The agent's information about itself.
 */
typedef struct XvirtAgentInfo {
    /**
     * Its version, which is that of QEMU, such as `7.2.17`.
     */
    const char *version;
    /**
     * The commands of the protocol that it implements.
     */
    const struct XvirtAgentCommand *const *commands;
    /**
     * The number of `commands`.
     */
    size_t command_count;
} XvirtAgentInfo;

/**
 * An address of a network interface in a guest.
 */
typedef struct XvirtGuestAddress {
    /**
     * The address.
     */
    const char *address;
    /**
     * The length of the network prefix in bits: at most 32 for IPv4, 128 for IPv6.
     */
    uint8_t prefix;
} XvirtGuestAddress;

/**
 * A network interface as the guest sees it.
 */
typedef struct XvirtNetworkInterface {
    /**
     * The guest's name for it, such as `eth0`.
     */
    const char *name;
    /**
     * Its MAC address, which identifies the VM's NIC; NULL if it has none, or a hardware address of another length.
     */
    const char *mac;
    /**
     * Its addresses.
     */
    const struct XvirtGuestAddress *const *addresses;
    /**
     * The number of `addresses`.
     */
    size_t address_count;
} XvirtNetworkInterface;

/**
 * A list, which `xvirt_network_interface_list_free()` frees with all that is in it.
 */
typedef struct XvirtNetworkInterfaceList {
    /**
     * The values.
     */
    const struct XvirtNetworkInterface *const *items;
    /**
     * Their number.
     */
    size_t count;
} XvirtNetworkInterfaceList;

/**
 * How a command ended, and its output.
 */
typedef struct XvirtCommandOutput {
    /**
     * How it ended.
     */
    const struct XvirtCommandStatus *status;
    /**
     * Its standard output, up to the limit (`output_limit`).
     */
    const uint8_t *standard_output;
    /**
     * The number of bytes of `standard_output`.
     */
    size_t standard_output_length;
    /**
     * Its standard error, up to the limit.
     */
    const uint8_t *standard_error;
    /**
     * The number of bytes of `standard_error`.
     */
    size_t standard_error_length;
    /**
     * Whether its standard output was longer than that.
     */
    bool stdout_truncated;
    /**
     * Whether its standard error was longer than that.
     */
    bool stderr_truncated;
} XvirtCommandOutput;

/**
 * The capabilities of KVM that matter to xvirt.
 */
typedef struct XvirtKvmCapabilities {
    /**
     * The API version; always 12.
     */
    int32_t api_version;
    /**
     * Guest memory in the memory of this process. Required.
     */
    bool user_memory;
    /**
     * In-kernel interrupt controllers. Required.
     */
    bool irqchip;
    /**
     * Interrupts through event descriptors, which xvirt does not use.
     */
    bool irqfd;
    /**
     * Event descriptors that are signalled by guest writes. Required.
     */
    bool ioeventfd;
    /**
     * Message-signalled interrupts through a system call. Required.
     */
    bool signal_msi;
    /**
     * A vCPU can be stopped before it enters the guest. Required.
     */
    bool immediate_exit;
    /**
     * The in-kernel interrupt controllers can be limited to the local APICs.
     */
    bool split_irqchip;
    /**
     * Interrupts for more than 255 vCPUs.
     */
    bool x2apic_api;
    /**
     * The log of pages changed by the guest can be cleared in parts.
     */
    bool dirty_log;
    /**
     * The maximum size of the dirty ring in bytes per vCPU; 0 if not supported.
     */
    uint32_t dirty_ring;
    /**
     * Guest accesses to model-specific registers can be filtered.
     */
    bool msr_filter;
    /**
     * The maximum size of a vCPU's extended state in bytes; 0 if it has the fixed size of 4096.
     */
    uint32_t xsave2;
    /**
     * The guest's TSC frequency can be set, which migration between different hosts needs.
     */
    bool tsc_control;
    /**
     * The state of nested virtualization can be saved.
     */
    bool nested_state;
    /**
     * Guest memory that this process cannot access.
     */
    bool guest_memfd;
    /**
     * The most vCPUs of a VM.
     */
    uint32_t max_vcpus;
    /**
     * The recommended maximum of vCPUs of a VM.
     */
    uint32_t recommended_vcpus;
    /**
     * The most memory slots of a VM.
     */
    uint32_t max_memory_slots;
} XvirtKvmCapabilities;

/**
 * KVM works with hardware virtualization.
 */
typedef struct XvirtKvmStatusReady {
    /**
     * The capabilities of KVM.
     */
    const struct XvirtKvmCapabilities *capabilities;
} XvirtKvmStatusReady;

/**
 * KVM works without hardware virtualization: orders of magnitude slower, and not every guest starts.
 */
typedef struct XvirtKvmStatusEmulated {
    /**
     * The kernel module that replaces the hardware, if it was detected.
     */
    const char *module;
    /**
     * The capabilities of KVM.
     */
    const struct XvirtKvmCapabilities *capabilities;
} XvirtKvmStatusEmulated;

/**
 * There is no KVM.
 */
typedef struct XvirtKvmStatusAbsent {
    /**
     * The reason.
     */
    XvirtKvmAbsence cause;
} XvirtKvmStatusAbsent;

/**
 * KVM lacks required capabilities.
 */
typedef struct XvirtKvmStatusTooOld {
    /**
     * The API version; xvirt requires 12.
     */
    int32_t api_version;
    /**
     * The missing capabilities, by name in XvirtKvmCapabilities.
     */
    const char *const *missing;
    /**
     * The number of `missing`.
     */
    size_t missing_count;
} XvirtKvmStatusTooOld;

/**
 * KVM exists and this process may use it, but it does not work.
 */
typedef struct XvirtKvmStatusFailed {
    /**
     * The error of KVM.
     */
    const char *reason;
} XvirtKvmStatusFailed;

/**
 * Whether and how well VMs can run on a host.
 */
typedef struct XvirtKvmStatus {
    /**
     * Which of the variants it is, and which member says more.
     */
    XvirtKvmStatusKind kind;
    /**
     * KVM works with hardware virtualization.
     */
    const struct XvirtKvmStatusReady *ready;
    /**
     * KVM works without hardware virtualization: orders of magnitude slower, and not every guest starts.
     */
    const struct XvirtKvmStatusEmulated *emulated;
    /**
     * There is no KVM.
     */
    const struct XvirtKvmStatusAbsent *absent;
    /**
     * KVM lacks required capabilities.
     */
    const struct XvirtKvmStatusTooOld *too_old;
    /**
     * KVM exists and this process may use it, but it does not work.
     */
    const struct XvirtKvmStatusFailed *failed;
} XvirtKvmStatus;

/**
 * The online CPUs of a host.
 */
typedef struct XvirtCpus {
    /**
     * The vendor according to CPUID: `GenuineIntel`, `AuthenticAMD`.
     */
    const char *vendor;
    /**
     * The model name.
     */
    const char *model;
    /**
     * The number of logical CPUs: the most vCPUs that can run simultaneously.
     */
    size_t logical;
    /**
     * The number of cores.
     */
    size_t cores;
    /**
     * The number of sockets.
     */
    size_t sockets;
    /**
     * The number of NUMA nodes; 1 if all memory is equally close.
     */
    size_t numa_nodes;
    /**
     * The hardware virtualization that the kernel sees: `vmx`, `svm`, or none.
     */
    const char *virtualization;
    /**
     * Whether this host is itself a VM.
     */
    bool is_guest;
} XvirtCpus;

/**
 * The pool of huge pages of one size.
 */
typedef struct XvirtHugePages {
    /**
     * The size of a page in bytes.
     */
    uint64_t page_size;
    /**
     * The number of reserved pages.
     */
    uint64_t total;
    /**
     * The number of unused pages.
     */
    uint64_t free;
} XvirtHugePages;

/**
 * The memory of a host, in bytes.
 */
typedef struct XvirtMemory {
    /**
     * The total.
     */
    uint64_t total;
    /**
     * The memory available to VMs without swapping.
     */
    uint64_t available;
    /**
     * The pools of huge pages, smallest page first.
     */
    const struct XvirtHugePages *const *huge_pages;
    /**
     * The number of `huge_pages`.
     */
    size_t huge_page_count;
    /**
     * The mode of transparent huge pages: `always`, `madvise` (on request; xvirt requests them) or `never`.
     */
    const char *transparent_huge_pages;
} XvirtMemory;

/**
 * A feature that the host lacks or that is slow, its consequence for VMs, and the remedy.
 */
typedef struct XvirtHostProblem {
    /**
     * The problem, such as "KVM is not loaded: there is no /dev/kvm".
     */
    const char *what;
    /**
     * The consequence, such as "no VM can start".
     */
    const char *consequence;
    /**
     * The remedy, with a command if there is one.
     */
    const char *remedy;
} XvirtHostProblem;

/**
 * A list, which `xvirt_host_problem_list_free()` frees with all that is in it.
 */
typedef struct XvirtHostProblemList {
    /**
     * The values.
     */
    const struct XvirtHostProblem *const *items;
    /**
     * Their number.
     */
    size_t count;
} XvirtHostProblemList;

/**
 * The offloads that the guest's driver supports, so that the host may leave that work undone in frames.
 *
 * By default none: every frame is complete and no larger than the MTU.
 */
typedef struct XvirtOffloads {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * Partial checksums. All other offloads need it.
     */
    bool checksum;
    /**
     * TCP over IPv4 larger than the MTU.
     */
    bool tso4;
    /**
     * TCP over IPv6 larger than the MTU.
     */
    bool tso6;
    /**
     * TCP with ECN larger than the MTU; needs `tso4` or `tso6`.
     */
    bool tso_ecn;
    /**
     * UDP over IPv4 and IPv6 larger than the MTU (Linux 6.2).
     */
    bool uso;
} XvirtOffloads;

/**
 * How a checkpoint of a running VM was taken.
 */
typedef struct XvirtCheckpointReport {
    /**
     * How memory was saved, never `Auto`.
     */
    XvirtCheckpointMethod method;
    /**
     * Why memory was not protected, if it was to be where possible.
     */
    const char *not_protected;
    /**
     * How long the guest was stopped. In nanoseconds.
     */
    uint64_t pause_ns;
    /**
     * The longest time that a vCPU or a device waited for a page to be read before writing it. In nanoseconds.
     */
    uint64_t longest_stall_ns;
    /**
     * All these times together. In nanoseconds.
     */
    uint64_t total_stall_ns;
    /**
     * The bytes of guest memory in the file.
     */
    uint64_t memory;
    /**
     * The bytes of guest memory that were written, which are more if pages were written several times.
     */
    uint64_t written;
    /**
     * How many rounds there were, with the one for which the guest was stopped.
     */
    uint32_t rounds;
    /**
     * The checkpoint on which an incremental one is based: only what has changed since is in the file.
     */
    const char *base;
    /**
     * Why one that was to be incremental has all memory.
     */
    const char *full_because;
} XvirtCheckpointReport;

/**
 * Bits of one CPUID register that the guest sees as zero.
 */
typedef struct XvirtCpuidMask {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The leaf: the input EAX.
     */
    uint32_t leaf;
    /**
     * The subleaf: the input ECX; 0 if the leaf has none.
     */
    uint32_t subleaf;
    /**
     * The output register. Required.
     */
    XvirtCpuidRegister register_;
    /**
     * The bits to clear.
     */
    uint32_t clear;
} XvirtCpuidMask;

/**
 * A limit on the host CPU time of all vCPUs of a VM together. Device threads are not included.
 *
 * These are XenServer's `VCPUs-params:weight` and `:cap`. The weight is relative: when VMs compete for CPU time,
 * a VM with twice the weight gets twice as much. It uses Linux's scale, with a default of 100; Xen's default is
 * 256, so multiply a weight from Xen by 100/256. The cap is absolute, in percent of one physical CPU as in Xen:
 * 50 is half a CPU, 200 is two.
 *
 * Both need a control group for the VM; xvirt_vm_set_cpu_limit() lists the requirements. Without limits, the VM
 * gets no control group.
 */
typedef struct XvirtCpuLimit {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * Whether `weight` is set.
     */
    bool has_weight;
    /**
     * 1 to 10000; 100 if absent.
     */
    uint32_t weight;
    /**
     * In percent of one CPU; 0 means no cap.
     */
    uint32_t cap;
} XvirtCpuLimit;

/**
 * The vCPUs of a VM.
 *
 * They have the features that KVM supports for guests on this host, except hardware virtualization (VMX, SVM):
 * nested VMs are not possible.
 */
typedef struct XvirtCpuConfig {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The number of vCPUs, 1 to XVIRT_MAX_VCPUS; 1 by default.
     */
    uint32_t count;
    /**
     * The number of vCPUs per core, as the guest sees it: a power of two that divides `count`, by default 1. A guest
     * derives the core from the upper bits of the APIC id, so other numbers are not possible (Intel SDM volume 3,
     * "Hierarchical Mapping of Shared Resources").
     */
    uint32_t threads_per_core;
    /**
     * The CPU features that the VM has at most, so that it can be resumed on several hosts.
     */
    const struct XvirtCpuBaseline *baseline;
    /**
     * CPUID bits to hide from the guest.
     */
    const struct XvirtCpuidMask *const *mask;
    /**
     * The number of `mask`.
     */
    size_t mask_count;
    /**
     * The limit on host CPU time.
     */
    const struct XvirtCpuLimit *limit;
} XvirtCpuConfig;

/**
 * The host memory behind guest memory.
 */
typedef struct XvirtMemoryBacking {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * Uses reserved huge pages of 2 MiB.
     */
    bool huge_pages;
    /**
     * Uses a shareable memory file instead of private pages.
     */
    bool shared;
    /**
     * Includes guest memory, and so the guest's data, in core dumps of this process. Child processes never inherit
     * guest memory.
     */
    bool core_dumps;
    /**
     * Whether `file` is set.
     */
    bool has_file;
    /**
     * An open file that holds the memory. See `memory_file`.
     */
    int file;
} XvirtMemoryBacking;

/**
 * The memory balloon of a VM. The guest needs a driver for it, which Linux has.
 */
typedef struct XvirtBalloon {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * Whether the VM has a balloon. Without one, its memory size is fixed, and there are no statistics about its
     * use. On by default.
     */
    XvirtToggle enabled;
    /**
     * Whether `target` is set.
     */
    bool has_target;
    /**
     * The initial size of the guest's memory, in steps of 4 KiB; all of its memory if absent. In bytes.
     */
    uint64_t target;
    /**
     * Seconds between the guest's memory statistics; with 0 it sends them only on request.
     */
    uint32_t statistics_seconds;
} XvirtBalloon;

/**
 * Reads the boot loader configuration on a disk and loads the kernel that it names, at every start and reboot.
 * What GRUB would write into its environment block then is written to the disk, if it can be written.
 */
typedef struct XvirtBootDisk {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The index of the disk in the configuration, from 0.
     */
    size_t disk;
    /**
     * The entry of the boot menu.
     */
    const struct XvirtEntryChoice *entry;
    /**
     * Appended to the entry's command line.
     */
    const char *append;
} XvirtBootDisk;

/**
 * The location of a kernel or an initial RAM disk.
 */
typedef struct XvirtBootFile {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * Which of the variants it is, and which member says more.
     */
    XvirtBootFileKind kind;
    /**
     * In a file, read at every start and reboot.
     */
    const char *path;
    /**
     * In memory.
     */
    const uint8_t *bytes;
    /**
     * The number of bytes of `bytes`.
     */
    size_t bytes_length;
    /**
     * An open regular file, read from its beginning at every start and reboot. The offset of the descriptor is
     * neither used nor changed. A start fails with XVIRT_STATUS_INVALID_CONFIG if it is not a regular file, or not
     * open for reading.
     */
    int descriptor;
} XvirtBootFile;

/**
 * Loads a given kernel.
 */
typedef struct XvirtBootKernel {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * A bzImage or an ELF image. Required.
     */
    const struct XvirtBootFile *kernel;
    /**
     * The initial RAM disk.
     */
    const struct XvirtBootFile *initrd;
    /**
     * The kernel's command line.
     */
    const char *command_line;
    /**
     * How to enter the kernel.
     */
    XvirtEntryProtocol protocol;
} XvirtBootKernel;

/**
 * What a VM boots.
 */
typedef struct XvirtBoot {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * Which of the variants it is, and which member says more.
     */
    XvirtBootKind kind;
    /**
     * Reads the boot loader configuration on a disk and loads the kernel that it names, at every start and reboot.
     * What GRUB would write into its environment block then is written to the disk, if it can be written.
     */
    const struct XvirtBootDisk *disk;
    /**
     * Loads a given kernel.
     */
    const struct XvirtBootKernel *kernel;
} XvirtBoot;

/**
 * An image file or block device, which is locked while the VM runs.
 */
typedef struct XvirtDiskSourceImage {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The path of the image. Required.
     */
    const char *path;
    /**
     * Its format. Required.
     */
    XvirtImageFormat format;
} XvirtDiskSourceImage;

/**
 * An open image file of a disk: the image itself, or one of its backing files.
 *
 * The descriptor must be of a regular file or a block device and open for reading; that of the image itself also
 * for writing, unless its guest only reads. It must not have `O_APPEND`, with which Linux ignores the offset of
 * a write, nor `O_DIRECT`. Its own offset is not used, but is changed. Open a block device with `O_EXCL`, so
 * that the host cannot mount it.
 *
 * The file is locked like one that is opened by its path. The lock belongs to the open file description
 * (`F_OFD_SETLK`, fcntl(2)), so duplicates made by dup(2) share it, in other processes too, and do not exclude
 * each other. Open the file once for each disk, and close the descriptors that were sent to another process.
 */
typedef struct XvirtImageDescriptor {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The descriptor.
     */
    int descriptor;
    /**
     * The format of the image. Required.
     */
    XvirtImageFormat format;
} XvirtImageDescriptor;

/**
 * The storage of a disk.
 */
typedef struct XvirtDiskSource {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * Which of the variants it is, and which member says more.
     */
    XvirtDiskSourceKind kind;
    /**
     * An image file or block device, which is locked while the VM runs.
     */
    const struct XvirtDiskSourceImage *image;
    /**
     * Open image files: the image, followed by its backing files from the nearest to the deepest. They are locked
     * while the VM runs. No file is opened by its path.
     */
    const struct XvirtImageDescriptor *const *descriptors;
    /**
     * The number of `descriptors`.
     */
    size_t descriptor_count;
    /**
     * A backend of the program.
     */
    const struct XvirtBlockBackend *backend;
} XvirtDiskSource;

/**
 * A limit on operations and bytes; absent values are unlimited.
 *
 * An operation is a request to a disk, or a frame of a network interface. The bytes of a disk request are its
 * data and the few bytes of its header or status; those of a frame start with the Ethernet header. A burst may
 * pass at once after an idle time, and counts towards the rate. An operation larger than the burst passes as a
 * whole, and later ones wait for it.
 */
typedef struct XvirtRateLimit {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * Whether `operations_per_second` is set.
     */
    bool has_operations_per_second;
    /**
     * Operations per second, at least one.
     */
    uint64_t operations_per_second;
    /**
     * Whether `operations_burst` is set.
     */
    bool has_operations_burst;
    /**
     * The burst in operations, at least one; the default is a tenth of a second's worth.
     */
    uint64_t operations_burst;
    /**
     * Whether `bytes_per_second` is set.
     */
    bool has_bytes_per_second;
    /**
     * Bytes per second, at least one. In bytes.
     */
    uint64_t bytes_per_second;
    /**
     * Whether `bytes_burst` is set.
     */
    bool has_bytes_burst;
    /**
     * The burst in bytes, at least one; the default is a tenth of a second's worth. In bytes.
     */
    uint64_t bytes_burst;
} XvirtRateLimit;

/**
 * A disk of a VM.
 */
typedef struct XvirtDisk {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The storage of the disk. Required.
     */
    const struct XvirtDiskSource *source;
    /**
     * Whether the disk is read-only for the guest.
     */
    bool read_only;
    /**
     * The serial number the guest sees (`/dev/disk/by-id/virtio-SERIAL`), at most 20 bytes.
     */
    const char *serial;
    /**
     * Whether `queues` is set.
     */
    bool has_queues;
    /**
     * The number of request queues, 1 to 16; by default one per vCPU, up to four.
     */
    uint16_t queues;
    /**
     * The rate limit.
     */
    const struct XvirtRateLimit *limit;
    /**
     * The I/O engine of the host.
     */
    XvirtIoEngine engine;
    /**
     * Whether the disk's data bypasses the host's page cache (`O_DIRECT`).
     */
    bool direct;
} XvirtDisk;

/**
 * A port of the host that is forwarded to a guest.
 */
typedef struct XvirtPortForward {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The protocol of both ports. Required.
     */
    XvirtTransportProtocol protocol;
    /**
     * The address of the host for the port; all addresses if absent.
     */
    const char *host_address;
    /**
     * The port of the host. Ports below 1024 usually need a privilege (`CAP_NET_BIND_SERVICE`).
     */
    uint16_t host_port;
    /**
     * The port of the guest.
     */
    uint16_t guest_port;
} XvirtPortForward;

/**
 * A network of one guest behind the program `passt` (<https://passt.top>): the guest's traffic uses ordinary
 * sockets of this user, like that of any other program, and ports of the host can be forwarded to the guest.
 *
 * The guest gets its address by DHCP, and by DHCPv6 or router advertisements. By default its address, gateway
 * and name servers are those of the host.
 *
 * This is not a firewall: the guest can reach everything that a program of this user can reach, including
 * services of the host at addresses other than the guest's, except those that listen only on the host's loopback
 * interface.
 */
typedef struct XvirtUserNetwork {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The guest's address; the host's if absent.
     */
    const char *address;
    /**
     * The guest's gateway; the host's if absent.
     */
    const char *gateway;
    /**
     * The guest's name server; those of the host if absent.
     */
    const char *name_server;
    /**
     * The host interface whose addresses and routes the guest gets; that of the default route if absent.
     */
    const char *interface;
    /**
     * Ports of the host that are forwarded to the guest.
     */
    const struct XvirtPortForward *const *forwards;
    /**
     * The number of `forwards`.
     */
    size_t forward_count;
    /**
     * Whether the guest can reach services on the host's loopback interface, at the address of its gateway.
     */
    bool host_loopback;
    /**
     * The program to start instead of the `passt` in `PATH`. It is not stored, because the right to change a stored
     * VM must not include the right to start programs.
     */
    const char *program;
} XvirtUserNetwork;

/**
 * The connection of a network interface on the host.
 */
typedef struct XvirtNicBackendConfig {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * Which of the variants it is, and which member says more.
     */
    XvirtNicBackendConfigKind kind;
    /**
     * A tap interface with this name: an existing one, or one that is created at start and removed with the VM.
     */
    const char *tap;
    /**
     * A tap interface as an open descriptor.
     */
    int tap_descriptor;
    /**
     * The unix socket at this path, on which a program that carries frames listens, such as `passt`.
     */
    const char *stream;
    /**
     * A connected unix socket.
     */
    const struct XvirtFrameStream *connection;
    /**
     * A `passt` process that is started and stopped with the VM.
     */
    const struct XvirtUserNetwork *user;
} XvirtNicBackendConfig;

/**
 * The limits of a network interface, from the guest's view.
 */
typedef struct XvirtNicLimit {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The limit on received traffic.
     */
    const struct XvirtRateLimit *receive;
    /**
     * The limit on sent traffic.
     */
    const struct XvirtRateLimit *transmit;
} XvirtNicLimit;

/**
 * A network interface of a VM: its connection on the host, and its properties for the guest.
 */
typedef struct XvirtNic {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The connection on the host. Required.
     */
    const struct XvirtNicBackendConfig *backend;
    /**
     * The MAC address; random if absent, chosen when the VM is built.
     */
    const char *mac;
    /**
     * Whether `mtu` is set.
     */
    bool has_mtu;
    /**
     * The MTU in bytes; that of the host's interface if absent.
     */
    uint16_t mtu;
    /**
     * The bridge of the host to which the tap interface is added at start.
     */
    const char *bridge;
    /**
     * The rate limit.
     */
    const struct XvirtNicLimit *limit;
} XvirtNic;

/**
 * Stream sockets between a VM and its host (`AF_VSOCK` in the guest), without a network; on the host they are
 * unix sockets.
 *
 * A host program connects to `path`, writes `CONNECT <port>\n`, and reads `OK <port>\n` once a guest program
 * that listens on that port has accepted; if none listens, the connection is closed. A guest program that
 * connects to CID 2, port P reaches the host program that listens on the unix socket `<path>_P`. Firecracker and
 * Cloud Hypervisor use the same protocol, so programs for them work unchanged.
 *
 * There can be 1024 connections at once; a reboot closes them all.
 */
typedef struct XvirtVsock {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The guest's CID, 3 or more. VMs may use the same CID.
     */
    uint32_t cid;
    /**
     * The path of the unix socket for host programs. The socket is created at start, accessible only to this user,
     * and removed at the end; a stale one is replaced. Required.
     */
    const char *path;
    /**
     * Whether `listener` is set.
     */
    bool has_listener;
    /**
     * A listening unix socket for host programs. If set, the VM neither creates nor removes a socket at `path`.
     */
    int listener;
} XvirtVsock;

/**
 * The configuration of a VM.
 */
typedef struct XvirtVmConfig {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The name for users. Required.
     */
    const char *name;
    /**
     * The description for users.
     */
    const char *description;
    /**
     * Keys and values by which programs find the VM; xvirt does not interpret them. At most 64. A key has 1 to 63
     * bytes: ASCII letters and digits, `-`, `.`, `_` and `/`. A value has at most 1024 bytes, and no control
     * characters.
     */
    const struct XvirtStringPair *labels;
    /**
     * The number of `labels`.
     */
    size_t label_count;
    /**
     * The unique identifier; random by default.
     */
    const char *uuid;
    /**
     * The VM generation ID, random by default: it changes whenever the VM becomes a copy of another or is reverted.
     */
    const char *generation_id;
    /**
     * Its vCPUs.
     */
    const struct XvirtCpuConfig *cpus;
    /**
     * Its memory, a multiple of 4 KiB and at least 2 MiB; 512 MiB by default. In bytes.
     */
    uint64_t memory;
    /**
     * The host memory that backs its memory.
     */
    const struct XvirtMemoryBacking *memory_backing;
    /**
     * Its memory balloon.
     */
    const struct XvirtBalloon *balloon;
    /**
     * What to do when the guest crashes, by a triple fault or by a kernel panic without a crash kernel. By default
     * it is halted.
     */
    XvirtCrashAction on_crash;
    /**
     * What to do when the guest's watchdog expires. By default it is restarted.
     */
    XvirtCrashAction on_watchdog;
    /**
     * What it boots; by default what its first disk names.
     */
    const struct XvirtBoot *boot;
    /**
     * Its disks, in the order the guest sees them.
     */
    const struct XvirtDisk *const *disks;
    /**
     * The number of `disks`.
     */
    size_t disk_count;
    /**
     * Its network interfaces, in the order the guest sees them.
     */
    const struct XvirtNic *const *nics;
    /**
     * The number of `nics`.
     */
    size_t nic_count;
    /**
     * Its vsock device.
     */
    const struct XvirtVsock *vsock;
    /**
     * Whether its device threads run under seccomp filters. The thread of a disk whose backend belongs to the
     * program has none. On by default.
     */
    XvirtToggle seccomp;
} XvirtVmConfig;

/**
 * Damage.
 */
typedef struct XvirtProblem {
    /**
     * What is wrong, and where.
     */
    const char *what;
    /**
     * How to repair it.
     */
    const char *remedy;
} XvirtProblem;

/**
 * The result of a check.
 */
typedef struct XvirtCheck {
    /**
     * The number of VMs checked.
     */
    size_t vms;
    /**
     * The number of templates checked, including the contents of their disks and their memory.
     */
    size_t templates;
    /**
     * The number of snapshots, with those that were removed and on which others are based.
     */
    size_t snapshots;
    /**
     * The damage found; empty if there is none.
     */
    const struct XvirtProblem *const *problems;
    /**
     * The number of `problems`.
     */
    size_t problem_count;
} XvirtCheck;

/**
 * A list, which `xvirt_snapshot_list_free()` frees with all that is in it.
 */
typedef struct XvirtSnapshotList {
    /**
     * The values.
     */
    const struct XvirtSnapshot *const *items;
    /**
     * Their number.
     */
    size_t count;
} XvirtSnapshotList;

/**
 * The result of a suspend: what it wrote, and how long it took.
 */
typedef struct XvirtSuspendReport {
    /**
     * The bytes of guest memory in the file. All other memory is zero.
     */
    uint64_t memory;
    /**
     * The time from the call until the guest was stopped. In nanoseconds.
     */
    uint64_t parking_ns;
    /**
     * The time to read and write the state of processors and devices. In nanoseconds.
     */
    uint64_t state_ns;
    /**
     * The time from the call until everything was on stable storage. In nanoseconds.
     */
    uint64_t total_ns;
} XvirtSuspendReport;

/**
 * A list, which `xvirt_template_list_free()` frees with all that is in it.
 */
typedef struct XvirtTemplateList {
    /**
     * The values.
     */
    const struct XvirtTemplate *const *items;
    /**
     * Their number.
     */
    size_t count;
} XvirtTemplateList;

/**
 * A list, which `xvirt_stored_vm_list_free()` frees with all that is in it.
 */
typedef struct XvirtStoredVmList {
    /**
     * The values.
     */
    const struct XvirtStoredVm *const *items;
    /**
     * Their number.
     */
    size_t count;
} XvirtStoredVmList;

/**
 * What a snapshot is taken of. Exactly one member is set.
 */
typedef struct XvirtSubject {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * A halted or suspended VM in the repository.
     */
    const struct XvirtStoredVm *stored_vm;
    /**
     * A VM of this process.
     */
    const struct XvirtVm *vm;
} XvirtSubject;

/**
 * Name and options of a new snapshot.
 */
typedef struct XvirtNewSnapshot {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The name. Required.
     */
    const char *name;
    /**
     * The description for users.
     */
    const char *description;
    /**
     * Whether `quiesce_ns` is set.
     */
    bool has_quiesce;
    /**
     * Freezes the file systems of a running guest through its agent, for at most this long. In nanoseconds.
     */
    uint64_t quiesce_ns;
    /**
     * How a checkpoint saves the memory of a running guest.
     */
    XvirtCheckpointMethod method;
    /**
     * Whether a checkpoint has only the memory that has changed since the last one that was taken with this.
     */
    bool incremental;
} XvirtNewSnapshot;

/**
 * What a VM is made of. Exactly one member is set.
 */
typedef struct XvirtOriginal {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * A halted VM in the repository.
     */
    const struct XvirtStoredVm *stored_vm;
    /**
     * A halted VM of this process.
     */
    const struct XvirtVm *vm;
    /**
     * A snapshot.
     */
    const struct XvirtSnapshot *snapshot;
} XvirtOriginal;

/**
 * Name, version and description of a new template.
 */
typedef struct XvirtSeal {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The name. Required.
     */
    const char *name;
    /**
     * The version, which can be any text; the next number if absent.
     */
    const char *version;
    /**
     * The description for users.
     */
    const char *description;
    /**
     * Keys and values by which programs find the template.
     */
    const struct XvirtStringPair *labels;
    /**
     * The number of `labels`.
     */
    size_t label_count;
} XvirtSeal;

/**
 * What a template is made of. Exactly one member is set.
 */
typedef struct XvirtSource {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * A halted VM in the repository.
     */
    const struct XvirtStoredVm *stored_vm;
    /**
     * A halted VM of this process.
     */
    const struct XvirtVm *vm;
    /**
     * The configuration of a VM.
     */
    const struct XvirtVmConfig *config;
} XvirtSource;

/**
 * Names and values.
 */
typedef struct XvirtStringPairList {
    /**
     * The pairs, in the order of their names.
     */
    const struct XvirtStringPair *items;
    /**
     * Their number.
     */
    size_t count;
} XvirtStringPairList;

/**
 * A disk of a template.
 */
typedef struct XvirtTemplateDisk {
    /**
     * The size in bytes, as a guest sees it.
     */
    uint64_t size;
    /**
     * The hash of its contents: see xvirt_template_hash().
     */
    const char *hash;
} XvirtTemplateDisk;

/**
 * A list, which `xvirt_template_disk_list_free()` frees with all that is in it.
 */
typedef struct XvirtTemplateDiskList {
    /**
     * The values.
     */
    const struct XvirtTemplateDisk *const *items;
    /**
     * Their number.
     */
    size_t count;
} XvirtTemplateDiskList;

/**
 * The template from which an object was made.
 */
typedef struct XvirtLineage {
    /**
     * The UUID of the template.
     */
    const char *template_;
    /**
     * Its name.
     */
    const char *name;
    /**
     * Its version.
     */
    const char *version;
} XvirtLineage;

/**
 * The guest's kernel reported a panic. Unless its crash kernel takes over, XVIRT_EVENT_KIND_CRASHED follows.
 */
typedef struct XvirtEventGuestPanicked {
    /**
     * Whether it has a crash kernel (kdump).
     */
    bool crash_kernel;
} XvirtEventGuestPanicked;

/**
 * A thread of the VM panicked, by a fault of this library or of code that the program runs on its threads, such
 * as a log subscriber. If the thread was `vm-supervisor`, which carries out the configured crash action, the VM
 * is halted in any case, even when paused.
 */
typedef struct XvirtCrashReasonThreadPanicked {
    /**
     * The name of the thread, such as `vcpu0`.
     */
    const char *thread;
    /**
     * The message of the panic.
     */
    const char *message;
} XvirtCrashReasonThreadPanicked;

/**
 * Why a guest cannot go on.
 */
typedef struct XvirtCrashReason {
    /**
     * Which of the variants it is, and which member says more.
     */
    XvirtCrashReasonKind kind;
    /**
     * KVM or the CPU cannot continue, for the given reason.
     */
    const char *hardware;
    /**
     * The vCPUs could not be stopped for a reset or after a crash, for the given reason: the program blocks or
     * handles the signal that interrupts them.
     */
    const char *not_stopped;
    /**
     * The kernel could not be loaded again for a reset, for the given reason.
     */
    const char *reset;
    /**
     * A thread of the VM panicked, by a fault of this library or of code that the program runs on its threads, such
     * as a log subscriber. If the thread was `vm-supervisor`, which carries out the configured crash action, the VM
     * is halted in any case, even when paused.
     */
    const struct XvirtCrashReasonThreadPanicked *thread_panicked;
    /**
     * The guest's memory, which was to be loaded while the guest runs, could not be loaded, for the given reason.
     */
    const char *memory_not_loaded;
} XvirtCrashReason;

/**
 * A disk was plugged in.
 */
typedef struct XvirtEventDiskPlugged {
    /**
     * Its position.
     */
    size_t disk;
} XvirtEventDiskPlugged;

/**
 * A disk was unplugged, on request or because the guest ejected it. Its image is no longer locked.
 */
typedef struct XvirtEventDiskUnplugged {
    /**
     * The position it had.
     */
    size_t disk;
} XvirtEventDiskUnplugged;

/**
 * The size of a disk changed.
 */
typedef struct XvirtEventDiskResized {
    /**
     * Its position.
     */
    size_t disk;
    /**
     * The new size in bytes.
     */
    uint64_t size;
} XvirtEventDiskResized;

/**
 * A network interface was plugged in.
 */
typedef struct XvirtEventNicPlugged {
    /**
     * Its position.
     */
    size_t nic;
} XvirtEventNicPlugged;

/**
 * A network interface was unplugged, on request or because the guest ejected it.
 */
typedef struct XvirtEventNicUnplugged {
    /**
     * The position it had.
     */
    size_t nic;
} XvirtEventNicUnplugged;

/**
 * A request to a disk failed, and the guest was told so.
 */
typedef struct XvirtEventIoError {
    /**
     * The position of the disk, from 0.
     */
    size_t disk;
    /**
     * The type of the request.
     */
    XvirtIoOperation operation;
    /**
     * Its offset in bytes.
     */
    uint64_t offset;
    /**
     * Its length in bytes.
     */
    uint64_t length;
    /**
     * Why it failed.
     */
    const char *reason;
} XvirtEventIoError;

/**
 * A network interface on a socket lost its peer, and the guest sees the link go down.
 */
typedef struct XvirtEventNicDisconnected {
    /**
     * Its position.
     */
    size_t nic;
} XvirtEventNicDisconnected;

/**
 * A network interface on a socket has a peer again.
 */
typedef struct XvirtEventNicConnected {
    /**
     * Its position.
     */
    size_t nic;
} XvirtEventNicConnected;

/**
 * A device of a VM.
 */
typedef struct XvirtDevice {
    /**
     * Which of the variants it is, and which member says more.
     */
    XvirtDeviceKind kind;
    /**
     * The disk at this position.
     */
    size_t disk;
    /**
     * The network interface at this position.
     */
    size_t nic;
} XvirtDevice;

/**
 * A device cannot be served because the host lacks something, such as a thread or a network interface that was
 * removed. The driver is notified (DEVICE_NEEDS_RESET); the device is tried again when the driver resets it, or
 * at a reboot. Sent once, until the device works again.
 */
typedef struct XvirtEventDeviceFailed {
    /**
     * The device.
     */
    const struct XvirtDevice *device;
    /**
     * Why it cannot be served.
     */
    const char *reason;
} XvirtEventDeviceFailed;

/**
 * Something that happened to a VM.
 */
typedef struct XvirtEvent {
    /**
     * Which of the variants it is, and which member says more.
     */
    XvirtEventKind kind;
    /**
     * The guest's kernel reported a panic. Unless its crash kernel takes over, XVIRT_EVENT_KIND_CRASHED follows.
     */
    const struct XvirtEventGuestPanicked *guest_panicked;
    /**
     * The guest cannot continue. Depending on the configuration, the VM is halted, or XVIRT_EVENT_KIND_RESTARTED or
     * XVIRT_EVENT_KIND_PAUSED follows.
     */
    const struct XvirtCrashReason *crashed;
    /**
     * A disk was plugged in.
     */
    const struct XvirtEventDiskPlugged *disk_plugged;
    /**
     * A disk was unplugged, on request or because the guest ejected it. Its image is no longer locked.
     */
    const struct XvirtEventDiskUnplugged *disk_unplugged;
    /**
     * The size of a disk changed.
     */
    const struct XvirtEventDiskResized *disk_resized;
    /**
     * A network interface was plugged in.
     */
    const struct XvirtEventNicPlugged *nic_plugged;
    /**
     * A network interface was unplugged, on request or because the guest ejected it.
     */
    const struct XvirtEventNicUnplugged *nic_unplugged;
    /**
     * A request to a disk failed, and the guest was told so.
     */
    const struct XvirtEventIoError *io_error;
    /**
     * A network interface on a socket lost its peer, and the guest sees the link go down.
     */
    const struct XvirtEventNicDisconnected *nic_disconnected;
    /**
     * A network interface on a socket has a peer again.
     */
    const struct XvirtEventNicConnected *nic_connected;
    /**
     * A device cannot be served because the host lacks something, such as a thread or a network interface that was
     * removed. The driver is notified (DEVICE_NEEDS_RESET); the device is tried again when the driver resets it, or
     * at a reboot. Sent once, until the device works again.
     */
    const struct XvirtEventDeviceFailed *device_failed;
    /**
     * The listener was too slow, and this many of the VM's events are lost, up to the one with this sequence number.
     */
    uint64_t missed;
} XvirtEvent;

/**
 * An event with its VM and time.
 */
typedef struct XvirtEventRecord {
    /**
     * The VM's UUID.
     */
    const char *vm;
    /**
     * The number of this event of this VM in this process, from 1.
     */
    uint64_t sequence;
    /**
     * When it happened, by the host's clock. In nanoseconds since 1970.
     */
    uint64_t time_ns;
    /**
     * What happened.
     */
    const struct XvirtEvent *event;
} XvirtEventRecord;

/**
 * A disk of a running VM.
 */
typedef struct XvirtDiskStatus {
    /**
     * Its position.
     */
    size_t position;
    /**
     * The engine for its I/O: never `Auto`.
     */
    XvirtIoEngine engine;
    /**
     * Whether the guest's data bypasses the host's page cache.
     */
    bool direct;
} XvirtDiskStatus;

/**
 * A list, which `xvirt_disk_status_list_free()` frees with all that is in it.
 */
typedef struct XvirtDiskStatusList {
    /**
     * The values.
     */
    const struct XvirtDiskStatus *const *items;
    /**
     * Their number.
     */
    size_t count;
} XvirtDiskStatusList;

/**
 * The cause of a halt.
 */
typedef struct XvirtHaltCause {
    /**
     * Which of the variants it is, and which member says more.
     */
    XvirtHaltCauseKind kind;
    /**
     * The guest crashed, or something it needs on the host failed.
     */
    const struct XvirtCrashReason *crashed;
} XvirtHaltCause;

/**
 * Why a VM is halted, and since when.
 */
typedef struct XvirtHalted {
    /**
     * The cause.
     */
    const struct XvirtHaltCause *cause;
    /**
     * The time, by the host's clock. In nanoseconds since 1970.
     */
    uint64_t since_ns;
} XvirtHalted;

/**
 * A crash of a VM.
 */
typedef struct XvirtCrash {
    /**
     * The reason.
     */
    const struct XvirtCrashReason *reason;
    /**
     * The time, by the host's clock. In nanoseconds since 1970.
     */
    uint64_t time_ns;
} XvirtCrash;

/**
 * A list, which `xvirt_snapshot_view_list_free()` frees with all that is in it.
 */
typedef struct XvirtSnapshotViewList {
    /**
     * The values.
     */
    const struct XvirtSnapshotView *const *items;
    /**
     * Their number.
     */
    size_t count;
} XvirtSnapshotViewList;

/**
 * A list, which `xvirt_size_list_free()` frees with all that is in it.
 */
typedef struct XvirtSizeList {
    /**
     * The values.
     */
    const size_t *items;
    /**
     * Their number.
     */
    size_t count;
} XvirtSizeList;

/**
 * A guest's report on its memory. Counters start at its boot; values that the guest does not report are absent.
 */
typedef struct XvirtGuestMemory {
    /**
     * When the report arrived. In nanoseconds since 1970.
     */
    uint64_t taken_ns;
    /**
     * Whether `total` is set.
     */
    bool has_total;
    /**
     * The memory known to the guest. In bytes.
     */
    uint64_t total;
    /**
     * Whether `free` is set.
     */
    bool has_free;
    /**
     * The unused memory. In bytes.
     */
    uint64_t free;
    /**
     * Whether `available` is set.
     */
    bool has_available;
    /**
     * The memory that could be used without swapping, including reclaimable disk caches. In bytes.
     */
    uint64_t available;
    /**
     * Whether `disk_caches` is set.
     */
    bool has_disk_caches;
    /**
     * The memory used to cache files. In bytes.
     */
    uint64_t disk_caches;
    /**
     * Whether `swapped_in` is set.
     */
    bool has_swapped_in;
    /**
     * The amount swapped in. In bytes.
     */
    uint64_t swapped_in;
    /**
     * Whether `swapped_out` is set.
     */
    bool has_swapped_out;
    /**
     * The amount swapped out. In bytes.
     */
    uint64_t swapped_out;
    /**
     * Whether `major_faults` is set.
     */
    bool has_major_faults;
    /**
     * Page faults that waited for a disk.
     */
    uint64_t major_faults;
    /**
     * Whether `minor_faults` is set.
     */
    bool has_minor_faults;
    /**
     * All page faults.
     */
    uint64_t minor_faults;
} XvirtGuestMemory;

/**
 * The memory of a running VM.
 */
typedef struct XvirtMemoryStatistics {
    /**
     * How much memory the guest should have. In bytes.
     */
    uint64_t target;
    /**
     * How much it has, according to its balloon driver; all of it while there is no driver. In bytes.
     */
    uint64_t actual;
    /**
     * The guest's last report since its driver was loaded.
     */
    const struct XvirtGuestMemory *guest;
} XvirtMemoryStatistics;

/**
 * A network interface of a running VM.
 */
typedef struct XvirtNicStatus {
    /**
     * Its position.
     */
    size_t position;
    /**
     * The host's interface or the socket that it is connected to; `passt` for a user network.
     */
    const char *interface;
    /**
     * Its hardware address.
     */
    const char *mac;
    /**
     * Whether the guest sees the link as up.
     */
    bool link_up;
    /**
     * Its rate limits.
     */
    const struct XvirtNicLimit *limit;
} XvirtNicStatus;

/**
 * A list, which `xvirt_nic_status_list_free()` frees with all that is in it.
 */
typedef struct XvirtNicStatusList {
    /**
     * The values.
     */
    const struct XvirtNicStatus *const *items;
    /**
     * Their number.
     */
    size_t count;
} XvirtNicStatusList;

/**
 * The progress of a long operation.
 */
typedef struct XvirtDone {
    /**
     * The number of processed bytes.
     */
    uint64_t bytes;
    /**
     * Whether `total` is set.
     */
    bool has_total;
    /**
     * The total number of bytes, if known.
     */
    uint64_t total;
} XvirtDone;

/**
 * A verb in progress.
 */
typedef struct XvirtOperation {
    /**
     * The verb.
     */
    XvirtVerb verb;
    /**
     * When it began, after it waited for its turn. In nanoseconds since 1970.
     */
    uint64_t since_ns;
    /**
     * Its progress, if it reports any. The count may restart with each step of an operation, such as a disk.
     */
    const struct XvirtDone *done;
} XvirtOperation;

/**
 * A list, which `xvirt_operation_list_free()` frees with all that is in it.
 */
typedef struct XvirtOperationList {
    /**
     * The values.
     */
    const struct XvirtOperation *const *items;
    /**
     * Their number.
     */
    size_t count;
} XvirtOperationList;

/**
 * A list, which `xvirt_verb_list_free()` frees with all that is in it.
 */
typedef struct XvirtVerbList {
    /**
     * The values.
     */
    const XvirtVerb *items;
    /**
     * Their number.
     */
    size_t count;
} XvirtVerbList;

/**
 * How to resume a VM.
 */
typedef struct XvirtResume {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * How the guest's clocks account for the time in which it was stopped.
     */
    XvirtElapsedTime time;
    /**
     * When the guest's memory is loaded.
     */
    XvirtMemoryLoading memory;
    /**
     * Whether memory that is mapped from the file is loaded by a thread in the background, so that later the guest
     * does not wait for it. Memory that is not mapped always is. xvirt_vm_resume_times() says when all of it is
     * there.
     */
    bool prefault;
} XvirtResume;

/**
 * How long a resume took.
 */
typedef struct XvirtResumeReport {
    /**
     * The time to read the state of processors and devices, and to build the machine from it. In nanoseconds.
     */
    uint64_t state_ns;
    /**
     * The time to read or map the guest's memory. In nanoseconds.
     */
    uint64_t memory_ns;
    /**
     * The time from the call until the guest ran. In nanoseconds.
     */
    uint64_t total_ns;
    /**
     * How the memory was loaded.
     */
    XvirtMemoryLoaded loaded;
} XvirtResumeReport;

/**
 * The times of a resume, from its call on.
 */
typedef struct XvirtResumeTimes {
    /**
     * Until the guest ran. In nanoseconds.
     */
    uint64_t running_ns;
    /**
     * Whether `resident_ns` is set.
     */
    bool has_resident;
    /**
     * Until all memory was in place; NULL if the guest waits when it uses more of it. In nanoseconds.
     */
    uint64_t resident_ns;
} XvirtResumeTimes;

/**
 * The number of a vCPU's exits to user space, by reason.
 */
typedef struct XvirtExitStatistics {
    /**
     * It read an I/O port.
     */
    uint64_t port_reads;
    /**
     * It wrote an I/O port.
     */
    uint64_t port_writes;
    /**
     * It read device memory (MMIO).
     */
    uint64_t memory_reads;
    /**
     * It wrote device memory (MMIO).
     */
    uint64_t memory_writes;
    /**
     * It halted. KVM usually handles that in the kernel, so this stays 0.
     */
    uint64_t halts;
    /**
     * It was interrupted for a pause or another verb.
     */
    uint64_t interrupted;
    /**
     * Any other reason.
     */
    uint64_t others;
} XvirtExitStatistics;

/**
 * One vCPU.
 */
typedef struct XvirtVcpuStatistics {
    /**
     * The host CPU time it has used, in the guest and on its behalf. In nanoseconds.
     */
    uint64_t cpu_time_ns;
    /**
     * The number of exits to user space, by reason.
     */
    const struct XvirtExitStatistics *exits;
} XvirtVcpuStatistics;

/**
 * One type of request to a disk.
 */
typedef struct XvirtOperationStatistics {
    /**
     * The number of completed requests.
     */
    uint64_t operations;
    /**
     * The number of bytes they covered.
     */
    uint64_t bytes;
    /**
     * The number of failed requests, because of the host or because the guest's request was invalid.
     */
    uint64_t errors;
    /**
     * The time from the guest's queue to the answer, including failed requests.
     */
    const struct XvirtLatencies *latency;
} XvirtOperationStatistics;

/**
 * One disk.
 */
typedef struct XvirtDiskStatistics {
    /**
     * Reads.
     */
    const struct XvirtOperationStatistics *reads;
    /**
     * Writes.
     */
    const struct XvirtOperationStatistics *writes;
    /**
     * Flushes, which make completed writes durable.
     */
    const struct XvirtOperationStatistics *flushes;
    /**
     * Discards.
     */
    const struct XvirtOperationStatistics *discards;
    /**
     * Writes of zeroes.
     */
    const struct XvirtOperationStatistics *zeroes;
    /**
     * The host CPU time its thread has used. In nanoseconds.
     */
    uint64_t cpu_time_ns;
} XvirtDiskStatistics;

/**
 * One direction of a network interface.
 */
typedef struct XvirtFrameStatistics {
    /**
     * The number of Ethernet frames that passed.
     */
    uint64_t frames;
    /**
     * The number of bytes in them.
     */
    uint64_t bytes;
    /**
     * The number of frames that were dropped: the link was down, the guest's buffers were too small, or the host
     * rejected them.
     */
    uint64_t dropped;
} XvirtFrameStatistics;

/**
 * One network interface.
 */
typedef struct XvirtNicStatistics {
    /**
     * Frames that the guest received.
     */
    const struct XvirtFrameStatistics *received;
    /**
     * Frames that the guest sent.
     */
    const struct XvirtFrameStatistics *sent;
    /**
     * The host CPU time its thread has used. In nanoseconds.
     */
    uint64_t cpu_time_ns;
} XvirtNicStatistics;

/**
 * Any other device.
 */
typedef struct XvirtDeviceStatistics {
    /**
     * Its name, such as `virtio-console`.
     */
    const char *name;
    /**
     * The host CPU time its thread has used. In nanoseconds.
     */
    uint64_t cpu_time_ns;
} XvirtDeviceStatistics;

/**
 * Counters of a VM since it was started.
 *
 * All counters start at zero when the VM starts, continue across reboots and pauses, and are discarded when it
 * halts. Those of a device start when it is plugged in. They are read one after the other while the guest runs,
 * so two of them may differ by what happened in between. Sizes are in bytes.
 */
typedef struct XvirtStatistics {
    /**
     * The time since it was started; zero while it is halted. In nanoseconds.
     */
    uint64_t uptime_ns;
    /**
     * Its vCPUs, in order.
     */
    const struct XvirtVcpuStatistics *const *vcpus;
    /**
     * The number of `vcpus`.
     */
    size_t vcpu_count;
    /**
     * Its memory, if it has a balloon.
     */
    const struct XvirtMemoryStatistics *memory;
    /**
     * The position of each of `disks`.
     */
    const size_t *disk_positions;
    /**
     * Its disks by their positions.
     */
    const struct XvirtDiskStatistics *const *disks;
    /**
     * The number of `disks`.
     */
    size_t disk_count;
    /**
     * The position of each of `nics`.
     */
    const size_t *nic_positions;
    /**
     * Its network interfaces by their positions.
     */
    const struct XvirtNicStatistics *const *nics;
    /**
     * The number of `nics`.
     */
    size_t nic_count;
    /**
     * Its other devices.
     */
    const struct XvirtDeviceStatistics *const *devices;
    /**
     * The number of `devices`.
     */
    size_t device_count;
} XvirtStatistics;

/**
 * A disk of an appliance.
 */
typedef struct XvirtApplianceDisk {
    /**
     * Its folder in the archive.
     */
    const char *id;
    /**
     * Its name.
     */
    const char *name;
    /**
     * The description for users.
     */
    const char *description;
    /**
     * Its size in bytes.
     */
    uint64_t size;
    /**
     * Its device number or name in the VM, such as `0` or `xvda`.
     */
    const char *device;
    /**
     * Whether the VM boots from it.
     */
    bool bootable;
    /**
     * Whether it is read-only for the VM.
     */
    bool read_only;
} XvirtApplianceDisk;

/**
 * A network interface of an appliance.
 */
typedef struct XvirtApplianceNic {
    /**
     * Its MAC address, as written in the archive.
     */
    const char *mac;
    /**
     * Whether `mtu` is set.
     */
    bool has_mtu;
    /**
     * The MTU in bytes.
     */
    uint16_t mtu;
    /**
     * Whether `transmit_limit` is set.
     */
    bool has_transmit_limit;
    /**
     * The limit on sent bytes per second, if any.
     */
    uint64_t transmit_limit;
    /**
     * The name of the network it was connected to.
     */
    const char *network;
    /**
     * The bridge of this network on its host.
     */
    const char *bridge;
} XvirtApplianceNic;

/**
 * A setting of the VM or of one of its devices beyond the other fields of an XvirtAppliance.
 */
typedef struct XvirtSetting {
    /**
     * Its name in XenServer's API: a field of the VM (`PV_kernel`), an entry of a map (`platform:viridian`), a field
     * of a device (`VIF:locking_mode`), or a class of devices (`VTPM`).
     */
    const char *field;
    /**
     * Its value; for a class of devices, their number.
     */
    const char *value;
    /**
     * The number of the device to which it belongs.
     */
    const char *device;
} XvirtSetting;

/**
 * The software that wrote an archive.
 */
typedef struct XvirtProducer {
    /**
     * The product, such as `XenServer` or `XCP-ng`.
     */
    const char *brand;
    /**
     * Its version.
     */
    const char *version;
    /**
     * The version of its toolstack (xapi).
     */
    const char *xapi;
    /**
     * The version of the archive layout: 2 since 2008.
     */
    uint64_t export_version;
} XvirtProducer;

/**
 * The VM of an appliance.
 */
typedef struct XvirtAppliance {
    /**
     * The VM's name.
     */
    const char *name;
    /**
     * The description for users.
     */
    const char *description;
    /**
     * Its UUID at its origin.
     */
    const char *uuid;
    /**
     * The VM generation ID, by which a guest detects that it is a copy.
     */
    const char *generation_id;
    /**
     * The number of vCPUs at start.
     */
    uint32_t vcpus;
    /**
     * Its memory in bytes.
     */
    uint64_t memory;
    /**
     * Whether it is a template instead of a VM.
     */
    bool template_;
    /**
     * Whether it was exported suspended, with a memory image.
     */
    bool suspended;
    /**
     * The kind of firmware.
     */
    XvirtFirmware firmware;
    /**
     * The action after a crash, if one is set.
     */
    XvirtAfterCrash after_crash;
    /**
     * Its disks, in the order of their device numbers.
     */
    const struct XvirtApplianceDisk *const *disks;
    /**
     * The number of `disks`.
     */
    size_t disk_count;
    /**
     * Its CD drives, with the names of their discs, if any.
     */
    const char *const *cd_drives;
    /**
     * The number of `cd_drives`.
     */
    size_t cd_drive_count;
    /**
     * Its network interfaces, in the order of their device numbers.
     */
    const struct XvirtApplianceNic *const *nics;
    /**
     * The number of `nics`.
     */
    size_t nic_count;
    /**
     * Settings that not every host supports or not every VM needs.
     */
    const struct XvirtSetting *const *settings;
    /**
     * The number of `settings`.
     */
    size_t setting_count;
    /**
     * The software that wrote the archive.
     */
    const struct XvirtProducer *producer;
} XvirtAppliance;

/**
 * A list, which `xvirt_block_backend_list_free()` frees with all that is in it.
 */
typedef struct XvirtBlockBackendList {
    /**
     * The values.
     */
    const struct XvirtBlockBackend *const *items;
    /**
     * Their number.
     */
    size_t count;
} XvirtBlockBackendList;

/**
 * Some text. It never gets another member.
 */
typedef struct XvirtStringList {
    /**
     * The texts, each NUL-terminated.
     */
    const char *const *items;
    /**
     * Their number.
     */
    size_t count;
} XvirtStringList;

/**
 * An imported VM.
 */
typedef struct XvirtImported {
    /**
     * The VM, halted.
     */
    const struct XvirtStoredVm *vm;
    /**
     * What cannot be converted, and harmless oddities of the archive.
     */
    const char *const *remarks;
    /**
     * The number of `remarks`.
     */
    size_t remark_count;
} XvirtImported;

/**
 * A backing file of an image.
 */
typedef struct XvirtBackingFile {
    /**
     * The path; relative if the inspected path is.
     */
    const char *path;
    /**
     * The format.
     */
    XvirtImageFormat format;
} XvirtBackingFile;

/**
 * Properties of an image.
 */
typedef struct XvirtImageInfo {
    /**
     * The format of the image.
     */
    XvirtImageFormat format;
    /**
     * Size of the disk in bytes, as a guest sees it.
     */
    uint64_t virtual_size;
    /**
     * Bytes allocated on the host's disk for the image file, without its backing files. Holes take none.
     */
    uint64_t allocated;
    /**
     * Its backing files, from the nearest to the deepest.
     */
    const struct XvirtBackingFile *const *backing;
    /**
     * The number of `backing`.
     */
    size_t backing_count;
} XvirtImageInfo;

/**
 * Options for writing an archive.
 *
 * Deserialized, each has a default: zstd, the compression's level, and the checksum of current hosts.
 */
typedef struct XvirtExport {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The compression; zstd by default.
     */
    XvirtCompression compression;
    /**
     * The compression level: 1 to 9 for gzip, 1 to 19 for zstd. Each has a level of its own by default.
     */
    int32_t level;
    /**
     * The checksum of chunks; by default that of current hosts.
     */
    XvirtChecksum checksum;
} XvirtExport;

/**
 * The result of an export.
 */
typedef struct XvirtExported {
    /**
     * The size of the archive in bytes.
     */
    uint64_t size;
    /**
     * Properties of the VM that an appliance cannot express.
     */
    const char *const *remarks;
    /**
     * The number of `remarks`.
     */
    size_t remark_count;
} XvirtExported;

/**
 * Options for reading an archive.
 */
typedef struct XvirtReadOptions {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The window limit of a zstd stream in bytes, which is how much memory reading it may take: 128 MiB by default,
     * at most 2 GiB.
     */
    uint64_t max_window;
} XvirtReadOptions;

/**
 * Options for extracting disks.
 */
typedef struct XvirtExtract {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The format of the images.
     */
    XvirtImageFormat format;
    /**
     * Accepts chunks without a checksum, instead of rejecting the archive.
     */
    bool accept_unchecked;
    /**
     * Options for reading the archive.
     */
    const struct XvirtReadOptions *read;
    /**
     * Whether `disk` is set.
     */
    bool has_disk;
    /**
     * The only disk to extract, by its place in the appliance; all of them if absent. Damage elsewhere is then no
     * error.
     */
    uint32_t disk;
    /**
     * Extracts what is whole of a damaged archive, instead of rejecting it.
     */
    bool keep_going;
} XvirtExtract;

/**
 * The contents of an archive.
 */
typedef struct XvirtExtracted {
    /**
     * The VM.
     */
    const struct XvirtAppliance *appliance;
    /**
     * The image files of the extracted disks, in the order of the appliance.
     */
    const char *const *disks;
    /**
     * The number of `disks`.
     */
    size_t disk_count;
    /**
     * The memory image, if the VM was exported suspended. Only Xen can use it.
     */
    const char *memory_image;
    /**
     * Harmless oddities of the archive.
     */
    const char *const *remarks;
    /**
     * The number of `remarks`.
     */
    size_t remark_count;
    /**
     * The ranges of disks that are not whole, and why: zeroes in the images where contents are damaged or missing,
     * and contents without a checksum, unless those are accepted. Empty unless `keep_going` is set.
     */
    const char *const *damage;
    /**
     * The number of `damage`.
     */
    size_t damage_count;
} XvirtExtracted;

/**
 * Options for an import.
 */
typedef struct XvirtImport {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The name of the VM; that of the appliance if absent.
     */
    const char *name;
    /**
     * The bridges to use for networks, by network name. Interfaces on other networks are not connected.
     */
    const struct XvirtStringPair *networks;
    /**
     * The number of `networks`.
     */
    size_t network_count;
    /**
     * Keeps UUID, generation ID and MAC addresses, for a VM that moves here and will not run at its origin again.
     */
    bool preserve;
    /**
     * Accepts chunks without a checksum, instead of rejecting the archive.
     */
    bool accept_unchecked;
    /**
     * How the archive is read.
     */
    const struct XvirtReadOptions *read;
} XvirtImport;

/**
 * The description of an archive.
 */
typedef struct XvirtInspected {
    /**
     * The VM.
     */
    const struct XvirtAppliance *appliance;
    /**
     * The compression of the archive.
     */
    XvirtCompression compression;
    /**
     * The checksum of its chunks, as the first one has it.
     */
    XvirtChecksum checksum;
    /**
     * Whether it has contents of disks. An export of metadata has none.
     */
    bool has_contents;
} XvirtInspected;

/**
 * The result for one disk.
 */
typedef struct XvirtDiskReport {
    /**
     * Its folder in the archive.
     */
    const char *id;
    /**
     * Its size in bytes.
     */
    uint64_t size;
    /**
     * The end of its data read, in bytes.
     */
    uint64_t reached;
    /**
     * Whether the disk is complete and valid.
     */
    bool whole;
} XvirtDiskReport;

/**
 * A problem of an archive.
 */
typedef struct XvirtArchiveProblem {
    /**
     * Whether contents are damaged, missing or unverified; otherwise XenServer would complain, but nothing is lost.
     */
    bool serious;
    /**
     * A description that names the member of the archive.
     */
    const char *what;
} XvirtArchiveProblem;

/**
 * The result of verifying an archive.
 */
typedef struct XvirtReport {
    /**
     * Its VM, if `ova.xml` could be read.
     */
    const struct XvirtAppliance *appliance;
    /**
     * Its compression.
     */
    XvirtCompression compression;
    /**
     * The checksums of its chunks.
     */
    const XvirtChecksum *checksums;
    /**
     * The number of `checksums`.
     */
    size_t checksum_count;
    /**
     * Its disks, in the expected order.
     */
    const struct XvirtDiskReport *const *disks;
    /**
     * The number of `disks`.
     */
    size_t disk_count;
    /**
     * The size of the archive in bytes, as far as it was read.
     */
    uint64_t size;
    /**
     * Its size in bytes without compression.
     */
    uint64_t decompressed;
    /**
     * Whether the archive is complete and valid.
     */
    bool good;
    /**
     * The problems, serious ones first, one for each kind.
     */
    const struct XvirtArchiveProblem *const *problems;
    /**
     * The number of `problems`.
     */
    size_t problem_count;
    /**
     * What keeps XenServer and XCP-ng from importing the archive, one line for each kind; empty if they can.
     */
    const char *const *obstacles;
    /**
     * The number of `obstacles`.
     */
    size_t obstacle_count;
} XvirtReport;

/**
 * A user whom cloud-init creates at the first boot; an existing user gets the keys and the password.
 */
typedef struct XvirtUser {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The login name. Required.
     */
    const char *name;
    /**
     * Whether the user may run all commands through sudo without a password.
     */
    bool sudo;
    /**
     * Additional groups of the user; missing groups are created.
     */
    const char *const *groups;
    /**
     * The number of `groups`.
     */
    size_t group_count;
    /**
     * Lines of the user's `authorized_keys`, for logging in over SSH.
     */
    const char *const *authorized_keys;
    /**
     * The number of `authorized_keys`.
     */
    size_t authorized_key_count;
    /**
     * The hashed password in the format of crypt(5) (`$6$...`, `$y$...`).
     */
    const char *password_hash;
    /**
     * Whether logging in with the password is locked. Without a password it always is.
     */
    bool lock_password;
} XvirtUser;

/**
 * The guest's configuration of the network interface with a MAC address, which is `mac`.
 */
typedef struct XvirtSeedNic {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The MAC address that identifies the interface. Required.
     */
    const char *mac;
    /**
     * Whether it gets an IPv4 address by DHCP.
     */
    bool dhcp;
    /**
     * Static addresses.
     */
    const char *const *addresses;
    /**
     * The number of `addresses`.
     */
    size_t address_count;
    /**
     * Default gateways: at most one IPv4 and one IPv6 address, each with a static address of its IP version.
     *
     * With a static address of 32 or 128 bits, a gateway outside of it is taken to be on the link. Guests with
     * netplan or NetworkManager then reach it, and for IPv4 those with ifupdown; cloud-init does not tell networkd
     * that the gateway is there. For IPv6, a gateway's link-local address (`fe80::1`) is right in every guest.
     */
    const char *const *gateways;
    /**
     * The number of `gateways`.
     */
    size_t gateway_count;
    /**
     * Name servers.
     */
    const char *const *nameservers;
    /**
     * The number of `nameservers`.
     */
    size_t nameserver_count;
    /**
     * Domains in which short names are looked up.
     */
    const char *const *search_domains;
    /**
     * The number of `search_domains`.
     */
    size_t search_domain_count;
    /**
     * Whether it gets IPv6 addresses and the IPv6 gateway from router advertisements.
     */
    bool router_advertisements;
} XvirtSeedNic;

/**
 * A guest's identity at its first boot.
 *
 * Equal values yield equal bytes.
 */
typedef struct XvirtSeed {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * The host name, with or without a domain. Required.
     */
    const char *hostname;
    /**
     * The unique id of the guest: with a new one, cloud-init runs again and also creates new SSH host keys.
     */
    const char *instance_id;
    /**
     * The users. If empty, cloud-init creates the image's default user.
     */
    const struct XvirtUser *const *users;
    /**
     * The number of `users`.
     */
    size_t user_count;
    /**
     * Lines of root's `authorized_keys`. If `users` is empty, the image's default user gets them too.
     */
    const char *const *root_authorized_keys;
    /**
     * The number of `root_authorized_keys`.
     */
    size_t root_authorized_key_count;
    /**
     * Commands with their arguments, which run once, in this order, after everything else. They do not go through a
     * shell.
     */
    const struct XvirtStringList *const *commands;
    /**
     * The number of `commands`.
     */
    size_t command_count;
    /**
     * The network interfaces, which the guest names `eth0`, `eth1` and so on in this order. If empty, the image's
     * default applies, which usually is DHCP on the first interface.
     */
    const struct XvirtSeedNic *const *nics;
    /**
     * The number of `nics`.
     */
    size_t nic_count;
    /**
     * The complete `user-data`, instead of users, keys and commands. It is not checked.
     */
    const char *user_data;
} XvirtSeed;

/**
 * The state of a migration.
 */
typedef struct XvirtMigrationReport {
    /**
     * The phase.
     */
    XvirtMigrationPhase phase;
    /**
     * The number of the round, from 0, in which all pages are sent.
     */
    uint32_t round;
    /**
     * The bytes of all pages that were sent, or received at the target.
     */
    uint64_t bytes;
    /**
     * The pages that were all zeroes, of which only the numbers are sent.
     */
    uint64_t zero_pages;
    /**
     * The bytes of the pages that had to be sent at the beginning of the round.
     */
    uint64_t round_bytes;
    /**
     * How fast the guest wrote in the last round, in bytes per second. 0 at the target.
     */
    uint64_t dirty_rate;
    /**
     * How fast the last round was sent, in bytes per second. 0 at the target.
     */
    uint64_t throughput;
    /**
     * Whether `expected_downtime_ns` is set.
     */
    bool has_expected_downtime;
    /**
     * How long sending the rest would take with the guest stopped. In nanoseconds.
     */
    uint64_t expected_downtime_ns;
    /**
     * The share of time for which the vCPUs are held, in percent.
     */
    uint8_t throttle;
    /**
     * How long the migration has lasted. In nanoseconds.
     */
    uint64_t elapsed_ns;
    /**
     * How long until its time limit. In nanoseconds.
     */
    uint64_t time_left_ns;
} XvirtMigrationReport;

/**
 * How long the guest was stopped, and why. The parts follow one another.
 */
typedef struct XvirtDowntime {
    /**
     * Stopping the vCPUs and completing the requests of devices. In nanoseconds.
     */
    uint64_t drain_ns;
    /**
     * Sending the last pages. In nanoseconds.
     */
    uint64_t last_round_ns;
    /**
     * Closing the disks and collecting the state. In nanoseconds.
     */
    uint64_t state_ns;
    /**
     * Sending the state and its answer, and the decision about the commit. In nanoseconds.
     */
    uint64_t send_ns;
    /**
     * Opening the disks and loading the state at the target. In nanoseconds.
     */
    uint64_t load_ns;
    /**
     * From the commit until the guest ran. In nanoseconds.
     */
    uint64_t resume_ns;
} XvirtDowntime;

/**
 * What a successful migration did.
 */
typedef struct XvirtMigrationSummary {
    /**
     * The last report.
     */
    const struct XvirtMigrationReport *report;
    /**
     * How long the guest was stopped.
     */
    const struct XvirtDowntime *downtime;
} XvirtMigrationSummary;

/**
 * How many requests took how long.
 */
typedef struct XvirtLatencyBucket {
    /**
     * The longest time of these requests, in nanoseconds.
     */
    uint64_t end_ns;
    /**
     * Their number.
     */
    uint64_t count;
} XvirtLatencyBucket;

/**
 * A list, which `xvirt_latency_bucket_list_free()` frees with all that is in it.
 */
typedef struct XvirtLatencyBucketList {
    /**
     * The values.
     */
    const struct XvirtLatencyBucket *const *items;
    /**
     * Their number.
     */
    size_t count;
} XvirtLatencyBucketList;

/**
 * The settings of a migration at its source.
 */
typedef struct XvirtMigration {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * How the target gets the guest's memory; by default it is copied. Cannot be changed on the way.
     */
    XvirtMemoryTransfer memory;
    /**
     * How many connections memory is sent over, from 1 to 16; 1 by default. Cannot be changed on the way.
     */
    uint8_t connections;
    /**
     * Whether `bandwidth` is set.
     */
    bool has_bandwidth;
    /**
     * The most that each connection sends, in bytes per second; without it there is no limit. In bytes.
     */
    uint64_t bandwidth;
    /**
     * How long the guest may be stopped while the last pages are sent, 300 ms by default. Earlier rounds aim lower,
     * see `docs/migration.md`. In nanoseconds.
     */
    uint64_t downtime_ns;
    /**
     * Whether `max_throttle` is set.
     */
    bool has_max_throttle;
    /**
     * The most that the vCPUs are throttled if the guest writes faster than the connections send: the share of time
     * for which they are held, in percent, from 0 to 99; 99 by default.
     */
    uint8_t max_throttle;
    /**
     * How long the migration may take; an hour by default. In nanoseconds.
     */
    uint64_t time_limit_ns;
    /**
     * What happens then; by default it fails.
     */
    XvirtAtLimit at_limit;
    /**
     * How long the target may be silent, or take no data, before it is given up; 30 s by default. It has to be able
     * to open the disks and load the state in this time. In nanoseconds.
     */
    uint64_t silence_limit_ns;
    /**
     * How long to ask the XvirtCommitDecision while it answers XVIRT_DECISION_UNKNOWN; a minute by default. In
     * nanoseconds.
     */
    uint64_t decision_limit_ns;
} XvirtMigration;

/**
 * What is told how a migration goes. The functions are called on the thread of the call, or are NULL.
 */
typedef struct XvirtMigrationObserver {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * Gets each phase and round, and the state of a round about ten times per second. `report` is gone when it has
     * returned.
     */
    void (*report)(void *user_data, const struct XvirtMigrationReport *report);
    /**
     * Is asked for new settings of the source after each report; NULL leaves them as they are. How memory is moved, the
     * number of connections and the silence limit cannot change. The settings must be valid until the next report.
     */
    const struct XvirtMigration *(*settings)(void *user_data);
    /**
     * What the functions get.
     */
    void *user_data;
} XvirtMigrationObserver;

/**
 * A store that decides on which host the VM runs, for programs that keep a record of that.
 *
 * Without one, the two sides decide alone: the source commits, and a target that loses the connection before gives up.
 * With a store, a target that loses the connection reads it, so that an outcome is indeterminate less often. Both sides
 * must use the same store.
 *
 * The functions are called on the thread of the call. They may block, but not longer than the other side's limit for
 * silence. If `commit` answers XVIRT_DECISION_UNKNOWN, `withdraw` is called; it and `read` are called again as long as
 * they answer that, until the `decision_limit_ns` of the settings. That of the target should be the longer one. Any
 * number that is no XvirtDecision counts as XVIRT_DECISION_UNKNOWN.
 */
typedef struct XvirtCommitDecision {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * Source: makes the target the owner. Asked once, when the target is prepared. Required.
     */
    XvirtDecision (*commit)(void *user_data);
    /**
     * Source: prevents that `commit` is applied later. XVIRT_DECISION_APPLIED if it already is. Required.
     */
    XvirtDecision (*withdraw)(void *user_data);
    /**
     * Target: reads whether it is the owner. XVIRT_DECISION_REFUSED only if it never will be: XVIRT_DECISION_UNKNOWN while
     * the source may still commit. Required.
     */
    XvirtDecision (*read)(void *user_data);
    /**
     * What the functions get.
     */
    void *user_data;
} XvirtCommitDecision;

/**
 * The settings of a migration at its target. None of them limits how long it waits for a source to connect.
 */
typedef struct XvirtReception {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * How long the source may be silent before it is given up; 30 s by default. It has to be able to stop the guest
     * and to flush and close its disks in this time. In nanoseconds.
     */
    uint64_t silence_limit_ns;
    /**
     * How long the migration may take, from the first connection of its source until the target is prepared; four
     * hours by default. In nanoseconds.
     */
    uint64_t time_limit_ns;
    /**
     * How long to ask the XvirtCommitDecision while it answers XVIRT_DECISION_UNKNOWN; a minute by default. In
     * nanoseconds.
     */
    uint64_t decision_limit_ns;
} XvirtReception;

/**
 * A VM that arrives by a migration.
 */
typedef struct XvirtArrivingVm {
    /**
     * Its identifier.
     */
    const char *uuid;
    /**
     * Its name.
     */
    const char *name;
    /**
     * Its configuration at the source, which may be changed; NULL if that has parts that are no data.
     */
    struct XvirtVmConfig *config;
    /**
     * Whether the source only checks whether it could migrate.
     */
    bool is_only_checked;
    /**
     * Whether its memory is handed over within one host.
     */
    bool is_local_hand_over;
} XvirtArrivingVm;

/**
 * What a network does that the program implements.
 */
typedef struct XvirtNetworkOperations {
    /**
     * The size of this struct, which the caller sets.
     */
    size_t struct_size;
    /**
     * Gets each Ethernet frame that the guest sends, without the checksum at its end. It is called on a thread of the
     * network, one call at a time; different networks call it at once. The frame is gone when it has returned. It may
     * call xvirt_network_send(). Required.
     */
    void (*transmit)(void *user_data, const uint8_t *frame, size_t length);
    /**
     * Called once, when `transmit` will never be called again. It may be NULL.
     */
    void (*release)(void *user_data);
    /**
     * What the functions get.
     */
    void *user_data;
} XvirtNetworkOperations;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Runs a command in the guest, and calls `output` with each piece of its output, on this thread. `output` returns false
 * to end the command, whose status is then that it was killed.
 *
 * `status` gets how the command ended; free it with xvirt_command_status_free(). `call` is NULL, or has a timeout and
 * the means to cancel the call.
 */
XvirtStatus xvirt_guest_agent_run_streamed(const struct XvirtGuestAgent *guest_agent,
                                           const struct XvirtGuestCommand *command,
                                           bool (*output)(void *user_data,
                                                          XvirtOutputStream stream,
                                                          const uint8_t *bytes,
                                                          size_t length),
                                           void *user_data,
                                           const struct XvirtCall *call,
                                           struct XvirtCommandStatus **status,
                                           struct XvirtError **error);

/**
 * Makes a disk that the program implements. If the call succeeds, `release` is called once in the end.
 *
 * Free `block_backend` with xvirt_block_backend_free().
 */
XvirtStatus xvirt_block_backend_new(const struct XvirtDiskOperations *operations,
                                    struct XvirtBlockBackend **block_backend,
                                    struct XvirtError **error);

/**
 * `capacity` gets the size of the disk in bytes.
 */
XvirtStatus xvirt_block_backend_capacity(const struct XvirtBlockBackend *block_backend,
                                         uint64_t *capacity,
                                         struct XvirtError **error);

/**
 * `read_only` gets whether writes are refused.
 */
XvirtStatus xvirt_block_backend_read_only(const struct XvirtBlockBackend *block_backend,
                                          bool *read_only,
                                          struct XvirtError **error);

/**
 * `block_size` gets the physical block size in bytes.
 */
XvirtStatus xvirt_block_backend_block_size(const struct XvirtBlockBackend *block_backend,
                                           uint32_t *block_size,
                                           struct XvirtError **error);

/**
 * Reads from a disk image.
 *
 * Errors: XVIRT_STATUS_INVALID_CONFIG if the range exceeds the disk.
 */
XvirtStatus xvirt_block_backend_read(const struct XvirtBlockBackend *block_backend,
                                     uint8_t *buffer,
                                     size_t length,
                                     uint64_t offset,
                                     struct XvirtError **error);

/**
 * Writes to a disk image that no VM uses.
 *
 * Errors: XVIRT_STATUS_INVALID_CONFIG if the range exceeds the disk.
 */
XvirtStatus xvirt_block_backend_write(const struct XvirtBlockBackend *block_backend,
                                      const uint8_t *buffer,
                                      size_t length,
                                      uint64_t offset,
                                      struct XvirtError **error);

/**
 * Returns when everything written before is on stable storage.
 */
XvirtStatus xvirt_block_backend_flush(const struct XvirtBlockBackend *block_backend,
                                      struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_block_backend_free(struct XvirtBlockBackend *block_backend);

/**
 * Reads the entries of the boot menu of a disk: GRUB's first, then those of other boot loaders, then kernels by their
 * usual names. At most one of them is the default; there is none if no entry can be booted.
 *
 * Free `entries` with xvirt_boot_entry_list_free(). `call` is NULL, or has a timeout and the means to cancel the call.
 *
 * Errors: XVIRT_STATUS_NOT_BOOTABLE if there is nothing to boot. XVIRT_STATUS_LIMIT_EXCEEDED if the disk takes more work
 * than any real one, because its directories, links or menus lead in circles.
 */
XvirtStatus xvirt_boot_menu_entries(const struct XvirtBlockBackend *disk,
                                    const struct XvirtCall *call,
                                    struct XvirtBootEntryList **entries,
                                    struct XvirtError **error);

/**
 * Finds an entry in the boot menu of a disk. `choice` is NULL for the default entry.
 *
 * Free `boot_entry` with xvirt_boot_entry_free(). `call` is NULL, or has a timeout and the means to cancel the call.
 *
 * Errors: XVIRT_STATUS_NOT_BOOTABLE if there is no such entry, with the names of those that exist.
 */
XvirtStatus xvirt_boot_menu_entry(const struct XvirtBlockBackend *disk,
                                  const struct XvirtEntryChoice *choice,
                                  const struct XvirtCall *call,
                                  struct XvirtBootEntry **boot_entry,
                                  struct XvirtError **error);

/**
 * Reads the kernel, the initial RAM disk and the command line of an entry in the boot menu of a disk. `choice` is NULL
 * for the default entry, `limits` for the usual limits of their sizes.
 *
 * Free `boot_files` with xvirt_boot_files_free(). `call` is NULL, or has a timeout and the means to cancel the call.
 *
 * Errors: XVIRT_STATUS_NOT_BOOTABLE if there is no such entry, or it cannot be booted, with the reason.
 * XVIRT_STATUS_LIMIT_EXCEEDED if a file is too large.
 */
XvirtStatus xvirt_boot_menu_load(const struct XvirtBlockBackend *disk,
                                 const struct XvirtEntryChoice *choice,
                                 const struct XvirtLimits *limits,
                                 const struct XvirtCall *call,
                                 struct XvirtBootFiles **boot_files,
                                 struct XvirtError **error);

/**
 * Creates one that cancels nothing yet. Free `cancel` with xvirt_cancel_free().
 */
XvirtStatus xvirt_cancel_new(struct XvirtCancel **cancel, struct XvirtError **error);

/**
 * Cancels all calls that got it, also those that start later. They fail with XVIRT_STATUS_CANCELLED within 100 ms, and
 * leave nothing half done. A call that has already changed something may still succeed.
 */
XvirtStatus xvirt_cancel_cancel(const struct XvirtCancel *cancel,
                                struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_cancel_free(struct XvirtCancel *cancel);

/**
 * Waits for output, and reads what is there, at most `size` bytes. `count` gets their number; it is 0 at the end of the
 * console, after which there is never more. The bytes are those of the guest, with any values and without a NUL at
 * their end.
 *
 * Fails with XVIRT_STATUS_TIMEOUT after `call.timeout_ns`.
 */
XvirtStatus xvirt_console_reader_read(const struct XvirtConsoleReader *console_reader,
                                      uint8_t *buffer,
                                      size_t size,
                                      const struct XvirtCall *call,
                                      size_t *count,
                                      struct XvirtError **error);

/**
 * Waits for output, and calls `output` with each piece of it, on this thread, until `output` returns false or the
 * console ends. The bytes are those of the guest, as for xvirt_console_reader_read(). `output` may use the reader.
 *
 * Fails with XVIRT_STATUS_TIMEOUT after `call.timeout_ns`.
 */
XvirtStatus xvirt_console_reader_follow(const struct XvirtConsoleReader *console_reader,
                                        bool (*output)(void *user_data,
                                                       const uint8_t *bytes,
                                                       size_t length),
                                        void *user_data,
                                        const struct XvirtCall *call,
                                        struct XvirtError **error);

/**
 * Reads the output that is there, at most `size` bytes. `is_ready` gets whether there is any, or the end; `count` gets
 * the number of bytes, which is 0 at the end of the console.
 */
XvirtStatus xvirt_console_reader_try_read(const struct XvirtConsoleReader *console_reader,
                                          uint8_t *buffer,
                                          size_t size,
                                          bool *is_ready,
                                          size_t *count,
                                          struct XvirtError **error);

/**
 * The kind of the error: what the failed call has returned. XVIRT_STATUS_OK if `error` is NULL.
 */
XvirtStatus xvirt_error_status(const struct XvirtError *error);

/**
 * What failed, and on what, without its cause and remedy. "" if `error` is NULL.
 */
const char *xvirt_error_message(const struct XvirtError *error);

/**
 * What to do about it; NULL if nothing is known.
 */
const char *xvirt_error_remedy(const struct XvirtError *error);

/**
 * All of it in one line: what failed, why, and what to do. "" if `error` is NULL.
 */
const char *xvirt_error_text(const struct XvirtError *error);

/**
 * The number of the operating system's error (see errno(3)) that led to it; 0 if there is none.
 */
int32_t xvirt_error_errno(const struct XvirtError *error);

/**
 * The error that caused this one, which belongs to it; NULL if there is none. Do not free it.
 */
const struct XvirtError *xvirt_error_cause(const struct XvirtError *error);

/**
 * Frees an error with all that its functions have returned. NULL is fine.
 */
void xvirt_error_free(struct XvirtError *error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_frozen_file_systems_free(struct XvirtFrozenFileSystems *frozen_file_systems);

/**
 * The number of frozen file systems.
 */
XvirtStatus xvirt_frozen_file_systems_count(const struct XvirtFrozenFileSystems *frozen_file_systems,
                                            size_t *count,
                                            struct XvirtError **error);

/**
 * Thaws them, and returns how many were thawed. Fewer than xvirt_frozen_file_systems_count() means that another
 * program or the time limit has thawed some before: a copy made meanwhile may be inconsistent.
 *
 * Errors:
 * Those of all calls. The thaw is then retried on a thread.
 *
 * It uses `frozen_file_systems` up, which is still to be freed and good for nothing else. `call` is NULL, or has
 * a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_frozen_file_systems_thaw(const struct XvirtFrozenFileSystems *frozen_file_systems,
                                           const struct XvirtCall *call,
                                           size_t *count,
                                           struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_guest_agent_free(struct XvirtGuestAgent *guest_agent);

/**
 * Reads a file of the guest, of at most `limit` bytes. The agent's time limit applies to the whole file.
 *
 * Errors:
 * XVIRT_STATUS_LIMIT_EXCEEDED if it is longer, XVIRT_STATUS_AGENT_REFUSED also if it does not exist, and those
 * of all calls.
 *
 * Free `bytes` with xvirt_free(). `call` is NULL, or has a timeout, the means to cancel the call and a callback
 * for its progress.
 */
XvirtStatus xvirt_guest_agent_read_file(const struct XvirtGuestAgent *guest_agent,
                                        const char *path,
                                        size_t limit,
                                        const struct XvirtCall *call,
                                        uint8_t **bytes,
                                        size_t *bytes_length,
                                        struct XvirtError **error);

/**
 * Reads a file of the guest into `target` and returns its length. The agent's time limit applies to the whole
 * file, which bounds how much a guest can send.
 *
 * Errors:
 * Any error of writing to `target`, and those of xvirt_guest_agent_read_file().
 *
 * `target` is a descriptor, which is duplicated and stays open. `call` is NULL, or has a timeout, the means to
 * cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_guest_agent_read_file_to(const struct XvirtGuestAgent *guest_agent,
                                           const char *path,
                                           int target,
                                           const struct XvirtCall *call,
                                           uint64_t *count,
                                           struct XvirtError **error);

/**
 * Writes a file of the guest, replacing the contents of an existing one. The agent's time limit applies to the
 * whole file.
 *
 * The agent makes new files readable and writable for every user of the guest. Where that matters, create the
 * file with a command first, such as `install -m 600 /dev/null PATH`: an existing file keeps its mode and owner.
 * Afterwards the data is in the guest's page cache; it reaches the disk when the guest syncs.
 *
 * Errors:
 * Those of all calls. Part of the file may have been written.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_guest_agent_write_file(const struct XvirtGuestAgent *guest_agent,
                                         const char *path,
                                         const uint8_t *bytes,
                                         size_t bytes_length,
                                         const struct XvirtCall *call,
                                         struct XvirtError **error);

/**
 * Writes the data of `source` to a file of the guest, as xvirt_guest_agent_write_file() does, and returns its
 * length.
 *
 * Errors:
 * Any error of reading from `source`, and those of xvirt_guest_agent_write_file().
 *
 * `source` is a descriptor, which is duplicated and stays open. `call` is NULL, or has a timeout, the means to
 * cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_guest_agent_write_file_from(const struct XvirtGuestAgent *guest_agent,
                                              const char *path,
                                              int source,
                                              const struct XvirtCall *call,
                                              uint64_t *count,
                                              struct XvirtError **error);

/**
 * Flushes the guest's caches to its disks and freezes all its local file systems, so that a copy of the disks
 * made meanwhile is consistent. They need to stay frozen only for a call of xvirt_vm_snapshot_views(), which
 * returns quickly.
 *
 * The file systems are thawed after `limit` at the latest, counted from the call, by a thread of this process:
 * even while the caller is stuck, but not while the VM is paused. If this whole process is stopped, so is the
 * guest; if it ends, so does the guest, and nothing is frozen at its next boot. Meanwhile, programs in the guest
 * that write are blocked, and the agent rejects all calls but xvirt_guest_agent_ping(), xvirt_guest_agent_info()
 * and thawing.
 *
 * After an error other than XVIRT_STATUS_AGENT_REFUSED, they may be frozen for a moment: they are thawed as soon
 * as the agent answers.
 *
 * Errors:
 * XVIRT_STATUS_AGENT_REFUSED also if they are already frozen, and those of all calls, also if the file systems
 * of an earlier call have to be thawed first and cannot be.
 *
 * Free `frozen_file_systems` with xvirt_frozen_file_systems_free(). `call` is NULL, or has a timeout, the means
 * to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_guest_agent_freeze_file_systems(const struct XvirtGuestAgent *guest_agent,
                                                  uint64_t limit_ns,
                                                  const struct XvirtCall *call,
                                                  struct XvirtFrozenFileSystems **frozen_file_systems,
                                                  struct XvirtError **error);

/**
 * The same agent, with this time limit for each call.
 *
 * Free `new_guest_agent` with xvirt_guest_agent_free().
 */
XvirtStatus xvirt_guest_agent_with_timeout(const struct XvirtGuestAgent *guest_agent,
                                           uint64_t timeout_ns,
                                           struct XvirtGuestAgent **new_guest_agent,
                                           struct XvirtError **error);

/**
 * The time limit of each call.
 */
XvirtStatus xvirt_guest_agent_timeout(const struct XvirtGuestAgent *guest_agent,
                                      uint64_t *timeout_ns,
                                      struct XvirtError **error);

/**
 * Whether a program in the guest has the agent's port open. Does not ask the agent.
 */
XvirtStatus xvirt_guest_agent_is_present(const struct XvirtGuestAgent *guest_agent,
                                         bool *is_present,
                                         struct XvirtError **error);

/**
 * Waits at most `timeout` until the agent is present and answers, for example while the guest boots.
 *
 * Errors:
 * XVIRT_STATUS_TIMEOUT; XVIRT_STATUS_INVALID_STATE if the VM is halted, or is halted while this waits.
 *
 * `call.timeout_ns` is the timeout. `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_guest_agent_wait_ready(const struct XvirtGuestAgent *guest_agent,
                                         const struct XvirtCall *call,
                                         struct XvirtError **error);

/**
 * Checks that the agent answers.
 *
 * Errors:
 * Those of all calls.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_guest_agent_ping(const struct XvirtGuestAgent *guest_agent,
                                   const struct XvirtCall *call,
                                   struct XvirtError **error);

/**
 * The agent's version and the commands that it allows.
 *
 * Errors:
 * Those of all calls.
 *
 * Free `agent_info` with xvirt_agent_info_free(). `call` is NULL, or has a timeout, the means to cancel the call
 * and a callback for its progress.
 */
XvirtStatus xvirt_guest_agent_info(const struct XvirtGuestAgent *guest_agent,
                                   const struct XvirtCall *call,
                                   struct XvirtAgentInfo **agent_info,
                                   struct XvirtError **error);

/**
 * The guest's network interfaces with their addresses, including the loopback interface.
 *
 * Errors:
 * Those of all calls.
 *
 * Free `network_interfaces` with xvirt_network_interface_list_free(). `call` is NULL, or has a timeout, the
 * means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_guest_agent_network_interfaces(const struct XvirtGuestAgent *guest_agent,
                                                 const struct XvirtCall *call,
                                                 struct XvirtNetworkInterfaceList **network_interfaces,
                                                 struct XvirtError **error);

/**
 * Asks the guest to shut down and power off, and waits until that has begun, which is when its agent is gone.
 * xvirt_vm_wait_halted() waits for the rest. xvirt_vm_clean_shutdown() does all of this, and presses the power
 * button if necessary.
 *
 * Errors:
 * XVIRT_STATUS_TIMEOUT if its agent is not gone in time; it may still shut down later. Otherwise those of all
 * calls.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_guest_agent_shutdown(const struct XvirtGuestAgent *guest_agent,
                                       const struct XvirtCall *call,
                                       struct XvirtError **error);

/**
 * Asks the guest to reboot, and waits until that has begun, which is when its agent is gone. The VM is reset
 * later (XVIRT_EVENT_KIND_GUEST_RESET); xvirt_guest_agent_wait_ready() waits for its next boot.
 *
 * Errors:
 * As xvirt_guest_agent_shutdown().
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_guest_agent_reboot(const struct XvirtGuestAgent *guest_agent,
                                     const struct XvirtCall *call,
                                     struct XvirtError **error);

/**
 * Runs a command in the guest, waits until it has ended and collects its output. The command itself may fail:
 * see `status`.
 *
 * It needs only the agent in the guest, which keeps the output until the command has ended: up to 16 MiB of each
 * stream, of which `output_limit` is returned. Other calls can be made meanwhile. A command
 * has ended when it has exited and all processes that inherited its output have closed it, so one that leaves a
 * process in the background should redirect its output.
 *
 * At the time limit, the command is killed (`kill -9`, with the guest's `/bin/sh`), but not the processes that
 * it has started. If the agent does not answer then, or this process ends first, the command keeps running.
 *
 * Errors:
 * XVIRT_STATUS_TIMEOUT as described; XVIRT_STATUS_INVALID_CONFIG for an invalid command;
 * XVIRT_STATUS_AGENT_REFUSED also if the guest has no such program; and those of all calls.
 *
 * Free `output` with xvirt_command_output_free(). `call` is NULL, or has a timeout, the means to cancel the call
 * and a callback for its progress.
 */
XvirtStatus xvirt_guest_agent_run(const struct XvirtGuestAgent *guest_agent,
                                  const struct XvirtGuestCommand *command,
                                  const struct XvirtCall *call,
                                  struct XvirtCommandOutput **output,
                                  struct XvirtError **error);

/**
 * The time of the guest's clock.
 *
 * Errors:
 * Those of all calls.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_guest_agent_time(const struct XvirtGuestAgent *guest_agent,
                                   const struct XvirtCall *call,
                                   uint64_t *time_ns,
                                   struct XvirtError **error);

/**
 * Sets the guest's system clock and hardware clock. With the present time, that corrects a clock that stood
 * still while the VM was paused. In a Linux guest the agent uses `hwclock` for the hardware clock; if that is
 * missing or fails, the call fails, but the system clock is set.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_CONFIG for times before 1970 or after 2262, and those of all calls.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_guest_agent_set_time(const struct XvirtGuestAgent *guest_agent,
                                       uint64_t time_ns,
                                       const struct XvirtCall *call,
                                       struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_cpu_baseline_free(struct XvirtCpuBaseline *cpu_baseline);

/**
 * The features that all `hosts` have. It is itself a baseline that can be combined with others.
 *
 * Errors:
 * XVIRT_STATUS_HOST_UNSUPPORTED if their CPUs are of different vendors: no guest can move between them.
 * XVIRT_STATUS_INVALID_CONFIG if there are no hosts.
 *
 * Free `cpu_baseline` with xvirt_cpu_baseline_free(). `call` is NULL, or has a timeout, the means to cancel the
 * call and a callback for its progress.
 */
XvirtStatus xvirt_cpu_baseline_of(const struct XvirtCpuBaseline *const *hosts,
                                  size_t host_count,
                                  const struct XvirtCall *call,
                                  struct XvirtCpuBaseline **cpu_baseline,
                                  struct XvirtError **error);

/**
 * The vendor of the CPUs according to CPUID, such as `GenuineIntel` or `AuthenticAMD`.
 *
 * Free `vendor` with xvirt_free().
 */
XvirtStatus xvirt_cpu_baseline_vendor(const struct XvirtCpuBaseline *cpu_baseline,
                                      char **vendor,
                                      struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_connection_attachment_free(struct XvirtConnectionAttachment *connection_attachment);

/**
 * Whether the connection has ended: the peer has hung up, or the console was closed.
 */
XvirtStatus xvirt_connection_attachment_is_over(const struct XvirtConnectionAttachment *connection_attachment,
                                                bool *is_over,
                                                struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 *
 * The VM keeps its console.
 */
void xvirt_console_free(struct XvirtConsole *console);

/**
 * A console that keeps the newest 1 MiB of output; memory is allocated as output arrives.
 *
 * Errors:
 * XVIRT_STATUS_OUT_OF_DESCRIPTORS.
 *
 * Free `console` with xvirt_console_free().
 */
XvirtStatus xvirt_console_new(struct XvirtConsole **console, struct XvirtError **error);

/**
 * A console that keeps the newest `capacity` bytes of output.
 *
 * Errors:
 * XVIRT_STATUS_OUT_OF_DESCRIPTORS.
 *
 * Free `console` with xvirt_console_free().
 */
XvirtStatus xvirt_console_with_capacity(size_t capacity,
                                        struct XvirtConsole **console,
                                        struct XvirtError **error);

/**
 * A reader that starts at the VM's first byte of output (or at the oldest byte still kept: see
 * xvirt_console_reader_lost()).
 *
 * Free `console_reader` with xvirt_console_reader_free().
 */
XvirtStatus xvirt_console_reader(const struct XvirtConsole *console,
                                 struct XvirtConsoleReader **console_reader,
                                 struct XvirtError **error);

/**
 * A reader that sees only new output.
 *
 * Free `console_reader` with xvirt_console_reader_free().
 */
XvirtStatus xvirt_console_reader_at_end(const struct XvirtConsole *console,
                                        struct XvirtConsoleReader **console_reader,
                                        struct XvirtError **error);

/**
 * Sends `bytes` as input. Up to 64 KiB wait for the guest; beyond that, this blocks until the guest reads.
 *
 * Errors:
 * XVIRT_STATUS_TIMEOUT if the guest did not read in time (the message says how many bytes were accepted),
 * XVIRT_STATUS_INVALID_STATE if the VM is halted, or is halted or reset while this waits, XVIRT_STATUS_GONE if
 * the console is closed.
 *
 * `call.timeout_ns` is the timeout. `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_console_write_all(const struct XvirtConsole *console,
                                    const uint8_t *bytes,
                                    size_t bytes_length,
                                    const struct XvirtCall *call,
                                    struct XvirtError **error);

/**
 * Sends as much of `bytes` as there is room for, without waiting; returns how many bytes, possibly 0. A
 * xvirt_console_writer() can also tell when there is room again.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_STATE if the VM is halted, XVIRT_STATUS_GONE if the console is closed.
 */
XvirtStatus xvirt_console_try_write(const struct XvirtConsole *console,
                                    const uint8_t *bytes,
                                    size_t bytes_length,
                                    size_t *count,
                                    struct XvirtError **error);

/**
 * A writer for an event loop, which tells when there is room for more input.
 *
 * Errors:
 * XVIRT_STATUS_OUT_OF_DESCRIPTORS; XVIRT_STATUS_INVALID_STATE in a child of fork(2).
 *
 * Free `console_writer` with xvirt_console_writer_free().
 */
XvirtStatus xvirt_console_writer(const struct XvirtConsole *console,
                                 struct XvirtConsoleWriter **console_writer,
                                 struct XvirtError **error);

/**
 * Opens a pseudo-terminal whose other end can be opened by path, for example by `screen` or `minicom`. Its
 * output starts with the oldest byte kept. Input is dropped while the VM is halted. One thread serves it until
 * the attachment is freed.
 *
 * Errors:
 * XVIRT_STATUS_NOT_FOUND or XVIRT_STATUS_IO if the host cannot provide a pseudo-terminal.
 *
 * Free `pty_attachment` with xvirt_pty_attachment_free(). `call` is NULL, or has a timeout, the means to cancel
 * the call and a callback for its progress.
 */
XvirtStatus xvirt_console_attach_pty(const struct XvirtConsole *console,
                                     const struct XvirtCall *call,
                                     struct XvirtPtyAttachment **pty_attachment,
                                     struct XvirtError **error);

/**
 * Listens on a Unix socket at `path` (mode 0600). Up to 32 clients at a time may connect. Each gets the output
 * from the oldest byte kept, and may send input, which is dropped while the VM is halted. A stale socket file on
 * which no process listens is replaced. One thread serves all clients until the attachment is freed.
 *
 * Errors:
 * XVIRT_STATUS_BUSY if a process listens there, XVIRT_STATUS_ALREADY_EXISTS if the path is something other than
 * a socket, XVIRT_STATUS_INVALID_CONFIG if the path is too long for a socket address, XVIRT_STATUS_NOT_FOUND or
 * XVIRT_STATUS_PERMISSION_DENIED because of its folder.
 *
 * Free `socket_attachment` with xvirt_socket_attachment_free(). `call` is NULL, or has a timeout, the means to
 * cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_console_attach_unix_socket(const struct XvirtConsole *console,
                                             const char *path,
                                             const struct XvirtCall *call,
                                             struct XvirtSocketAttachment **socket_attachment,
                                             struct XvirtError **error);

/**
 * Serves the peer of a connected unix stream socket, which becomes non-blocking: it gets the output from the
 * oldest byte kept, and may send input, which is dropped while the VM is halted. One thread serves it until the
 * peer hangs up, the console is closed or the attachment is freed. A peer that does not read loses the oldest
 * output, and is told so.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_CONFIG if it is not a unix stream socket, XVIRT_STATUS_OUT_OF_DESCRIPTORS.
 *
 * `connection` is a descriptor, which is duplicated and stays open. Free `connection_attachment` with
 * xvirt_connection_attachment_free(). `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_console_attach_connection(const struct XvirtConsole *console,
                                            int connection,
                                            const struct XvirtCall *call,
                                            struct XvirtConnectionAttachment **connection_attachment,
                                            struct XvirtError **error);

/**
 * Closes the console permanently, as freeing its VM does: readers get the remaining output and then end of file,
 * input is refused. Closing it twice has no effect.
 */
XvirtStatus xvirt_console_close(const struct XvirtConsole *console,
                                struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_pty_attachment_free(struct XvirtPtyAttachment *pty_attachment);

/**
 * The path of the terminal, such as `/dev/pts/3`.
 *
 * Free `path` with xvirt_free().
 */
XvirtStatus xvirt_pty_attachment_path(const struct XvirtPtyAttachment *pty_attachment,
                                      char **path,
                                      struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_console_reader_free(struct XvirtConsoleReader *console_reader);

/**
 * How many bytes this reader has missed because newer output overwrote them.
 */
XvirtStatus xvirt_console_reader_lost(const struct XvirtConsoleReader *console_reader,
                                      uint64_t *lost,
                                      struct XvirtError **error);

/**
 * Waits until `pattern` is printed, and returns the output up to and including it (its newest 1 MiB; bytes that
 * are not UTF-8 are replaced). The next read continues after it. On error, nothing is consumed.
 *
 * Errors:
 * XVIRT_STATUS_TIMEOUT if it was not printed in time, XVIRT_STATUS_GONE if the console was closed first. Both
 * quote the last output.
 *
 * `call.timeout_ns` is the timeout. Free `text` with xvirt_free(). `call` is NULL, or has a timeout, the means
 * to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_console_reader_wait_for(const struct XvirtConsoleReader *console_reader,
                                          const char *pattern,
                                          const struct XvirtCall *call,
                                          char **text,
                                          struct XvirtError **error);

/**
 * A descriptor for `poll` or an event loop: readable while xvirt_console_reader_try_read() would return
 * something. Each call returns the same descriptor. Only poll it; do not read from it.
 *
 * Errors:
 * XVIRT_STATUS_OUT_OF_DESCRIPTORS.
 *
 * `descriptor` gets a descriptor, which stays the library's: do not close it.
 */
XvirtStatus xvirt_console_reader_event_fd(const struct XvirtConsoleReader *console_reader,
                                          int *descriptor,
                                          struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_socket_attachment_free(struct XvirtSocketAttachment *socket_attachment);

/**
 * The path of the socket.
 *
 * Free `path` with xvirt_free().
 */
XvirtStatus xvirt_socket_attachment_path(const struct XvirtSocketAttachment *socket_attachment,
                                         char **path,
                                         struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_console_writer_free(struct XvirtConsoleWriter *console_writer);

/**
 * `descriptor` gets a descriptor that poll(2) reports as readable (POLLIN) once there is room for the rest of
 * what xvirt_console_writer_try_write() was given, or once that fails. It stays the library's, and is valid
 * until the handle is freed: do not read or close it.
 */
XvirtStatus xvirt_console_writer_fd(const struct XvirtConsoleWriter *console_writer,
                                    int *descriptor,
                                    struct XvirtError **error);

/**
 * Sends as much of `bytes` as there is room for; returns how many bytes, possibly 0. If that was not all, the
 * descriptor (xvirt_console_writer_fd()) becomes readable when the rest should be tried.
 *
 * Errors:
 * As xvirt_console_try_write().
 */
XvirtStatus xvirt_console_writer_try_write(const struct XvirtConsoleWriter *console_writer,
                                           const uint8_t *bytes,
                                           size_t bytes_length,
                                           size_t *count,
                                           struct XvirtError **error);

/**
 * Releases everything before byte `end`: its old contents are not preserved any more, and reading it fails. A
 * reader that goes from start to end reduces the copies that the guest waits for this way.
 */
XvirtStatus xvirt_snapshot_view_release(const struct XvirtSnapshotView *snapshot_view,
                                        uint64_t end,
                                        struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_streaming_disk_free(struct XvirtStreamingDisk *streaming_disk);

/**
 * Fetches all missing data in ascending order while the guest runs; the guest's requests to the source have
 * priority. When this returns, all data is in the target and on stable storage, and the source is closed.
 *
 * This blocks, so call it on a thread of its own.
 *
 * Errors:
 * The source cannot be read, the target or the map cannot be written, or the operation was cancelled. Fetched
 * data stays, the disk keeps working, and this can be called again.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_streaming_disk_complete(const struct XvirtStreamingDisk *streaming_disk,
                                          const struct XvirtCall *call,
                                          struct XvirtError **error);

/**
 * Creates a disk that fetches from `source` in blocks of `block_size` bytes, and records fetched blocks in a new
 * file `map`. When this returns, the map is on stable storage.
 *
 * `source` must never change. `target` must be written only through this disk and read as zeroes so far, like a
 * new image.
 *
 * Errors:
 * XVIRT_STATUS_ALREADY_EXISTS if the file `map` exists; XVIRT_STATUS_INVALID_CONFIG if source and target differ
 * in size, the target is read-only, or the block size is not a power of two from 4 KiB to 64 MiB or is too small
 * for the disk; or `map` cannot be written.
 *
 * Free `streaming_disk` with xvirt_streaming_disk_free(). `call` is NULL, or has a timeout, the means to cancel
 * the call and a callback for its progress.
 */
XvirtStatus xvirt_streaming_disk_create(const struct XvirtBlockBackend *source,
                                        const struct XvirtBlockBackend *target,
                                        const char *map,
                                        uint64_t block_size,
                                        const struct XvirtCall *call,
                                        struct XvirtStreamingDisk **streaming_disk,
                                        struct XvirtError **error);

/**
 * Opens a disk that was used before, with the same `map`, `target` and `source`.
 *
 * Errors:
 * XVIRT_STATUS_CORRUPT_IMAGE if the map is damaged; XVIRT_STATUS_UNSUPPORTED_IMAGE if a newer version wrote it;
 * XVIRT_STATUS_NOT_FOUND if it is missing; XVIRT_STATUS_INVALID_CONFIG if it belongs to a disk of another size.
 *
 * Free `streaming_disk` with xvirt_streaming_disk_free(). `call` is NULL, or has a timeout, the means to cancel
 * the call and a callback for its progress.
 */
XvirtStatus xvirt_streaming_disk_open(const struct XvirtBlockBackend *source,
                                      const struct XvirtBlockBackend *target,
                                      const char *map,
                                      const struct XvirtCall *call,
                                      struct XvirtStreamingDisk **streaming_disk,
                                      struct XvirtError **error);

/**
 * Whether all data is in the target, on stable storage. Then neither source nor map is needed any more, and the
 * target can be opened by itself.
 */
XvirtStatus xvirt_streaming_disk_is_complete(const struct XvirtStreamingDisk *streaming_disk,
                                             bool *is_complete,
                                             struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_host_free(struct XvirtHost *host);

/**
 * Probes this host. Missing features, including KVM, are reported and are not errors.
 *
 * Errors:
 * XVIRT_STATUS_HOST_UNSUPPORTED if `/proc` cannot be read.
 *
 * Free `host` with xvirt_host_free(). `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_host_probe(const struct XvirtCall *call,
                             struct XvirtHost **host,
                             struct XvirtError **error);

/**
 * Sets an open `/dev/kvm`, which VMs that are built (xvirt_vm_config_build()) on this host use instead of
 * opening the device, and updates the report with what it offers.
 *
 * A process that cannot open anything receives the descriptor, and the report of a xvirt_host_probe() as JSON,
 * from another process.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_CONFIG if the descriptor is not of `/dev/kvm`.
 *
 * `device` is a descriptor, which is duplicated and stays open. Free `new_host` with xvirt_host_free(). `call`
 * is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_host_with_kvm(const struct XvirtHost *host,
                                int device,
                                const struct XvirtCall *call,
                                struct XvirtHost **new_host,
                                struct XvirtError **error);

/**
 * The release of the running kernel.
 *
 * Free `kernel` with xvirt_free().
 */
XvirtStatus xvirt_host_kernel(const struct XvirtHost *host,
                              char **kernel,
                              struct XvirtError **error);

/**
 * Whether and how well VMs can run here.
 *
 * Free `kvm_status` with xvirt_kvm_status_free().
 */
XvirtStatus xvirt_host_kvm(const struct XvirtHost *host,
                           struct XvirtKvmStatus **kvm_status,
                           struct XvirtError **error);

/**
 * The processors.
 *
 * Free `cpus` with xvirt_cpus_free().
 */
XvirtStatus xvirt_host_cpus(const struct XvirtHost *host,
                            struct XvirtCpus **cpus,
                            struct XvirtError **error);

/**
 * The memory and its page sizes.
 *
 * Free `memory` with xvirt_memory_free().
 */
XvirtStatus xvirt_host_memory(const struct XvirtHost *host,
                              struct XvirtMemory **memory,
                              struct XvirtError **error);

/**
 * Whether disks can use io_uring, found by a test.
 */
XvirtStatus xvirt_host_io_uring(const struct XvirtHost *host,
                                XvirtAvailability *io_uring,
                                struct XvirtError **error);

/**
 * Whether guest memory can be filled while the guest runs (userfaultfd), found by a test.
 */
XvirtStatus xvirt_host_userfaultfd(const struct XvirtHost *host,
                                   XvirtAvailability *userfaultfd,
                                   struct XvirtError **error);

/**
 * What is missing or slow, its consequences, and the remedies.
 *
 * Free `problems` with xvirt_host_problem_list_free().
 */
XvirtStatus xvirt_host_problems(const struct XvirtHost *host,
                                struct XvirtHostProblemList **problems,
                                struct XvirtError **error);

/**
 * Whether files in the folder `dir` can share blocks (reflinks), so that copies of a disk take no time and no
 * space. Tests this with two temporary files.
 *
 * Errors:
 * XVIRT_STATUS_NOT_FOUND or XVIRT_STATUS_INVALID_CONFIG if `dir` does not exist or is not a folder,
 * XVIRT_STATUS_PERMISSION_DENIED if it is not writable, XVIRT_STATUS_NO_SPACE if it is full.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_host_reflink_support(const struct XvirtHost *host,
                                       const char *dir,
                                       const struct XvirtCall *call,
                                       bool *reflink_support,
                                       struct XvirtError **error);

/**
 * Fails if no VM can run; the error names the remedy. KVM without hardware virtualization passes.
 *
 * Errors:
 * XVIRT_STATUS_KVM_ABSENT, XVIRT_STATUS_KVM_DENIED, or XVIRT_STATUS_HOST_UNSUPPORTED if KVM is too old or does
 * not work.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_host_require_kvm(const struct XvirtHost *host,
                                   const struct XvirtCall *call,
                                   struct XvirtError **error);

/**
 * The CPU features that this host has for its guests, to be combined with those of others by
 * xvirt_cpu_baseline_of().
 *
 * Errors:
 * XVIRT_STATUS_HOST_UNSUPPORTED and others if the host cannot run VMs; the message states the remedy.
 *
 * Free `cpu_baseline` with xvirt_cpu_baseline_free(). `call` is NULL, or has a timeout, the means to cancel the
 * call and a callback for its progress.
 */
XvirtStatus xvirt_host_cpu_baseline(const struct XvirtHost *host,
                                    const struct XvirtCall *call,
                                    struct XvirtCpuBaseline **cpu_baseline,
                                    struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_frame_stream_free(struct XvirtFrameStream *frame_stream);

/**
 * Connects to the socket at `path`.
 *
 * Errors:
 * No program listens there, this user lacks the permission, or the listener's backlog is full
 * (XVIRT_STATUS_BUSY).
 *
 * Free `frame_stream` with xvirt_frame_stream_free(). `call` is NULL, or has a timeout, the means to cancel the
 * call and a callback for its progress.
 */
XvirtStatus xvirt_frame_stream_connect(const char *path,
                                       const struct XvirtCall *call,
                                       struct XvirtFrameStream **frame_stream,
                                       struct XvirtError **error);

/**
 * The path of the socket, if it was connected by path.
 *
 * `path` is NULL if there is none. Free it with xvirt_free().
 */
XvirtStatus xvirt_frame_stream_path(const struct XvirtFrameStream *frame_stream,
                                    char **path,
                                    struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_tap_free(struct XvirtTap *tap);

/**
 * `descriptor` gets a descriptor that poll(2) reports as readable (POLLIN) while there are frames. It stays the
 * library's, and is valid until the handle is freed: do not read or close it.
 */
XvirtStatus xvirt_tap_fd(const struct XvirtTap *tap,
                         int *descriptor,
                         struct XvirtError **error);

/**
 * Creates a tap that disappears when freed, named `name` or `xvtap0`, `xvtap1`, … It is down at first.
 *
 * Errors:
 * XVIRT_STATUS_PERMISSION_DENIED without `CAP_NET_ADMIN`, XVIRT_STATUS_HOST_UNSUPPORTED if the host does not
 * support taps, XVIRT_STATUS_INVALID_CONFIG if the name is invalid, XVIRT_STATUS_ALREADY_EXISTS if it is taken.
 *
 * Free `tap` with xvirt_tap_free(). `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_tap_create(const char *name,
                             const struct XvirtCall *call,
                             struct XvirtTap **tap,
                             struct XvirtError **error);

/**
 * Attaches to the persistent tap `name`, such as one created by `ip tuntap add NAME mode tap`.
 *
 * Errors:
 * XVIRT_STATUS_NOT_FOUND when there is no such interface, XVIRT_STATUS_INVALID_CONFIG when it is not a tap,
 * XVIRT_STATUS_BUSY when another program is attached to it, XVIRT_STATUS_PERMISSION_DENIED when it belongs to
 * another user, XVIRT_STATUS_HOST_UNSUPPORTED when the host has no taps.
 *
 * Free `tap` with xvirt_tap_free(). `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_tap_open(const char *name,
                           const struct XvirtCall *call,
                           struct XvirtTap **tap,
                           struct XvirtError **error);

/**
 * Uses a descriptor of a tap that a more privileged process has attached.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_CONFIG if it is not a tap, or was attached without `IFF_NO_PI` or `IFF_VNET_HDR`.
 *
 * `fd` is a descriptor, which is duplicated and stays open. Free `tap` with xvirt_tap_free(). `call` is NULL, or
 * has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_tap_from_fd(int fd,
                              const struct XvirtCall *call,
                              struct XvirtTap **tap,
                              struct XvirtError **error);

/**
 * The name of the interface on the host.
 *
 * Free `name` with xvirt_free().
 */
XvirtStatus xvirt_tap_name(const struct XvirtTap *tap, char **name, struct XvirtError **error);

/**
 * The MAC address of the host's end; the guest's NIC has its own.
 *
 * Errors:
 * XVIRT_STATUS_NOT_FOUND when the interface is gone.
 *
 * Free `mac` with xvirt_free().
 */
XvirtStatus xvirt_tap_mac(const struct XvirtTap *tap, char **mac, struct XvirtError **error);

/**
 * The MTU in bytes, without the Ethernet header.
 *
 * Errors:
 * XVIRT_STATUS_NOT_FOUND when the interface is gone.
 */
XvirtStatus xvirt_tap_mtu(const struct XvirtTap *tap, uint32_t *mtu, struct XvirtError **error);

/**
 * Sets the MTU in bytes, without the Ethernet header.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_CONFIG outside 68 to 65521, XVIRT_STATUS_PERMISSION_DENIED without `CAP_NET_ADMIN`.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_tap_set_mtu(const struct XvirtTap *tap,
                              uint32_t mtu,
                              const struct XvirtCall *call,
                              struct XvirtError **error);

/**
 * Brings the interface up; before that the host neither sends nor accepts frames.
 *
 * Errors:
 * XVIRT_STATUS_PERMISSION_DENIED without `CAP_NET_ADMIN`.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_tap_set_up(const struct XvirtTap *tap,
                             const struct XvirtCall *call,
                             struct XvirtError **error);

/**
 * Sets an IPv4 address of the host's end, for a network of only the host and the guest.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_CONFIG when `prefix` is over 32, XVIRT_STATUS_PERMISSION_DENIED without `CAP_NET_ADMIN`.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_tap_set_address(const struct XvirtTap *tap,
                                  const char *address,
                                  uint8_t prefix,
                                  const struct XvirtCall *call,
                                  struct XvirtError **error);

/**
 * Adds the tap to the Linux bridge `bridge`; succeeds if it is a port of it already.
 *
 * Errors:
 * XVIRT_STATUS_NOT_FOUND when there is no such bridge, XVIRT_STATUS_INVALID_CONFIG when it is not a Linux
 * bridge, XVIRT_STATUS_BUSY when the tap is in another one, XVIRT_STATUS_PERMISSION_DENIED without
 * `CAP_NET_ADMIN`.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_tap_attach_to_bridge(const struct XvirtTap *tap,
                                       const char *bridge,
                                       const struct XvirtCall *call,
                                       struct XvirtError **error);

/**
 * Sets the offloads that the host may leave to the guest.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_CONFIG if an offload lacks one that it needs, XVIRT_STATUS_HOST_UNSUPPORTED if the host's
 * kernel does not support it.
 *
 * `offloads` is NULL for the defaults. `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_tap_set_offloads(const struct XvirtTap *tap,
                                   const struct XvirtOffloads *offloads,
                                   const struct XvirtCall *call,
                                   struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_snapshot_free(struct XvirtSnapshot *snapshot);

/**
 * The UUID.
 *
 * Free `uuid` with xvirt_free().
 */
XvirtStatus xvirt_snapshot_uuid(const struct XvirtSnapshot *snapshot,
                                char **uuid,
                                struct XvirtError **error);

/**
 * The name, which other snapshots may have too.
 *
 * Free `name` with xvirt_free().
 */
XvirtStatus xvirt_snapshot_name(const struct XvirtSnapshot *snapshot,
                                char **name,
                                struct XvirtError **error);

/**
 * The description for users.
 *
 * Free `description` with xvirt_free().
 */
XvirtStatus xvirt_snapshot_description(const struct XvirtSnapshot *snapshot,
                                       char **description,
                                       struct XvirtError **error);

/**
 * The time at which it was taken.
 */
XvirtStatus xvirt_snapshot_created(const struct XvirtSnapshot *snapshot,
                                   uint64_t *created_ns,
                                   struct XvirtError **error);

/**
 * The UUID of the VM of which it was taken. The VM may have been removed since.
 *
 * Free `vm` with xvirt_free().
 */
XvirtStatus xvirt_snapshot_vm(const struct XvirtSnapshot *snapshot,
                              char **vm,
                              struct XvirtError **error);

/**
 * The snapshot from which the VM had continued when this one was taken: its parent in the tree of snapshots.
 *
 * `parent` is NULL if there is none. Free it with xvirt_free().
 */
XvirtStatus xvirt_snapshot_parent(const struct XvirtSnapshot *snapshot,
                                  char **parent,
                                  struct XvirtError **error);

/**
 * Whether it is a checkpoint, which has the VM's memory: a VM that is reverted to it is suspended.
 */
XvirtStatus xvirt_snapshot_has_memory(const struct XvirtSnapshot *snapshot,
                                      bool *has_memory,
                                      struct XvirtError **error);

/**
 * How a checkpoint was taken; NULL if it is none, or its VM was suspended.
 *
 * Free `checkpoint_report` with xvirt_checkpoint_report_free(). `checkpoint_report` is NULL if there is none.
 */
XvirtStatus xvirt_snapshot_checkpoint_report(const struct XvirtSnapshot *snapshot,
                                             struct XvirtCheckpointReport **checkpoint_report,
                                             struct XvirtError **error);

/**
 * The VM's configuration at that moment, with the absolute paths of the snapshot's disks.
 *
 * Free `vm_config` with xvirt_vm_config_free().
 */
XvirtStatus xvirt_snapshot_config(const struct XvirtSnapshot *snapshot,
                                  struct XvirtVmConfig **vm_config,
                                  struct XvirtError **error);

/**
 * The bytes that its files use on the host. Most of them return when it is removed, if no other snapshot and no
 * VM is based on it. Files on a file system with reflinks may share these bytes with others.
 *
 * Errors:
 * XVIRT_STATUS_NOT_FOUND if it was removed; or its folder cannot be read.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_snapshot_size(const struct XvirtSnapshot *snapshot,
                                const struct XvirtCall *call,
                                uint64_t *size,
                                struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_stage_free(struct XvirtStage *stage);

/**
 * The path for the disk of this number, counted from 0, with this format.
 *
 * Free `disk_path` with xvirt_free().
 */
XvirtStatus xvirt_stage_disk_path(const struct XvirtStage *stage,
                                  size_t index,
                                  XvirtImageFormat format,
                                  char **disk_path,
                                  struct XvirtError **error);

/**
 * Stores a small file with the VM, such as the description of an imported appliance.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_CONFIG if the name contains characters other than letters, digits, dots, dashes and
 * underscores, or begins with a dot, or if there are more than 16 MiB; XVIRT_STATUS_ALREADY_EXISTS for a name in
 * use; XVIRT_STATUS_INVALID_STATE after the commit and in a child of fork(2); or the file cannot be written, and
 * nothing of it is left.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_stage_attach(const struct XvirtStage *stage,
                               const char *name,
                               const uint8_t *bytes,
                               size_t bytes_length,
                               const struct XvirtCall *call,
                               struct XvirtError **error);

/**
 * Turns the stage into a VM, atomically.
 *
 * Disks of `config` that are files in the stage move with it; disks outside the repository stay where they are.
 * Relative paths are resolved with the working directory and stored as absolute paths. Network interfaces
 * without a MAC address get one.
 *
 * Errors:
 *
 * After an error there is no new VM, everything stays staged, and the commit can be retried.
 *
 * - XVIRT_STATUS_ALREADY_EXISTS: there is a VM with this UUID.
 * - XVIRT_STATUS_BUSY: a disk is still open.
 * - XVIRT_STATUS_INVALID_CONFIG: a disk, the kernel or the initrd belongs to another VM or a template of the
 *   repository, or a disk is based on such a disk, which could be removed with its owner; a disk in the stage is
 *   based on another file, or is not a plain file; or a part of the configuration is an open object, which
 *   cannot be stored.
 * - XVIRT_STATUS_NO_SPACE: the file system is full.
 * - XVIRT_STATUS_INVALID_STATE: it was committed already, or the stage belongs to the parent process.
 * - XVIRT_STATUS_NOT_FOUND: a disk is missing, in the stage or outside the repository.
 * - Others: a disk is damaged, is not an image file or block device, or cannot be read.
 *
 * Free `stored_vm` with xvirt_stored_vm_free(). `call` is NULL, or has a timeout, the means to cancel the call
 * and a callback for its progress.
 */
XvirtStatus xvirt_stage_commit(const struct XvirtStage *stage,
                               const struct XvirtVmConfig *config,
                               const struct XvirtCall *call,
                               struct XvirtStoredVm **stored_vm,
                               struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_repository_free(struct XvirtRepository *repository);

/**
 * Checks the repository for damage. It reads all records, follows all backing chains, looks for disks that are
 * missing or belong to another VM, for missing kernels and initrds, and for qcow2 images with inconsistent
 * tables, compares the disks of all templates with their hashes, and verifies the checksums of all saved memory:
 * that of suspended VMs, checkpoints and templates. This requires reading those disks and this memory, each file
 * once. The repository may be in use meanwhile.
 *
 * Errors:
 * XVIRT_STATUS_CANCELLED; XVIRT_STATUS_OUT_OF_DESCRIPTORS or XVIRT_STATUS_OUT_OF_MEMORY if there is not enough
 * to check everything; or the repository itself cannot be read. Damage is not an error.
 *
 * Free `check` with xvirt_check_free(). `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_repository_check(const struct XvirtRepository *repository,
                                   const struct XvirtCall *call,
                                   struct XvirtCheck **check,
                                   struct XvirtError **error);

/**
 * The snapshots of a VM, in the order in which they were taken, so that a parent comes before its children.
 * Damaged ones are skipped; xvirt_repository_check() finds them.
 *
 * Errors:
 * The repository cannot be read.
 *
 * Free `snapshots` with xvirt_snapshot_list_free(). `call` is NULL, or has a timeout, the means to cancel the
 * call and a callback for its progress.
 */
XvirtStatus xvirt_repository_snapshots(const struct XvirtRepository *repository,
                                       const char *vm,
                                       const struct XvirtCall *call,
                                       struct XvirtSnapshotList **snapshots,
                                       struct XvirtError **error);

/**
 * All snapshots, also of VMs that were removed, in the order of xvirt_repository_snapshots().
 *
 * Errors:
 * The repository cannot be read.
 *
 * Free `all_snapshots` with xvirt_snapshot_list_free(). `call` is NULL, or has a timeout, the means to cancel
 * the call and a callback for its progress.
 */
XvirtStatus xvirt_repository_all_snapshots(const struct XvirtRepository *repository,
                                           const struct XvirtCall *call,
                                           struct XvirtSnapshotList **all_snapshots,
                                           struct XvirtError **error);

/**
 * The snapshot with this UUID.
 *
 * Errors:
 * XVIRT_STATUS_NOT_FOUND; XVIRT_STATUS_CORRUPT_REPOSITORY.
 *
 * Free `snapshot` with xvirt_snapshot_free(). `call` is NULL, or has a timeout, the means to cancel the call and
 * a callback for its progress.
 */
XvirtStatus xvirt_repository_find_snapshot(const struct XvirtRepository *repository,
                                           const char *uuid,
                                           const struct XvirtCall *call,
                                           struct XvirtSnapshot **snapshot,
                                           struct XvirtError **error);

/**
 * The snapshot from which a VM continues: the last one taken of it or reverted to, if it was not removed.
 *
 * Errors:
 * The repository cannot be read.
 *
 * `current_snapshot` is NULL if there is none. Free it with xvirt_snapshot_free(). `call` is NULL, or has a
 * timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_repository_current_snapshot(const struct XvirtRepository *repository,
                                              const struct XvirtStoredVm *vm,
                                              const struct XvirtCall *call,
                                              struct XvirtSnapshot **current_snapshot,
                                              struct XvirtError **error);

/**
 * Starts to prepare a VM.
 *
 * Errors:
 * The repository cannot be written to.
 *
 * Free `stage` with xvirt_stage_free(). `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_repository_stage(const struct XvirtRepository *repository,
                                   const struct XvirtCall *call,
                                   struct XvirtStage **stage,
                                   struct XvirtError **error);

/**
 * Opens the repository in `folder`, or creates one if the folder is empty or does not exist.
 *
 * Unfinished work of dead processes is completed or removed.
 *
 * Errors:
 *
 * XVIRT_STATUS_INVALID_CONFIG if the folder contains other files; XVIRT_STATUS_UNSUPPORTED_REPOSITORY if a newer
 * version created it; XVIRT_STATUS_CORRUPT_REPOSITORY; or the folder cannot be read and written.
 *
 * Free `repository` with xvirt_repository_free(). `call` is NULL, or has a timeout, the means to cancel the call
 * and a callback for its progress.
 */
XvirtStatus xvirt_repository_open(const char *folder,
                                  const struct XvirtCall *call,
                                  struct XvirtRepository **repository,
                                  struct XvirtError **error);

/**
 * Removes the repository, if nothing is in it, and returns whether it did. The folder itself stays, empty.
 *
 * Errors:
 *
 * The folder cannot be read and written.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_repository_remove_if_empty(const struct XvirtRepository *repository,
                                             const struct XvirtCall *call,
                                             bool *remove_if_empty,
                                             struct XvirtError **error);

/**
 * The absolute path of its folder.
 *
 * Free `folder` with xvirt_free().
 */
XvirtStatus xvirt_repository_folder(const struct XvirtRepository *repository,
                                    char **folder,
                                    struct XvirtError **error);

/**
 * Suspends a running or paused VM of the repository: like xvirt_vm_suspend(), with the saved state in the VM's
 * folder, and with all that was plugged in. The stored configuration stays as it is; it counts again after the
 * next shutdown.
 *
 * `vm` can be resumed. So can, in any process, the VM that xvirt_stored_vm_build() builds.
 *
 * Errors:
 * As xvirt_vm_suspend(), and: XVIRT_STATUS_NOT_FOUND if the VM is not in the repository;
 * XVIRT_STATUS_INVALID_CONFIG if its configuration contains open objects, which cannot be stored;
 * XVIRT_STATUS_BUSY if the stored VM was changed meanwhile. Then the VM is as before.
 *
 * Free `suspend_report` with xvirt_suspend_report_free(). `call` is NULL, or has a timeout, the means to cancel
 * the call and a callback for its progress.
 */
XvirtStatus xvirt_repository_suspend(const struct XvirtRepository *repository,
                                     const struct XvirtVm *vm,
                                     const struct XvirtCall *call,
                                     struct XvirtSuspendReport **suspend_report,
                                     struct XvirtError **error);

/**
 * Discards the saved state of a suspended VM, which is halted afterwards. Its guest finds its disks as after a
 * power failure. Returns the halted VM; a VM that is not suspended is unchanged.
 *
 * Errors:
 * XVIRT_STATUS_NOT_FOUND if the VM was removed, or was resumed at the same time; or the repository cannot be
 * written.
 *
 * Free `stored_vm` with xvirt_stored_vm_free(). `call` is NULL, or has a timeout, the means to cancel the call
 * and a callback for its progress.
 */
XvirtStatus xvirt_repository_hard_shutdown(const struct XvirtRepository *repository,
                                           const struct XvirtStoredVm *vm,
                                           const struct XvirtCall *call,
                                           struct XvirtStoredVm **stored_vm,
                                           struct XvirtError **error);

/**
 * All templates, by name and in the order of sealing. Templates with a damaged record or a newer format are
 * skipped; xvirt_repository_check() finds them.
 *
 * Errors:
 * The repository cannot be read.
 *
 * Free `templates` with xvirt_template_list_free(). `call` is NULL, or has a timeout, the means to cancel the
 * call and a callback for its progress.
 */
XvirtStatus xvirt_repository_templates(const struct XvirtRepository *repository,
                                       const struct XvirtCall *call,
                                       struct XvirtTemplateList **templates,
                                       struct XvirtError **error);

/**
 * The templates with a label of this key and, if given, this value, in the order of
 * xvirt_repository_templates(), which also skips damaged ones.
 *
 * Errors:
 * The repository cannot be read.
 *
 * Free `templates_labelled` with xvirt_template_list_free(). `call` is NULL, or has a timeout, the means to
 * cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_repository_templates_labelled(const struct XvirtRepository *repository,
                                                const char *key,
                                                const char *value,
                                                const struct XvirtCall *call,
                                                struct XvirtTemplateList **templates_labelled,
                                                struct XvirtError **error);

/**
 * The template `name:version`, the newest one called `name`, or the one with this UUID.
 *
 * Errors:
 * XVIRT_STATUS_NOT_FOUND; XVIRT_STATUS_CORRUPT_REPOSITORY if `which` is a UUID and the record is damaged.
 *
 * Free `template` with xvirt_template_free(). `call` is NULL, or has a timeout, the means to cancel the call and
 * a callback for its progress.
 */
XvirtStatus xvirt_repository_template(const struct XvirtRepository *repository,
                                      const char *which,
                                      const struct XvirtCall *call,
                                      struct XvirtTemplate **template_,
                                      struct XvirtError **error);

/**
 * All VMs, by name. VMs with a damaged record or a newer format are skipped; xvirt_repository_check() finds
 * them.
 *
 * Errors:
 * The repository cannot be read, or there are not enough descriptors or memory to read everything.
 *
 * Free `vms` with xvirt_stored_vm_list_free(). `call` is NULL, or has a timeout, the means to cancel the call
 * and a callback for its progress.
 */
XvirtStatus xvirt_repository_vms(const struct XvirtRepository *repository,
                                 const struct XvirtCall *call,
                                 struct XvirtStoredVmList **vms,
                                 struct XvirtError **error);

/**
 * The VMs with a label of this key and, if given, this value, by name. Damaged ones are skipped, as in
 * xvirt_repository_vms().
 *
 * Errors:
 * The repository cannot be read.
 *
 * Free `vms_labelled` with xvirt_stored_vm_list_free(). `call` is NULL, or has a timeout, the means to cancel
 * the call and a callback for its progress.
 */
XvirtStatus xvirt_repository_vms_labelled(const struct XvirtRepository *repository,
                                          const char *key,
                                          const char *value,
                                          const struct XvirtCall *call,
                                          struct XvirtStoredVmList **vms_labelled,
                                          struct XvirtError **error);

/**
 * The VM with this UUID or name.
 *
 * Errors:
 * XVIRT_STATUS_NOT_FOUND; XVIRT_STATUS_INVALID_CONFIG if several VMs have the name;
 * XVIRT_STATUS_CORRUPT_REPOSITORY if `name_or_uuid` is a UUID and the record is damaged.
 *
 * Free `stored_vm` with xvirt_stored_vm_free(). `call` is NULL, or has a timeout, the means to cancel the call
 * and a callback for its progress.
 */
XvirtStatus xvirt_repository_vm(const struct XvirtRepository *repository,
                                const char *name_or_uuid,
                                const struct XvirtCall *call,
                                struct XvirtStoredVm **stored_vm,
                                struct XvirtError **error);

/**
 * Deletes a VM with its disks. Files outside the repository stay. Also works if its record is damaged.
 *
 * Errors:
 * XVIRT_STATUS_NOT_FOUND; XVIRT_STATUS_BUSY while it runs or its disks are in use otherwise; XVIRT_STATUS_IN_USE
 * if other VMs use its disks or disks based on them, which the error names; or disks of other VMs in the
 * repository cannot be read. Unreadable disks outside the repository are skipped with a warning in the log.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_repository_remove_vm(const struct XvirtRepository *repository,
                                       const char *uuid,
                                       const struct XvirtCall *call,
                                       struct XvirtError **error);

/**
 * Copies the memory that an incremental (`incremental`) checkpoint shares with those on which
 * it is based, so that it is based on none. That makes going back to it faster, and lets the space of removed
 * ones return. Others that are based on it stay as they are; the next one has all memory. A checkpoint that has
 * all memory is unchanged.
 *
 * Errors:
 * XVIRT_STATUS_NOT_FOUND if it was removed, or is no checkpoint; XVIRT_STATUS_CORRUPT_STATE;
 * XVIRT_STATUS_NO_SPACE; XVIRT_STATUS_CANCELLED. Then the checkpoint can be used as before.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_repository_flatten_checkpoint(const struct XvirtRepository *repository,
                                                const struct XvirtSnapshot *checkpoint,
                                                const struct XvirtCall *call,
                                                struct XvirtError **error);

/**
 * Merges each image of a removed snapshot into the only image that is based on it, so that their chains become
 * shorter and space returns. Returns the number of merged images.
 *
 * This copies what both images have. Left as they are: an image on which several are based, one that is based on
 * nothing itself, and one on which a running VM's disk is directly based. It may be cancelled and repeated at
 * any time. VMs run on meanwhile; the start of one whose own disk is being merged fails with XVIRT_STATUS_BUSY,
 * and succeeds once that disk is done.
 *
 * Errors:
 * XVIRT_STATUS_CANCELLED; XVIRT_STATUS_NO_SPACE: a merge needs room for its result; or the repository is
 * damaged. What is merged by then stays merged.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_repository_merge_removed(const struct XvirtRepository *repository,
                                           const struct XvirtCall *call,
                                           size_t *count,
                                           struct XvirtError **error);

/**
 * Removes a snapshot. Snapshots can be removed in any order, also while the VM is running: those taken after it,
 * the VM, and VMs created from it stay as they are. See when its space returns.
 *
 * Errors:
 * XVIRT_STATUS_NOT_FOUND if it was removed already; or the repository cannot be written.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_repository_remove_snapshot(const struct XvirtRepository *repository,
                                             const struct XvirtSnapshot *snapshot,
                                             const struct XvirtCall *call,
                                             struct XvirtError **error);

/**
 * Reverts a VM to a snapshot of it: its disks and its configuration are again as they were then. Everything that
 * is in no snapshot is lost: what its disks hold now, disks that were added since, and its memory if it is
 * suspended. Name and labels stay.
 *
 * The VM is halted afterwards. After a checkpoint it is suspended, and continues from that moment when it is
 * resumed; it can be reverted to the same checkpoint as often as desired. Either way it gets a new generation
 * ID, by which the guest can notice that it went back in time. A running VM must be shut down first, and the VM
 * must be built (xvirt_stored_vm_build()) again afterwards.
 *
 * Errors:
 * After an error the VM is as before.
 *
 * - XVIRT_STATUS_NOT_FOUND if the snapshot or the VM was removed; the remedy is to create a VM from the snapshot
 *   with xvirt_repository_clone_vm().
 * - XVIRT_STATUS_BUSY if a disk is in use, or the VM was changed meanwhile.
 * - XVIRT_STATUS_IN_USE if other VMs use disks of this VM.
 *
 * Free `stored_vm` with xvirt_stored_vm_free(). `call` is NULL, or has a timeout, the means to cancel the call
 * and a callback for its progress.
 */
XvirtStatus xvirt_repository_revert(const struct XvirtRepository *repository,
                                    const struct XvirtSnapshot *snapshot,
                                    const struct XvirtCall *call,
                                    struct XvirtStoredVm **stored_vm,
                                    struct XvirtError **error);

/**
 * Takes a snapshot of the disks of a VM at one moment.
 *
 * A running guest is stopped for that moment, usually some milliseconds, and goes on. Its disks in the
 * repository are in the snapshot; a disk elsewhere must be read-only, and is not copied.
 *
 * Errors:
 * After an error there is no snapshot, and the VM is as before.
 *
 * - XVIRT_STATUS_NOT_FOUND if the VM is not in the repository.
 * - XVIRT_STATUS_INVALID_CONFIG if a writable disk is not in the repository, or the configuration contains open
 *   objects, which cannot be stored.
 * - XVIRT_STATUS_BUSY if a XvirtStoredVm is running, a disk is being exported, or the VM was changed meanwhile.
 * - XVIRT_STATUS_UNSUPPORTED_IMAGE if there are 48 images below a disk already.
 * - XVIRT_STATUS_TIMEOUT and those of xvirt_guest_agent_freeze_file_systems(), if file systems are to be frozen.
 * - XVIRT_STATUS_CANCELLED; or an image cannot be created.
 *
 * Free `snapshot` with xvirt_snapshot_free(). `call` is NULL, or has a timeout, the means to cancel the call and
 * a callback for its progress.
 */
XvirtStatus xvirt_repository_snapshot(const struct XvirtRepository *repository,
                                      const struct XvirtSubject *vm,
                                      const struct XvirtNewSnapshot *new_,
                                      const struct XvirtCall *call,
                                      struct XvirtSnapshot **snapshot,
                                      struct XvirtError **error);

/**
 * Takes a checkpoint of a running, paused or suspended VM: its disks and its memory at one moment, consistent
 * with each other. A VM that is reverted (xvirt_repository_revert()) to it is suspended, and resumes at that
 * moment.
 *
 * A running guest is stopped only shortly, and its memory is saved while it runs, as `method`
 * says; xvirt_snapshot_checkpoint_report() says how that went. The checkpoint is listed when it is complete.
 *
 * Errors:
 * As xvirt_repository_snapshot(), and: XVIRT_STATUS_INVALID_STATE if the VM is halted, or a device cannot be
 * saved; XVIRT_STATUS_NO_SPACE. Then there is no checkpoint, and the VM goes on, with one more image below its
 * disks if its memory could not be saved after it was stopped.
 *
 * Free `snapshot` with xvirt_snapshot_free(). `call` is NULL, or has a timeout, the means to cancel the call and
 * a callback for its progress.
 */
XvirtStatus xvirt_repository_checkpoint(const struct XvirtRepository *repository,
                                        const struct XvirtSubject *vm,
                                        const struct XvirtNewSnapshot *new_,
                                        const struct XvirtCall *call,
                                        struct XvirtSnapshot **snapshot,
                                        struct XvirtError **error);

/**
 * Copies a halted VM or a snapshot, sharing as much data as possible without changing the original. Neither VM
 * depends on the other afterwards.
 *
 * A snapshot is copied in a time that does not depend on the size of its disks.
 *
 * On a file system with reflinks (XFS, Btrfs) this is fast. Elsewhere, the data that an instance of a template
 * has written is copied, and for other VMs everything is; to share that as well, make a template of the VM
 * (xvirt_repository_seal()) and create instances of it. Disks outside the repository are copied into it.
 *
 * The copy has the labels, the attachments and the template of the original. Its UUID, generation ID and MAC
 * addresses are new; an interface on a named tap gets a tap of its own on the same bridge, and no host ports are
 * forwarded to it. The disks of the original are locked during the copy.
 *
 * Errors:
 *
 * XVIRT_STATUS_NOT_FOUND if the VM, one of its disks or its template was removed, or the VM is not in the
 * repository; XVIRT_STATUS_INVALID_STATE if a XvirtVm is not halted; XVIRT_STATUS_BUSY if it is not halted or a
 * disk is in use otherwise; XVIRT_STATUS_INVALID_CONFIG for an invalid name; XVIRT_STATUS_CANCELLED; or a disk
 * cannot be read, or its copy cannot be written. Then there is no copy.
 *
 * Free `stored_vm` with xvirt_stored_vm_free(). `call` is NULL, or has a timeout, the means to cancel the call
 * and a callback for its progress.
 */
XvirtStatus xvirt_repository_clone_vm(const struct XvirtRepository *repository,
                                      const struct XvirtOriginal *vm,
                                      const char *name,
                                      const struct XvirtCall *call,
                                      struct XvirtStoredVm **stored_vm,
                                      struct XvirtError **error);

/**
 * Copies a halted VM or a snapshot like xvirt_repository_clone_vm(), but with independent disks: each contains
 * all of its data and has no backing file, not even a template.
 *
 * A disk keeps its format, and holes stay holes. A file system with reflinks still shares the data that does not
 * come from a template, which only affects the space used.
 *
 * Errors:
 * As xvirt_repository_clone_vm().
 *
 * Free `stored_vm` with xvirt_stored_vm_free(). `call` is NULL, or has a timeout, the means to cancel the call
 * and a callback for its progress.
 */
XvirtStatus xvirt_repository_copy_vm(const struct XvirtRepository *repository,
                                     const struct XvirtOriginal *vm,
                                     const char *name,
                                     const struct XvirtCall *call,
                                     struct XvirtStoredVm **stored_vm,
                                     struct XvirtError **error);

/**
 * Makes a template with memory of a running, paused or suspended VM of the repository, which goes on. Its
 * instances (xvirt_repository_instantiate()) are suspended at the moment of the seal, all with one file of
 * memory, and resume (xvirt_vm_resume_with()) within milliseconds where that file can be mapped: then they share the
 * pages that they do not write. That needs private memory without huge pages, and a repository on a disk of this
 * host with one of the file systems that XVIRT_MEMORY_LOADING_LAZY names. Otherwise an instance reads all memory
 * before it runs, or with that choice while it runs, and has it for itself.
 *
 * No disk is copied, except read-only ones outside the repository. The guest is stopped as for a
 * xvirt_repository_checkpoint(); the disks are hashed while it runs again.
 *
 * The file of memory:
 *
 * Instances that run use the template's file. It is read-only, and does not change. Nobody verifies its
 * checksums at a resume, so what is damaged in it is damaged in every instance: xvirt_repository_check() finds
 * that. An error of its storage, or somebody who shortens it, ends the process with SIGBUS; with
 * XVIRT_MEMORY_LOADING_READ, an instance reads and verifies all of it first.
 *
 * What the guest has to do:
 *
 * Each instance has its own UUID, MAC addresses, generation ID, vsock socket, console and copy-on-write disks.
 * But what the guest keeps in memory is the same in all of them until it renews that:
 *
 * - *MAC addresses:* the card shows its new address, and sends nothing from the old one. A guest that does not
 *   read it again needs a command, such as `ip link set dev eth0 address MAC` through the agent, or a card that
 *   is plugged in after the resume.
 * - *IP addresses and host name:* an agent or a seed disk that is plugged in after the resume sets them; a DHCP
 *   client has to ask again.
 * - *Machine ID and keys:* files such as `/etc/machine-id` and SSH host keys are those of the sealed VM. The
 *   kernel also keeps the SMBIOS UUID that it read when it booted, from which `systemd-machine-id-setup` would
 *   make the same ID for all: `systemd-id128 new` makes a random one.
 * - *Random numbers:* Linux reseeds its generator when the generation ID changes (5.18 and later), if it has the
 *   driver (`CONFIG_VMGENID`; the cloud kernel of Debian 12 has not). Without it, all instances draw the same
 *   numbers until random bytes of the host are written to `/dev/urandom` and `RNDRESEEDCRNG` is called there
 *   (random(4)). Programs that keep their own state, such as keys, tokens and UUIDs in memory, must not have
 *   made them before the seal.
 * - *Clocks:* go on as after a resume; see XvirtElapsedTime.
 * - *Connections* that were open at the seal belong to the sealed VM.
 *
 * Errors:
 * As xvirt_repository_seal() and xvirt_repository_checkpoint(). Then there is no template, and the VM goes on.
 * Its disks may be based on one more image, as after a snapshot that was removed.
 *
 * Free `template` with xvirt_template_free(). `call` is NULL, or has a timeout, the means to cancel the call and
 * a callback for its progress.
 */
XvirtStatus xvirt_repository_seal_hot(const struct XvirtRepository *repository,
                                      const struct XvirtSeal *seal,
                                      const struct XvirtVm *vm,
                                      const struct XvirtCall *call,
                                      struct XvirtTemplate **template_,
                                      struct XvirtError **error);

/**
 * Makes `count` VMs of a running, paused or suspended VM of the repository, which goes on. They are called
 * `name` with a dash and a number from 1, and are suspended at the same moment, as instances of a template with
 * memory (xvirt_repository_seal_hot()), and share a file of memory as those do, under the same conditions
 * (XvirtMemoryLoading). Their configuration is that of the VM, with an identity of their own.
 *
 * `progress` is asked before each VM whether to cancel.
 *
 * Its memory is copied once, to a file in the repository that all of them share. That is so for shared memory
 * (`shared_memory`) as well, whose pages they could share with the VM without a copy: they would
 * be lost with this process, while VMs of a repository outlive it; and the VM would have to leave the memory
 * that others, such as a local hand-over, are told is its own.
 *
 * Errors:
 * As xvirt_repository_checkpoint(), and XVIRT_STATUS_INVALID_CONFIG for an invalid name or more than 10,000 VMs.
 * Then none of the new VMs is left, except those that the error names, because somebody uses them already or
 * they cannot be removed, and the VM goes on. Its disks may be based on one more image. VMs that were complete
 * when the process died stay.
 *
 * Free `fork` with xvirt_stored_vm_list_free(). `call` is NULL, or has a timeout, the means to cancel the call
 * and a callback for its progress.
 */
XvirtStatus xvirt_repository_fork(const struct XvirtRepository *repository,
                                  const struct XvirtVm *vm,
                                  size_t count,
                                  const char *name,
                                  const struct XvirtCall *call,
                                  struct XvirtStoredVmList **fork,
                                  struct XvirtError **error);

/**
 * Creates a VM from a template: halted, or suspended if the template has memory (xvirt_repository_seal_hot()),
 * in a time that does not depend on the size of its disks. One that is suspended uses the template's file of
 * memory until its first run ends: xvirt_repository_seal_hot() says what follows from that. It resumes with the
 * devices of the VM that was sealed: what xvirt_repository_update() changes counts from the first start after a
 * shutdown.
 *
 * Its disks are copy-on-write copies of the template's, and it has the template's labels. Its UUID, generation
 * ID and MAC addresses are new; an interface on a named tap gets a tap of its own on the same bridge, and no
 * host ports are forwarded to it. Several calls may run concurrently.
 *
 * Errors:
 * XVIRT_STATUS_NOT_FOUND if the template was removed; or the disks cannot be created.
 *
 * Free `stored_vm` with xvirt_stored_vm_free(). `call` is NULL, or has a timeout, the means to cancel the call
 * and a callback for its progress.
 */
XvirtStatus xvirt_repository_instantiate(const struct XvirtRepository *repository,
                                         const struct XvirtTemplate *template_,
                                         const char *name,
                                         const struct XvirtCall *call,
                                         struct XvirtStoredVm **stored_vm,
                                         struct XvirtError **error);

/**
 * Makes the disks of a VM independent of templates and snapshots, by copying the shared data. A VM whose disks
 * are based on nothing is unchanged.
 *
 * Holes stay holes, and a disk keeps its format. The VM must be built again before it can start.
 *
 * Errors:
 * XVIRT_STATUS_NOT_FOUND if the VM was removed; XVIRT_STATUS_INVALID_STATE if it is suspended; XVIRT_STATUS_BUSY
 * while it runs, or if it was changed meanwhile; XVIRT_STATUS_IN_USE if other VMs use its disks or disks based
 * on them; XVIRT_STATUS_CANCELLED; or a disk cannot be read, or its copy cannot be written. Then nothing has
 * changed.
 *
 * Free `stored_vm` with xvirt_stored_vm_free(). `call` is NULL, or has a timeout, the means to cancel the call
 * and a callback for its progress.
 */
XvirtStatus xvirt_repository_flatten(const struct XvirtRepository *repository,
                                     const struct XvirtStoredVm *vm,
                                     const struct XvirtCall *call,
                                     struct XvirtStoredVm **stored_vm,
                                     struct XvirtError **error);

/**
 * Moves an instance to another version of its template.
 *
 * Its disks are replaced with copies of that version's disks, so they must be unmodified since the instance was
 * created. A qcow2 overlay is unmodified if it has no data of its own; a reflink is compared with the template's
 * disk, which requires reading it. The configuration stays. The VM must be built again before it can start.
 *
 * Errors:
 *
 * XVIRT_STATUS_INVALID_STATE if disks were written to, which the error names; XVIRT_STATUS_INVALID_CONFIG if it
 * is not an instance of a template of that name, if the versions have different numbers of disks, or if disks
 * were added to the VM; XVIRT_STATUS_NOT_FOUND if one of them was removed; XVIRT_STATUS_BUSY while the VM runs,
 * or if it was changed meanwhile; XVIRT_STATUS_IN_USE if other VMs use its disks or disks based on them;
 * XVIRT_STATUS_CANCELLED. Then nothing has changed.
 *
 * Free `stored_vm` with xvirt_stored_vm_free(). `call` is NULL, or has a timeout, the means to cancel the call
 * and a callback for its progress.
 */
XvirtStatus xvirt_repository_rebase(const struct XvirtRepository *repository,
                                    const struct XvirtStoredVm *vm,
                                    const struct XvirtTemplate *to,
                                    const struct XvirtCall *call,
                                    struct XvirtStoredVm **stored_vm,
                                    struct XvirtError **error);

/**
 * Deletes a template with its disks.
 *
 * Errors:
 * XVIRT_STATUS_IN_USE if VMs, snapshots or other templates are based on it, which the error names;
 * XVIRT_STATUS_NOT_FOUND if it was removed already.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_repository_remove_template(const struct XvirtRepository *repository,
                                             const struct XvirtTemplate *template_,
                                             const struct XvirtCall *call,
                                             struct XvirtError **error);

/**
 * Deletes templates on which nothing is based, and those below them that become unused. Returns the deleted
 * templates.
 *
 * Errors:
 * A record is damaged, or a template cannot be removed.
 *
 * Free `templates` with xvirt_template_list_free(). `call` is NULL, or has a timeout, the means to cancel the
 * call and a callback for its progress.
 */
XvirtStatus xvirt_repository_collect(const struct XvirtRepository *repository,
                                     XvirtUnused which,
                                     const struct XvirtCall *call,
                                     struct XvirtTemplateList **templates,
                                     struct XvirtError **error);

/**
 * Turns a halted VM into a template.
 *
 * The pair of name and version must be unique. The contents of the disks are hashed, which requires reading
 * them, except those of overlays that an instance has not written to; only disks outside the repository are
 * copied. Kernels given by path stay where they are.
 *
 * A XvirtVm lists the operation in its xvirt_vm_current_operations(). Its other verbs wait meanwhile, so
 * `progress` must not call any.
 *
 * Errors:
 * XVIRT_STATUS_ALREADY_EXISTS if there is a template with this name and version; XVIRT_STATUS_INVALID_STATE if
 * the VM is not halted; XVIRT_STATUS_BUSY if a disk is in use, or the VM was changed meanwhile;
 * XVIRT_STATUS_IN_USE if other VMs use disks of this VM, or disks based on them; XVIRT_STATUS_CANCELLED;
 * XVIRT_STATUS_INVALID_CONFIG if the configuration contains open objects other than disks, which cannot be
 * stored; XVIRT_STATUS_UNSUPPORTED_IMAGE if there are 48 layers or images below already. Then nothing has
 * changed.
 *
 * Free `template` with xvirt_template_free(). `call` is NULL, or has a timeout, the means to cancel the call and
 * a callback for its progress.
 */
XvirtStatus xvirt_repository_seal(const struct XvirtRepository *repository,
                                  const struct XvirtSeal *seal,
                                  const struct XvirtSource *source,
                                  const struct XvirtCall *call,
                                  struct XvirtTemplate **template_,
                                  struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_template_free(struct XvirtTemplate *template_);

/**
 * The UUID.
 *
 * Free `uuid` with xvirt_free().
 */
XvirtStatus xvirt_template_uuid(const struct XvirtTemplate *template_,
                                char **uuid,
                                struct XvirtError **error);

/**
 * The name, which all its versions share.
 *
 * Free `name` with xvirt_free().
 */
XvirtStatus xvirt_template_name(const struct XvirtTemplate *template_,
                                char **name,
                                struct XvirtError **error);

/**
 * The version, unique among the templates of its name.
 *
 * Free `version` with xvirt_free().
 */
XvirtStatus xvirt_template_version(const struct XvirtTemplate *template_,
                                   char **version,
                                   struct XvirtError **error);

/**
 * The description for users.
 *
 * Free `description` with xvirt_free().
 */
XvirtStatus xvirt_template_description(const struct XvirtTemplate *template_,
                                       char **description,
                                       struct XvirtError **error);

/**
 * The labels, which instances inherit.
 *
 * Free `labels` with xvirt_string_pair_list_free().
 */
XvirtStatus xvirt_template_labels(const struct XvirtTemplate *template_,
                                  struct XvirtStringPairList **labels,
                                  struct XvirtError **error);

/**
 * The time at which it was sealed.
 */
XvirtStatus xvirt_template_created(const struct XvirtTemplate *template_,
                                   uint64_t *created_ns,
                                   struct XvirtError **error);

/**
 * Its disks, in the order of its configuration.
 *
 * Free `disks` with xvirt_template_disk_list_free().
 */
XvirtStatus xvirt_template_disks(const struct XvirtTemplate *template_,
                                 struct XvirtTemplateDiskList **disks,
                                 struct XvirtError **error);

/**
 * Whether it has the memory of a VM: its instances are suspended, and go on where that VM was.
 */
XvirtStatus xvirt_template_has_memory(const struct XvirtTemplate *template_,
                                      bool *has_memory,
                                      struct XvirtError **error);

/**
 * The initial configuration of instances, with the absolute paths of the template's disks.
 *
 * Free `vm_config` with xvirt_vm_config_free().
 */
XvirtStatus xvirt_template_config(const struct XvirtTemplate *template_,
                                  struct XvirtVmConfig **vm_config,
                                  struct XvirtError **error);

/**
 * The template on which it is based, if any.
 *
 * Free `lineage` with xvirt_lineage_free(). `lineage` is NULL if there is none.
 */
XvirtStatus xvirt_template_parent(const struct XvirtTemplate *template_,
                                  struct XvirtLineage **lineage,
                                  struct XvirtError **error);

/**
 * The hash of the contents of all disks, as `sha256:` and hexadecimal digits.
 *
 * The hash of a disk is the SHA-256 of: the 16 bytes `xvirt disk\0\0\0\0\0\1`; its size in bytes; and, in
 * ascending order, the offset in bytes and the contents of each 64 KiB block that is not all zeroes (the last
 * block ends with the disk). Numbers are 64 bits, little-endian. The hash of a template is the SHA-256 of the 16
 * bytes `xvirt template\0\1` and the hashes of its disks as text. So equal contents have equal hashes,
 * independent of image format, holes and layers.
 *
 * Free `hash` with xvirt_free().
 */
XvirtStatus xvirt_template_hash(const struct XvirtTemplate *template_,
                                char **hash,
                                struct XvirtError **error);

/**
 * The template and those below it, the deepest last.
 *
 * Errors:
 * XVIRT_STATUS_CORRUPT_REPOSITORY if one is missing, damaged or unreadable.
 *
 * Free `chain` with xvirt_template_list_free(). `call` is NULL, or has a timeout, the means to cancel the call
 * and a callback for its progress.
 */
XvirtStatus xvirt_template_chain(const struct XvirtTemplate *template_,
                                 const struct XvirtCall *call,
                                 struct XvirtTemplateList **chain,
                                 struct XvirtError **error);

/**
 * The reference to it that VMs and templates based on it store.
 *
 * Free `lineage` with xvirt_lineage_free().
 */
XvirtStatus xvirt_template_lineage(const struct XvirtTemplate *template_,
                                   struct XvirtLineage **lineage,
                                   struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_stored_vm_free(struct XvirtStoredVm *stored_vm);

/**
 * Whether the VM is suspended: its memory is saved beside its disks.
 */
XvirtStatus xvirt_stored_vm_is_suspended(const struct XvirtStoredVm *stored_vm,
                                         bool *is_suspended,
                                         struct XvirtError **error);

/**
 * Builds the VM: halted, or suspended if it was suspended by xvirt_repository_suspend() or reverted to a
 * checkpoint.
 *
 * A suspended VM continues with xvirt_vm_resume_with().
 *
 * Errors:
 * As xvirt_vm_config_build(), and as xvirt_suspended_vm_open() if it is suspended.
 *
 * Free `vm` with xvirt_vm_free(). `call` is NULL, or has a timeout, the means to cancel the call and a callback
 * for its progress.
 */
XvirtStatus xvirt_stored_vm_build(const struct XvirtStoredVm *stored_vm,
                                  const struct XvirtHost *host,
                                  const struct XvirtCall *call,
                                  struct XvirtVm **vm,
                                  struct XvirtError **error);

/**
 * A path for a disk that xvirt_repository_update() will add to the VM: a free name in the VM's folder.
 *
 * Free `new_disk_path` with xvirt_free().
 */
XvirtStatus xvirt_stored_vm_new_disk_path(const struct XvirtStoredVm *stored_vm,
                                          XvirtImageFormat format,
                                          char **new_disk_path,
                                          struct XvirtError **error);

/**
 * The UUID.
 *
 * Free `uuid` with xvirt_free().
 */
XvirtStatus xvirt_stored_vm_uuid(const struct XvirtStoredVm *stored_vm,
                                 char **uuid,
                                 struct XvirtError **error);

/**
 * The name for users; several VMs may have the same name.
 *
 * Free `name` with xvirt_free().
 */
XvirtStatus xvirt_stored_vm_name(const struct XvirtStoredVm *stored_vm,
                                 char **name,
                                 struct XvirtError **error);

/**
 * Its labels.
 *
 * Free `labels` with xvirt_string_pair_list_free().
 */
XvirtStatus xvirt_stored_vm_labels(const struct XvirtStoredVm *stored_vm,
                                   struct XvirtStringPairList **labels,
                                   struct XvirtError **error);

/**
 * Its configuration with the absolute paths of its disks, ready to be built and started.
 *
 * Free `vm_config` with xvirt_vm_config_free().
 */
XvirtStatus xvirt_stored_vm_config(const struct XvirtStoredVm *stored_vm,
                                   struct XvirtVmConfig **vm_config,
                                   struct XvirtError **error);

/**
 * The template on which its disks are based, if any.
 *
 * Free `lineage` with xvirt_lineage_free(). `lineage` is NULL if there is none.
 */
XvirtStatus xvirt_stored_vm_layer(const struct XvirtStoredVm *stored_vm,
                                  struct XvirtLineage **lineage,
                                  struct XvirtError **error);

/**
 * The file attached under this name, if there is one.
 *
 * Errors:
 * The file cannot be read, or XVIRT_STATUS_CORRUPT_REPOSITORY: it is not a plain file, or too large.
 *
 * `attachment` is NULL if there is none. Free it with xvirt_free(). `call` is NULL, or has a timeout, the means
 * to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_stored_vm_attachment(const struct XvirtStoredVm *stored_vm,
                                       const char *name,
                                       const struct XvirtCall *call,
                                       uint8_t **attachment,
                                       size_t *attachment_length,
                                       struct XvirtError **error);

/**
 * The folder with its disks.
 *
 * Free `folder` with xvirt_free().
 */
XvirtStatus xvirt_stored_vm_folder(const struct XvirtStoredVm *stored_vm,
                                   char **folder,
                                   struct XvirtError **error);

/**
 * The number of counted durations.
 */
XvirtStatus xvirt_latencies_total(const struct XvirtLatencies *latencies,
                                  uint64_t *total,
                                  struct XvirtError **error);

/**
 * The duration that `percent` percent of all did not exceed, rounded up to the end of a bucket; none if nothing
 * was counted. With 50, that is the median.
 */
XvirtStatus xvirt_latencies_percentile(const struct XvirtLatencies *latencies,
                                       double percent,
                                       bool *has_percentile,
                                       uint64_t *percentile_ns,
                                       struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_event_receiver_free(struct XvirtEventReceiver *event_receiver);

/**
 * `descriptor` gets a descriptor that poll(2) reports as readable (POLLIN) while xvirt_event_receiver_try_next()
 * would give an event. It stays the library's, and is valid until the handle is freed: do not read or close it.
 */
XvirtStatus xvirt_event_receiver_fd(const struct XvirtEventReceiver *event_receiver,
                                    int *descriptor,
                                    struct XvirtError **error);

/**
 * Creates a listener that listens to no VM yet.
 *
 * Errors:
 * XVIRT_STATUS_OUT_OF_DESCRIPTORS.
 *
 * Free `event_receiver` with xvirt_event_receiver_free().
 */
XvirtStatus xvirt_event_receiver_new(struct XvirtEventReceiver **event_receiver,
                                     struct XvirtError **error);

/**
 * Takes the next event; NULL if none is queued.
 *
 * Errors:
 * XVIRT_STATUS_GONE once all VMs that it listened to were freed and all their events were taken.
 *
 * Free `event_record` with xvirt_event_record_free(). `event_record` is NULL if there is none.
 */
XvirtStatus xvirt_event_receiver_try_next(const struct XvirtEventReceiver *event_receiver,
                                          struct XvirtEventRecord **event_record,
                                          struct XvirtError **error);

/**
 * Waits for the next event, at most `timeout`.
 *
 * Errors:
 * XVIRT_STATUS_TIMEOUT if no event came, XVIRT_STATUS_GONE once all VMs that it listened to were dropped and all
 * their events were taken.
 *
 * `call.timeout_ns` is the timeout. Free `event_record` with xvirt_event_record_free(). `call` is NULL, or has a
 * timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_event_receiver_next(const struct XvirtEventReceiver *event_receiver,
                                      const struct XvirtCall *call,
                                      struct XvirtEventRecord **event_record,
                                      struct XvirtError **error);

/**
 * Listens to events of `vm` from now on, in addition to other VMs. If called twice for one VM, its events arrive
 * twice.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_STATE in a child of the process that made the VM or the listener.
 */
XvirtStatus xvirt_event_receiver_listen(const struct XvirtEventReceiver *event_receiver,
                                        const struct XvirtVm *vm,
                                        struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 *
 * A VM that still runs is powered off at once, and its disks are closed.
 */
void xvirt_vm_free(struct XvirtVm *vm);

/**
 * The QEMU guest agent in the guest: runs commands there, reads and writes files, asks for addresses, and more.
 *
 * Every VM has the port for it; the guest needs the program `qemu-ga`, which distributions ship in the package
 * `qemu-guest-agent`. The handle is cheap, does not keep the VM alive, and may be used from any thread. Its
 * calls do not delay verbs.
 *
 * Free `guest_agent` with xvirt_guest_agent_free().
 */
XvirtStatus xvirt_vm_agent(const struct XvirtVm *vm,
                           struct XvirtGuestAgent **guest_agent,
                           struct XvirtError **error);

/**
 * The disks in the machine, ordered by position; empty while the VM is halted.
 *
 * Free `disks` with xvirt_disk_status_list_free().
 */
XvirtStatus xvirt_vm_disks(const struct XvirtVm *vm,
                           struct XvirtDiskStatusList **disks,
                           struct XvirtError **error);

/**
 * Why and since when it is halted; NULL unless it is halted. Does not wait for a verb.
 *
 * Free `halted` with xvirt_halted_free(). `halted` is NULL if there is none.
 */
XvirtStatus xvirt_vm_halted(const struct XvirtVm *vm,
                            struct XvirtHalted **halted,
                            struct XvirtError **error);

/**
 * Its last crash, whatever action followed; NULL if it has not crashed since it was built. Does not wait for a
 * verb.
 *
 * Free `crash` with xvirt_crash_free(). `crash` is NULL if there is none.
 */
XvirtStatus xvirt_vm_last_crash(const struct XvirtVm *vm,
                                struct XvirtCrash **crash,
                                struct XvirtError **error);

/**
 * Its name, which need not be unique.
 *
 * Free `name` with xvirt_free().
 */
XvirtStatus xvirt_vm_name(const struct XvirtVm *vm, char **name, struct XvirtError **error);

/**
 * Its UUID, which identifies it.
 *
 * Free `uuid` with xvirt_free().
 */
XvirtStatus xvirt_vm_uuid(const struct XvirtVm *vm, char **uuid, struct XvirtError **error);

/**
 * The configuration that builds this VM as it is now, with all changes since it was built: devices that were
 * plugged in or unplugged, and limits. Positions of disks and network interfaces have no gaps in it. Does not
 * wait for a verb.
 *
 * It can be serialized, unless it holds open objects such as a `backend`.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_STATE in a child of the process that made the VM.
 *
 * Free `vm_config` with xvirt_vm_config_free(). `call` is NULL, or has a timeout, the means to cancel the call
 * and a callback for its progress.
 */
XvirtStatus xvirt_vm_config(const struct XvirtVm *vm,
                            const struct XvirtCall *call,
                            struct XvirtVmConfig **vm_config,
                            struct XvirtError **error);

/**
 * Its power state. Does not wait for a verb that is changing it.
 */
XvirtStatus xvirt_vm_power_state(const struct XvirtVm *vm,
                                 XvirtPowerState *power_state,
                                 struct XvirtError **error);

/**
 * The first serial port (`ttyS0`): input, and output from the first byte.
 *
 * Free `console` with xvirt_console_free().
 */
XvirtStatus xvirt_vm_console(const struct XvirtVm *vm,
                             struct XvirtConsole **console,
                             struct XvirtError **error);

/**
 * The virtio console (`hvc0`): input, and output from the first byte.
 *
 * Free `console` with xvirt_console_free().
 */
XvirtStatus xvirt_vm_virtio_console(const struct XvirtVm *vm,
                                    struct XvirtConsole **console,
                                    struct XvirtError **error);

/**
 * Listens to events from now on. One XvirtEventReceiver can listen to many VMs.
 *
 * Errors:
 * XVIRT_STATUS_OUT_OF_DESCRIPTORS.
 *
 * Free `event_receiver` with xvirt_event_receiver_free().
 */
XvirtStatus xvirt_vm_events(const struct XvirtVm *vm,
                            struct XvirtEventReceiver **event_receiver,
                            struct XvirtError **error);

/**
 * Read-only views of all disks at this moment, ordered by position, while the VM keeps running.
 *
 * The views are crash-consistent: they contain what the guest has written, but not what it still caches in
 * memory. The guest is not stopped. New writes wait until those in flight are done. Later, the first write to
 * each block waits until the old contents are copied to an unnamed file in the folder `scratch`. That file needs
 * as much space as the guest changes, at most the size of the disks. Freeing a view ends the copying for its
 * disk.
 *
 * A view keeps its disk locked, even when the VM is halted. This VM can still be started again, unless the view
 * was made while it was halted.
 *
 * Errors:
 * The VM is in a state that cannot be exported; `scratch` cannot be written; a disk already has four views
 * (XVIRT_STATUS_BUSY); a disk of a halted VM cannot be opened.
 *
 * Free `snapshot_views` with xvirt_snapshot_view_list_free(). `call` is NULL, or has a timeout, the means to
 * cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_snapshot_views(const struct XvirtVm *vm,
                                    const char *scratch,
                                    const struct XvirtCall *call,
                                    struct XvirtSnapshotViewList **snapshot_views,
                                    struct XvirtError **error);

/**
 * Plugs in a disk and returns its position: the lowest free one.
 *
 * The guest of a running VM detects it without further action. It stays across reboots and starts until it is
 * unplugged. For a halted VM, the disk is there from the next start, which is also when its image is opened.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_CONFIG if the disk's configuration is invalid, the VM already has the same image, or the
 * VM has the maximum number of devices. While the VM runs or is paused, also any error of opening the disk. On
 * error, the VM is unchanged.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_plug_disk(const struct XvirtVm *vm,
                               const struct XvirtDisk *disk,
                               const struct XvirtCall *call,
                               size_t *position,
                               struct XvirtError **error);

/**
 * Plugs in a network interface and returns its position, as xvirt_vm_plug_disk() does.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_CONFIG if the interface's configuration is invalid, or the VM has the maximum number of
 * devices. While the VM runs or is paused, also any error of opening its backend. On error, the VM is unchanged.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_plug_nic(const struct XvirtVm *vm,
                              const struct XvirtNic *nic,
                              const struct XvirtCall *call,
                              size_t *position,
                              struct XvirtError **error);

/**
 * Unplugs the disk at `position`: asks the guest to eject it, and waits for that at most `timeout`. Afterwards,
 * its image is unlocked and its position is free; other disks keep their positions.
 *
 * A reset or the end of the guest meanwhile also ejects it, and a halted VM needs no request. A paused VM
 * responds once it is unpaused. The guest may also eject a disk on its own, which is reported by an event.
 *
 * Nothing prevents a guest from ejecting a disk that it uses or boots from.
 *
 * Errors:
 * There is no such disk (XVIRT_STATUS_NOT_FOUND); the VM was migrated with it while this waited
 * (XVIRT_STATUS_INVALID_STATE); or the guest did not eject it in time (XVIRT_STATUS_TIMEOUT): then the VM keeps
 * it. If the guest ejects it later, it is unplugged then, which is reported by an event.
 *
 * `call.timeout_ns` is the timeout. `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_vm_unplug_disk(const struct XvirtVm *vm,
                                 size_t position,
                                 const struct XvirtCall *call,
                                 struct XvirtError **error);

/**
 * Unplugs the network interface at `position`, as xvirt_vm_unplug_disk() does for a disk. A tap interface that
 * was created for it is removed.
 *
 * Errors:
 * As xvirt_vm_unplug_disk().
 *
 * `call.timeout_ns` is the timeout. `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_vm_unplug_nic(const struct XvirtVm *vm,
                                size_t position,
                                const struct XvirtCall *call,
                                struct XvirtError **error);

/**
 * The positions of the disks, whether the VM runs or not: those of the views that xvirt_vm_snapshot_views()
 * returns.
 *
 * Free `disk_positions` with xvirt_size_list_free().
 */
XvirtStatus xvirt_vm_disk_positions(const struct XvirtVm *vm,
                                    struct XvirtSizeList **disk_positions,
                                    struct XvirtError **error);

/**
 * The positions at which there are network interfaces, running or not.
 *
 * Free `nic_positions` with xvirt_size_list_free().
 */
XvirtStatus xvirt_vm_nic_positions(const struct XvirtVm *vm,
                                   struct XvirtSizeList **nic_positions,
                                   struct XvirtError **error);

/**
 * Starts a halted VM: locks its disks, assembles the machine, loads the boot source and runs the guest.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_STATE if it is not halted. XVIRT_STATUS_OUT_OF_DESCRIPTORS, which says how many it needs
 * (xvirt_vm_config_file_descriptors()) and how many are left. Otherwise, any error of these steps. On error, the
 * VM stays halted and nothing is left behind.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_start(const struct XvirtVm *vm,
                           const struct XvirtCall *call,
                           struct XvirtError **error);

/**
 * Pauses a running VM, which stays in memory.
 *
 * A paused VM stays paused until a verb changes that. Pending requests of its guest (power-off or reset), its
 * crashes and its watchdog wait: xvirt_vm_unpause() handles them, xvirt_vm_hard_reboot() and
 * xvirt_vm_hard_shutdown() discard them.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_STATE if it is not running. XVIRT_STATUS_BUSY if the program has installed its own
 * handler for the signal that interrupts vCPUs; then the VM keeps running.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_pause(const struct XvirtVm *vm,
                           const struct XvirtCall *call,
                           struct XvirtError **error);

/**
 * Resumes a paused VM.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_STATE if it is not paused.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_unpause(const struct XvirtVm *vm,
                             const struct XvirtCall *call,
                             struct XvirtError **error);

/**
 * Asks the guest to shut down, and waits until it has powered off.
 *
 * If a guest agent (xvirt_vm_agent()) runs, it is asked first, and has a quarter of `timeout`, at most 10 s, to
 * begin. After that, or if there is no agent, the power button is pressed (ACPI), repeatedly and at growing
 * intervals, until the VM is halted: a guest that is still booting, rebooting or paused misses a press. libvirt
 * uses the same order.
 *
 * Errors:
 * - XVIRT_STATUS_INVALID_STATE if it is not running, was halted by xvirt_vm_hard_shutdown() while this waited,
 *   or was migrated while this waited for its turn.
 * - XVIRT_STATUS_TIMEOUT if it has not powered off within `timeout`; then it still runs, and may still power off
 *   later.
 * - XVIRT_STATUS_GUEST_FAULT if it crashed while this waited and was halted as a result.
 *
 * `call.timeout_ns` is the timeout. `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_vm_clean_shutdown(const struct XvirtVm *vm,
                                    const struct XvirtCall *call,
                                    struct XvirtError **error);

/**
 * Powers the VM off immediately: data that its guest has not written to its disks is lost. The file of a
 * suspended VM is removed.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_STATE if it is already halted; or the file cannot be removed.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_hard_shutdown(const struct XvirtVm *vm,
                                   const struct XvirtCall *call,
                                   struct XvirtError **error);

/**
 * Asks the guest to shut down, as xvirt_vm_clean_shutdown() does, waits until it has powered off, and starts it
 * again.
 *
 * Errors:
 * - XVIRT_STATUS_INVALID_STATE if it is not running, or another verb intervened: a xvirt_vm_clean_shutdown() or
 *   xvirt_vm_hard_shutdown(), after which it is halted, or a xvirt_vm_hard_reboot(), or it was migrated while
 *   this waited for its turn.
 * - XVIRT_STATUS_TIMEOUT if it has not powered off within `timeout`; then it still runs. If its guest powers off
 *   later, it is still rebooted, even if it was migrated meanwhile, unless `clean_shutdown` was called.
 * - XVIRT_STATUS_GUEST_FAULT if it crashed while this waited; then it is in the state that its configuration
 *   specifies for crashes.
 * - XVIRT_STATUS_NOT_BOOTABLE if its boot source could no longer be loaded; then it is halted.
 *
 * `call.timeout_ns` is the timeout. `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_vm_clean_reboot(const struct XvirtVm *vm,
                                  const struct XvirtCall *call,
                                  struct XvirtError **error);

/**
 * Resets the machine in place: data that the guest has not written to its disks is lost. A paused VM runs
 * afterwards.
 *
 * Errors:
 * - XVIRT_STATUS_INVALID_STATE if it is halted.
 * - XVIRT_STATUS_BUSY if the program has installed its own handler for the signal that interrupts vCPUs; then
 *   the VM keeps running.
 * - Any error of loading its boot source or resetting its devices; then it is halted.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_hard_reboot(const struct XvirtVm *vm,
                                 const struct XvirtCall *call,
                                 struct XvirtError **error);

/**
 * Waits until the VM is halted, for any reason. Also returns if the VM was halted and another thread has started
 * it again.
 *
 * Errors:
 * XVIRT_STATUS_TIMEOUT if it is not halted within `timeout`.
 *
 * `call.timeout_ns` is the timeout. `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_vm_wait_halted(const struct XvirtVm *vm,
                                 const struct XvirtCall *call,
                                 struct XvirtError **error);

/**
 * Limits the rates at which the network interface at `position` receives and sends. The limit applies
 * immediately, and across reboots and starts. It causes no frame to be dropped: frames from the guest wait in
 * its queue, frames to the guest wait at the sender. xvirt_vm_nics() returns the limits in force.
 *
 * Errors:
 * The limit is invalid, or there is no interface at that position.
 *
 * `limit` is NULL for the defaults. `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_vm_set_nic_limit(const struct XvirtVm *vm,
                                   size_t position,
                                   const struct XvirtNicLimit *limit,
                                   const struct XvirtCall *call,
                                   struct XvirtError **error);

/**
 * Limits the rate of the disk at `position`. The limit applies immediately, and across reboots and starts.
 * Requests over the limit wait in the guest's queue.
 *
 * Errors:
 * The limit is invalid, or there is no disk at that position.
 *
 * `limit` is NULL for the defaults. `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_vm_set_disk_limit(const struct XvirtVm *vm,
                                    size_t position,
                                    const struct XvirtRateLimit *limit,
                                    const struct XvirtCall *call,
                                    struct XvirtError **error);

/**
 * The rate limit of the disk at `position`: the one in force while the VM runs.
 *
 * Errors:
 * There is no disk at that position.
 *
 * Free `rate_limit` with xvirt_rate_limit_free(). `call` is NULL, or has a timeout, the means to cancel the call
 * and a callback for its progress.
 */
XvirtStatus xvirt_vm_disk_limit(const struct XvirtVm *vm,
                                size_t position,
                                const struct XvirtCall *call,
                                struct XvirtRateLimit **rate_limit,
                                struct XvirtError **error);

/**
 * Limits the CPU time of all vCPUs together. The limit applies immediately, and across reboots and starts.
 *
 * The vCPU threads get their own control group below the group of this process. It is removed with the machine.
 * A process that is killed, or ends without freeing its VMs, leaves it behind empty; the next process that
 * limits a VM from the same group removes it.
 *
 * This needs the CPU controller, of cgroup v2 or v1, and permission to create groups below this process's own.
 * Root has that permission, and so does a user to whom the group is delegated, for example by systemd's
 * `Delegate=cpu`. A process whose v2 group already has groups below it cannot set a limit.
 *
 * Errors:
 * The limit is invalid, or the host does not let this process set it; the message states the remedy. On error,
 * nothing is changed. For a halted VM, the host is asked only at the next start.
 *
 * `limit` is NULL for the defaults. `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_vm_set_cpu_limit(const struct XvirtVm *vm,
                                   const struct XvirtCpuLimit *limit,
                                   const struct XvirtCall *call,
                                   struct XvirtError **error);

/**
 * The CPU limit of the vCPUs, as reported by the kernel while the VM runs.
 *
 * Errors:
 * The VM's control group cannot be read.
 *
 * Free `cpu_limit` with xvirt_cpu_limit_free(). `call` is NULL, or has a timeout, the means to cancel the call
 * and a callback for its progress.
 */
XvirtStatus xvirt_vm_cpu_limit(const struct XvirtVm *vm,
                               const struct XvirtCall *call,
                               struct XvirtCpuLimit **cpu_limit,
                               struct XvirtError **error);

/**
 * Sets how much of its memory a running VM should have. The guest's balloon driver releases the rest to the
 * host, or claims it again; xvirt_vm_wait_memory_target() waits for that. The target is kept across reboots,
 * until the VM halts. A guest that runs out of memory claims what it needs.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_CONFIG if the target is too high or too low, XVIRT_STATUS_INVALID_STATE if it is halted
 * or has no balloon.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_set_memory_target(const struct XvirtVm *vm,
                                       uint64_t target,
                                       const struct XvirtCall *call,
                                       struct XvirtError **error);

/**
 * Waits until the guest has exactly the memory of its target.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_STATE if it is halted, or is halted while this waits, or has no balloon;
 * XVIRT_STATUS_TIMEOUT if it has not reached its target within `timeout`.
 *
 * `call.timeout_ns` is the timeout. `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_vm_wait_memory_target(const struct XvirtVm *vm,
                                        const struct XvirtCall *call,
                                        struct XvirtError **error);

/**
 * The last known memory statistics, without asking the guest.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_STATE if it is halted or has no balloon.
 *
 * Free `memory_statistics` with xvirt_memory_statistics_free(). `call` is NULL, or has a timeout, the means to
 * cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_memory_statistics(const struct XvirtVm *vm,
                                       const struct XvirtCall *call,
                                       struct XvirtMemoryStatistics **memory_statistics,
                                       struct XvirtError **error);

/**
 * Asks the guest for a report on its memory, and waits for it.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_STATE if it is halted, or is halted while this waits, has no balloon, or its guest has no
 * balloon driver loaded; XVIRT_STATUS_TIMEOUT if the guest has not answered within `timeout`.
 *
 * `call.timeout_ns` is the timeout. Free `memory_statistics` with xvirt_memory_statistics_free(). `call` is
 * NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_refresh_memory_statistics(const struct XvirtVm *vm,
                                               const struct XvirtCall *call,
                                               struct XvirtMemoryStatistics **memory_statistics,
                                               struct XvirtError **error);

/**
 * The network interfaces in the order of their positions; empty while the VM is halted.
 *
 * Free `nics` with xvirt_nic_status_list_free().
 */
XvirtStatus xvirt_vm_nics(const struct XvirtVm *vm,
                          struct XvirtNicStatusList **nics,
                          struct XvirtError **error);

/**
 * Sets the link of the network interface at position `nic` up or down. The guest sees the change immediately.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_STATE if the VM is halted, XVIRT_STATUS_NOT_FOUND if it has no interface at that
 * position.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_set_link(const struct XvirtVm *vm,
                              size_t nic,
                              bool up,
                              const struct XvirtCall *call,
                              struct XvirtError **error);

/**
 * The verbs in progress, in the order in which they began. Does not wait for them.
 *
 * Free `current_operations` with xvirt_operation_list_free().
 */
XvirtStatus xvirt_vm_current_operations(const struct XvirtVm *vm,
                                        struct XvirtOperationList **current_operations,
                                        struct XvirtError **error);

/**
 * The verbs that would begin immediately: those that the power state allows, or none while another verb changes
 * the VM. Any other verb waits for its turn first. Does not wait itself.
 *
 * Free `allowed_operations` with xvirt_verb_list_free().
 */
XvirtStatus xvirt_vm_allowed_operations(const struct XvirtVm *vm,
                                        struct XvirtVerbList **allowed_operations,
                                        struct XvirtError **error);

/**
 * Decides a migration whose outcome is unknown, or whose disks could not be opened again: the guest has run at
 * the target, so that the VM here is halted; or it has not and never will, so that it goes on here. **If it runs
 * there, `false` destroys the file systems on its disks.**
 *
 * Errors:
 * XVIRT_STATUS_INVALID_STATE if no migration of it is to be decided. A disk cannot be opened: the VM stays
 * paused, and this can be called again.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_resolve_migration(const struct XvirtVm *vm,
                                       bool ran_there,
                                       const struct XvirtCall *call,
                                       struct XvirtError **error);

/**
 * Grows the disk at `position` to `size` bytes; the new part reads as zeroes.
 *
 * The guest of a running VM sees the new size immediately; it has to grow partitions and file systems itself.
 * When this returns, the new size is on stable storage. If the disk has that size already, nothing is done.
 *
 * Errors:
 * There is no such disk (XVIRT_STATUS_NOT_FOUND); `size` is smaller than the disk, because that would destroy
 * data, or not a multiple of 512 (XVIRT_STATUS_INVALID_CONFIG); the guest may only read it
 * (XVIRT_STATUS_INVALID_STATE); its backend cannot grow (XVIRT_STATUS_UNSUPPORTED_IMAGE); the file system is
 * full; the disk of a halted VM cannot be opened.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_resize_disk(const struct XvirtVm *vm,
                                 size_t position,
                                 uint64_t size,
                                 const struct XvirtCall *call,
                                 struct XvirtError **error);

/**
 * Resumes a suspended VM: opens and locks its disks, loads its memory and runs it. Its file is removed before
 * the guest runs, so that the VM can never be resumed a second time with disks that have changed since.
 *
 * The guest's clocks continue as if it had run all the time; see XvirtElapsedTime for what a guest sees. A guest
 * that uses kvmclock is notified that it was stopped, so that its lockup detectors do not fire. If the guest's
 * agent was running at the suspend and a second has passed since, a thread also sets the guest's date through it
 * (`guest-set-time`), within a minute; the resume does not wait for that. Set it later with
 * xvirt_guest_agent_set_time() if the guest has no agent, or it did not answer.
 *
 * Switches learn where the network interfaces are now: the guest announces them if its driver can (Linux does;
 * virtio 1.2, section 5.1.6.5.4), and otherwise a reverse ARP request (RFC 903) is sent for each.
 *
 * Errors:
 * After an error the VM is still suspended. Only if the removal of its file fails to reach stable storage, the
 * file may be gone: then discard the memory with xvirt_vm_hard_shutdown().
 *
 * - XVIRT_STATUS_INVALID_STATE if it is not suspended, or the image of a disk was changed since.
 * - XVIRT_STATUS_NOT_FOUND if the saved state is gone: another process has resumed the VM, or it was reverted.
 * - XVIRT_STATUS_CORRUPT_STATE, XVIRT_STATUS_UNSUPPORTED_STATE.
 * - XVIRT_STATUS_HOST_UNSUPPORTED if the host's CPU lacks a feature that the guest uses, which is named, its
 *   time stamp counter has another frequency, or its KVM refuses the state.
 * - XVIRT_STATUS_INVALID_CONFIG if a disk has another size than it had.
 * - XVIRT_STATUS_CANCELLED, and everything that xvirt_vm_start() fails with.
 *
 * `how` is NULL for the defaults. Free `resume_report` with xvirt_resume_report_free(). `call` is NULL, or has a
 * timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_resume_with(const struct XvirtVm *vm,
                                 const struct XvirtResume *how,
                                 const struct XvirtCall *call,
                                 struct XvirtResumeReport **resume_report,
                                 struct XvirtError **error);

/**
 * The times of the resume after which the VM has been in memory until now; NULL if it was started, or is not in
 * memory. Does not wait for a verb.
 *
 * Free `resume_times` with xvirt_resume_times_free(). `resume_times` is NULL if there is none.
 */
XvirtStatus xvirt_vm_resume_times(const struct XvirtVm *vm,
                                  struct XvirtResumeTimes **resume_times,
                                  struct XvirtError **error);

/**
 * The counters since the VM was started; empty while it is halted.
 *
 * Cheap enough to call every second: it takes some microseconds, one system call for each of the VM's threads,
 * and never disturbs the guest. It waits for a verb that is changing the VM's power state.
 *
 * Free `statistics` with xvirt_statistics_free().
 */
XvirtStatus xvirt_vm_statistics(const struct XvirtVm *vm,
                                struct XvirtStatistics **statistics,
                                struct XvirtError **error);

/**
 * Saves a running or paused VM to a new file at `path`, and releases its memory and the locks of its disks.
 * xvirt_vm_resume_with() continues from the file; another process can do so with XvirtSuspendedVm.
 *
 * The file contains the guest's memory, so it is as large as the memory that the guest uses, and contains the
 * guest's secrets; only its owner can read it. It does not contain the disks. **Do not change a disk before the
 * VM is resumed: that destroys the file systems on it.** When this returns, the file and the disks are on stable
 * storage.
 *
 * The guest's vsock connections are reset at the resume. The file contains the newest 64 KiB of the output of
 * each console, and the input that the guest has not read.
 *
 * Errors:
 * After an error the VM is as before, and no file is left.
 *
 * - XVIRT_STATUS_INVALID_STATE if it is neither running nor paused, a device cannot be saved, or its memory
 *   could not be loaded (it crashed for that reason).
 * - XVIRT_STATUS_ALREADY_EXISTS if there is something at `path`.
 * - XVIRT_STATUS_NOT_FOUND if the folder of `path`, or the image of a disk, is not there any more.
 * - XVIRT_STATUS_NO_SPACE, XVIRT_STATUS_PERMISSION_DENIED and others of the file, or of flushing the disks.
 * - XVIRT_STATUS_BUSY if the program has taken the signal that interrupts vCPUs for itself.
 * - XVIRT_STATUS_CANCELLED.
 *
 * Free `suspend_report` with xvirt_suspend_report_free(). `call` is NULL, or has a timeout, the means to cancel
 * the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_suspend(const struct XvirtVm *vm,
                             const char *path,
                             const struct XvirtCall *call,
                             struct XvirtSuspendReport **suspend_report,
                             struct XvirtError **error);

/**
 * Like xvirt_vm_suspend(), to an open, empty, regular file, for a process that cannot open files. Another
 * process continues with xvirt_suspended_vm_from_descriptor().
 *
 * Errors:
 * As xvirt_vm_suspend(); after an error the file is empty. And XVIRT_STATUS_INVALID_CONFIG if the file is not
 * empty, or not open for reading and writing.
 *
 * `file` is a descriptor, which is duplicated and stays open. Free `suspend_report` with
 * xvirt_suspend_report_free(). `call` is NULL, or has a timeout, the means to cancel the call and a callback for
 * its progress.
 */
XvirtStatus xvirt_vm_suspend_to(const struct XvirtVm *vm,
                                int file,
                                const struct XvirtCall *call,
                                struct XvirtSuspendReport **suspend_report,
                                struct XvirtError **error);

/**
 * Stops tracking what the guest writes for incremental (`incremental`) checkpoints, so that
 * it runs as fast as before. The next such checkpoint has all memory. Without effect if nothing is tracked.
 * Waits for verbs in progress.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_STATE in a child of the process that made the VM; XVIRT_STATUS_CANCELLED if the call was
 * interrupted.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_stop_tracking(const struct XvirtVm *vm,
                                   const struct XvirtCall *call,
                                   struct XvirtError **error);

/**
 * Connects to a program in the guest that listens on `port` (`AF_VSOCK`). Waits at most `timeout` for it to
 * accept.
 *
 * Errors:
 * The VM has no vsock device, is halted, or is halted while this waits (XVIRT_STATUS_INVALID_STATE); nothing
 * listens on that port in the guest (XVIRT_STATUS_NOT_FOUND); or it takes too long (XVIRT_STATUS_TIMEOUT).
 *
 * `call.timeout_ns` is the timeout. `socket` gets a descriptor, which the caller closes. `call` is NULL, or has
 * a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_vsock_connect(const struct XvirtVm *vm,
                                   uint32_t port,
                                   const struct XvirtCall *call,
                                   int *socket,
                                   struct XvirtError **error);

/**
 * Listens for connections from the guest to `port` of its host (CID 2), from now on; the VM need not run yet.
 *
 * Errors:
 * The VM has no vsock device, or the port already has a listener.
 *
 * Free `vsock_listener` with xvirt_vsock_listener_free(). `call` is NULL, or has a timeout, the means to cancel
 * the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_vsock_listen(const struct XvirtVm *vm,
                                  uint32_t port,
                                  const struct XvirtCall *call,
                                  struct XvirtVsockListener **vsock_listener,
                                  struct XvirtError **error);

/**
 * The Unix socket for host programs, if the VM has a vsock device.
 *
 * `vsock_path` is NULL if there is none. Free it with xvirt_free().
 */
XvirtStatus xvirt_vm_vsock_path(const struct XvirtVm *vm,
                                char **vsock_path,
                                struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_suspended_vm_free(struct XvirtSuspendedVm *suspended_vm);

/**
 * Reads the description of the VM from the file at `path`. This locks and changes nothing.
 *
 * Errors:
 * XVIRT_STATUS_NOT_FOUND; XVIRT_STATUS_CORRUPT_STATE if the file is damaged, cut off or something else;
 * XVIRT_STATUS_UNSUPPORTED_STATE if another version of xvirt wrote it in a format that this one does not read.
 *
 * Free `suspended_vm` with xvirt_suspended_vm_free(). `call` is NULL, or has a timeout, the means to cancel the
 * call and a callback for its progress.
 */
XvirtStatus xvirt_suspended_vm_open(const char *path,
                                    const struct XvirtCall *call,
                                    struct XvirtSuspendedVm **suspended_vm,
                                    struct XvirtError **error);

/**
 * Reads the description of the VM from an open file, as xvirt_vm_suspend_to() wrote it, for a process that
 * cannot open files. This locks and changes nothing.
 *
 * The resume makes the file invalid instead of removing it, before the guest runs.
 *
 * Errors:
 * As xvirt_suspended_vm_open(), and XVIRT_STATUS_INVALID_CONFIG if the descriptor is not of a regular file that
 * is open for reading and writing, or if the file is based on others.
 *
 * `file` is a descriptor, which is duplicated and stays open. Free `suspended_vm` with
 * xvirt_suspended_vm_free(). `call` is NULL, or has a timeout, the means to cancel the call and a callback for
 * its progress.
 */
XvirtStatus xvirt_suspended_vm_from_descriptor(int file,
                                               const struct XvirtCall *call,
                                               struct XvirtSuspendedVm **suspended_vm,
                                               struct XvirtError **error);

/**
 * The VM's UUID.
 *
 * Free `uuid` with xvirt_free().
 */
XvirtStatus xvirt_suspended_vm_uuid(const struct XvirtSuspendedVm *suspended_vm,
                                    char **uuid,
                                    struct XvirtError **error);

/**
 * The VM's name.
 *
 * Free `name` with xvirt_free().
 */
XvirtStatus xvirt_suspended_vm_name(const struct XvirtSuspendedVm *suspended_vm,
                                    char **name,
                                    struct XvirtError **error);

/**
 * The VM's configuration at the suspend; NULL if it contained open objects, such as a disk backend of the
 * program.
 *
 * Free `vm_config` with xvirt_vm_config_free(). `vm_config` is NULL if there is none.
 */
XvirtStatus xvirt_suspended_vm_config(const struct XvirtSuspendedVm *suspended_vm,
                                      struct XvirtVmConfig **vm_config,
                                      struct XvirtError **error);

/**
 * Builds the VM in the state suspended.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_CONFIG if the configuration contained open objects, which cannot be stored: use
 * xvirt_suspended_vm_build_with(). Otherwise as xvirt_vm_config_build().
 *
 * It uses `suspended_vm` up, which is still to be freed and good for nothing else. Free `vm` with
 * xvirt_vm_free(). `call` is NULL, or has a timeout, the means to cancel the call and a callback for its
 * progress.
 */
XvirtStatus xvirt_suspended_vm_build(const struct XvirtSuspendedVm *suspended_vm,
                                     const struct XvirtHost *host,
                                     const struct XvirtCall *call,
                                     struct XvirtVm **vm,
                                     struct XvirtError **error);

/**
 * Builds the VM in the state suspended from another configuration, for example with other disk paths or taps.
 * All guest-visible state comes from the file. The configuration must have the same UUID, the same number of
 * vCPUs, disks and network interfaces and the same amount of memory as at the suspend.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_CONFIG if the configuration does not fit; otherwise as xvirt_vm_config_build().
 *
 * It uses `suspended_vm` up, which is still to be freed and good for nothing else. Free `vm` with
 * xvirt_vm_free(). `call` is NULL, or has a timeout, the means to cancel the call and a callback for its
 * progress.
 */
XvirtStatus xvirt_suspended_vm_build_with(const struct XvirtSuspendedVm *suspended_vm,
                                          const struct XvirtVmConfig *config,
                                          const struct XvirtHost *host,
                                          const struct XvirtCall *call,
                                          struct XvirtVm **vm,
                                          struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_vsock_listener_free(struct XvirtVsockListener *vsock_listener);

/**
 * `descriptor` gets a descriptor that poll(2) reports as readable (POLLIN) while
 * xvirt_vsock_listener_try_accept() would accept a connection. It stays the library's, and is valid until the
 * handle is freed: do not read or close it.
 */
XvirtStatus xvirt_vsock_listener_fd(const struct XvirtVsockListener *vsock_listener,
                                    int *descriptor,
                                    struct XvirtError **error);

/**
 * Waits for the next connection, as long as the VM exists.
 *
 * Errors:
 * The VM was freed (XVIRT_STATUS_GONE), or XVIRT_STATUS_OUT_OF_DESCRIPTORS.
 *
 * `socket` gets a descriptor, which the caller closes. `call` is NULL, or has a timeout, the means to cancel the
 * call and a callback for its progress.
 */
XvirtStatus xvirt_vsock_listener_accept(const struct XvirtVsockListener *vsock_listener,
                                        const struct XvirtCall *call,
                                        int *socket,
                                        struct XvirtError **error);

/**
 * Takes a connection that waits, if there is one.
 *
 * Errors:
 * As xvirt_vsock_listener_accept().
 *
 * `socket` gets a descriptor, which the caller closes, or -1 if there is none.
 */
XvirtStatus xvirt_vsock_listener_try_accept(const struct XvirtVsockListener *vsock_listener,
                                            int *socket,
                                            struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_archive_free(struct XvirtArchive *archive);

/**
 * Opens an archive and locates its chunks without reading them.
 *
 * Errors:
 * XVIRT_STATUS_UNSUPPORTED_ARCHIVE if the archive supports only sequential reading; or it is damaged, or cannot
 * be read.
 *
 * Free `archive` with xvirt_archive_free(). `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_archive_open(const char *path,
                               const struct XvirtCall *call,
                               struct XvirtArchive **archive,
                               struct XvirtError **error);

/**
 * The VM in it.
 *
 * Free `appliance` with xvirt_appliance_free().
 */
XvirtStatus xvirt_archive_appliance(const struct XvirtArchive *archive,
                                    struct XvirtAppliance **appliance,
                                    struct XvirtError **error);

/**
 * Its read-only disks, in the order of the appliance. Each chunk is checked when it is read; damage is an I/O
 * error that names the member.
 *
 * Free `disks` with xvirt_block_backend_list_free().
 */
XvirtStatus xvirt_archive_disks(const struct XvirtArchive *archive,
                                struct XvirtBlockBackendList **disks,
                                struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_streaming_import_free(struct XvirtStreamingImport *streaming_import);

/**
 * The configuration, ready to be built and started.
 *
 * Free `vm_config` with xvirt_vm_config_free().
 */
XvirtStatus xvirt_streaming_import_config(const struct XvirtStreamingImport *streaming_import,
                                          struct XvirtVmConfig **vm_config,
                                          struct XvirtError **error);

/**
 * What cannot be converted.
 *
 * Free `remarks` with xvirt_string_list_free().
 */
XvirtStatus xvirt_streaming_import_remarks(const struct XvirtStreamingImport *streaming_import,
                                           struct XvirtStringList **remarks,
                                           struct XvirtError **error);

/**
 * Copies the remaining data from the archive, and turns it into a VM of the repository. This takes long, so call
 * it on a thread of its own while the VM runs; the guest's requests have priority. The archive is no longer
 * needed afterwards.
 *
 * Errors:
 * A chunk of the archive is damaged; the repository is full or cannot be written; XVIRT_STATUS_ALREADY_EXISTS if
 * a VM with its UUID was created meanwhile; the operation was cancelled. Then the VM keeps running as before,
 * and this can be retried once the cause is fixed. XVIRT_STATUS_INVALID_STATE if it is a VM of the repository
 * already.
 *
 * Free `imported` with xvirt_imported_free(). `call` is NULL, or has a timeout, the means to cancel the call and
 * a callback for its progress.
 */
XvirtStatus xvirt_streaming_import_complete(const struct XvirtStreamingImport *streaming_import,
                                            const struct XvirtCall *call,
                                            struct XvirtImported **imported,
                                            struct XvirtError **error);

/**
 * Creates an empty disk of `size` bytes. It reads as zeroes and takes almost no space yet.
 *
 * Only the file's owner may read and write it. When this returns, the image is on stable storage.
 *
 * Errors:
 *
 * XVIRT_STATUS_ALREADY_EXISTS if `path` exists, which is then unchanged; XVIRT_STATUS_INVALID_CONFIG if `size`
 * is zero, not a multiple of 512 or more than 8 EiB - 512 bytes, for qcow2 2 PiB; XVIRT_STATUS_NOT_FOUND if the
 * directory does not exist. A failure leaves no file behind.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_disk_create(const char *path,
                              XvirtImageFormat format,
                              uint64_t size,
                              const struct XvirtCall *call,
                              struct XvirtError **error);

/**
 * Grows the disk in an image. The new part reads as zeroes.
 *
 * `size` is in bytes. The guest sees the new size the next time it starts. When this returns, the new size is on
 * stable storage.
 *
 * Errors:
 *
 * XVIRT_STATUS_BUSY if the image is open elsewhere; XVIRT_STATUS_INVALID_CONFIG if `size` is smaller than the
 * disk is, because that would destroy data, or not a multiple of 512, or if it is a block device; otherwise as
 * xvirt_disk_open().
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_disk_grow(const char *path,
                            XvirtImageFormat format,
                            uint64_t size,
                            const struct XvirtCall *call,
                            struct XvirtError **error);

/**
 * Inspects an image. Takes no locks, so the image may be in use; changes that a VM makes meanwhile may be
 * missing.
 *
 * Errors:
 *
 * As xvirt_disk_open(), but never XVIRT_STATUS_BUSY.
 *
 * Free `image_info` with xvirt_image_info_free(). `call` is NULL, or has a timeout, the means to cancel the call
 * and a callback for its progress.
 */
XvirtStatus xvirt_disk_inspect(const char *path,
                               XvirtImageFormat format,
                               const struct XvirtCall *call,
                               struct XvirtImageInfo **image_info,
                               struct XvirtError **error);

/**
 * Opens a disk image or block device and locks it, with its backing files, until the backend is freed.
 *
 * The locks exclude other openers in this process and in others, including QEMU and `qemu-img`: a writer
 * excludes everyone, and readers exclude writers. Backing files are only read.
 *
 * Without `format`, the image is probed, which is a convenience for images from people. A guest controls the
 * first bytes of its raw disk, and could make it look like a qcow2 image whose backing file is a file of the
 * host. Give the format where you know it, above all for a raw disk that a guest has written to. Backing files
 * are not probed this way: an image must state the format of its backing file, or the file must be raw.
 *
 * An untrusted image may name any file that this process can read as its backing file, and so show it to the
 * guest. `inspect` lists the backing files of an image.
 *
 * A qcow2 image that a killed process or a power failure left inconsistent is repaired when it is opened for
 * writing; unflushed data may be lost.
 *
 * A qcow2 image is opened for writing only if its tables and refcounts are consistent. Otherwise a guest could
 * write to the tables and make the image show any file of the host. The check reads all tables, 10 bytes per
 * allocated cluster: half a second for a terabyte in clusters of 64 KiB, if they are in the page cache.
 *
 * The size of a raw image is rounded up to a multiple of 512 bytes, as in QEMU; the rest of the last sector
 * reads as zeroes until the guest writes it, which grows the file to the full sector.
 *
 * Errors:
 *
 * XVIRT_STATUS_NOT_FOUND, XVIRT_STATUS_PERMISSION_DENIED, XVIRT_STATUS_BUSY if the image is locked,
 * XVIRT_STATUS_CORRUPT_IMAGE, XVIRT_STATUS_ENCRYPTED_IMAGE, XVIRT_STATUS_UNSUPPORTED_IMAGE,
 * XVIRT_STATUS_INVALID_CONFIG if it is not a file or block device. Errors about backing files name the file and
 * the image that needs it.
 *
 * Free `block_backend` with xvirt_block_backend_free(). `call` is NULL, or has a timeout, the means to cancel
 * the call and a callback for its progress.
 */
XvirtStatus xvirt_disk_open(const char *path,
                            XvirtImageFormat format,
                            XvirtAccess access,
                            const struct XvirtCall *call,
                            struct XvirtBlockBackend **block_backend,
                            struct XvirtError **error);

/**
 * Opens a disk image on open files, and locks them like xvirt_disk_open(). The first descriptor is that of the
 * image, followed by those of its backing files from the nearest to the deepest. The names of backing files in
 * the images are ignored, and no file is opened by its path. A format that an image records for its backing file
 * must match the given one.
 *
 * Errors:
 *
 * As for xvirt_disk_open(). XVIRT_STATUS_INVALID_CONFIG also means that a descriptor does not meet the
 * requirements of XvirtImageDescriptor, that one is missing or superfluous, or that its format is not the one
 * that the image records.
 *
 * Free `block_backend` with xvirt_block_backend_free(). `call` is NULL, or has a timeout, the means to cancel
 * the call and a callback for its progress.
 */
XvirtStatus xvirt_disk_open_descriptors(const struct XvirtImageDescriptor *const *images,
                                        size_t image_count,
                                        XvirtAccess access,
                                        const struct XvirtCall *call,
                                        struct XvirtBlockBackend **block_backend,
                                        struct XvirtError **error);

/**
 * Creates a copy-on-write copy of `base`, in constant time.
 *
 * If possible, the copy is a reflink (XFS, Btrfs and others, with both files on the same file system). Otherwise
 * it is a qcow2 image on top of the base. The result tells which. A qcow2 copy in the directory of its base
 * stores a relative name, so that both can be moved together; elsewhere it stores the full path.
 *
 * Give the `format` of a raw base that a guest has written to: see xvirt_disk_open(). When this returns, the
 * copy is on stable storage.
 *
 * Errors:
 *
 * XVIRT_STATUS_BUSY if the base is open for writing; XVIRT_STATUS_ALREADY_EXISTS if `copy` exists; otherwise as
 * xvirt_disk_open(). On failure no file is left behind.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_disk_overlay(const char *base,
                               XvirtImageFormat format,
                               const char *copy,
                               const struct XvirtCall *call,
                               XvirtOverlayKind *kind,
                               struct XvirtError **error);

/**
 * Writes a halted VM, described by `config`, into an archive that XenServer and XCP-ng can import.
 *
 * The disks are locked for reading meanwhile; holes are not read. `output` receives the archive in one pass, in
 * a few large writes per megabyte. Disk sizes are rounded up to whole MiB, with zeroes.
 *
 * Errors:
 * A disk cannot be opened or read, or is in use; `output` cannot be written; the operation was cancelled. The
 * bytes written so far are not a valid archive.
 *
 * `output` is a descriptor, which is duplicated and stays open. `options` is NULL for the defaults. Free
 * `exported` with xvirt_exported_free(). `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_xva_export(const struct XvirtVmConfig *config,
                             int output,
                             const struct XvirtExport *options,
                             const struct XvirtCall *call,
                             struct XvirtExported **exported,
                             struct XvirtError **error);

/**
 * Writes a running VM into an archive, like xvirt_xva_export(), with its disks at one point in time at the
 * start.
 *
 * The guest keeps writing, which does not affect the archive. The old contents of overwritten blocks are kept in
 * unnamed files in the folder `scratch`, which need at most as much space as the guest changes. To the guest,
 * the file systems in the archive look as after a power failure. Until this returns, it is one of the VM's
 * xvirt_vm_current_operations(), and other verbs are allowed. `stored` is the VM in the repository, if there is
 * one: see xvirt_xva_export_stored().
 *
 * Errors:
 * As for xvirt_xva_export(); or `scratch` has no space for old contents: then the export fails, and the guest
 * continues.
 *
 * `output` is a descriptor, which is duplicated and stays open. `options` is NULL for the defaults. Free
 * `exported` with xvirt_exported_free(). `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_xva_export_running(const struct XvirtVm *vm,
                                     const struct XvirtStoredVm *stored,
                                     const char *scratch,
                                     int output,
                                     const struct XvirtExport *options,
                                     const struct XvirtCall *call,
                                     struct XvirtExported **exported,
                                     struct XvirtError **error);

/**
 * Writes a halted VM of a repository into an archive, like xvirt_xva_export(). Fields of an imported VM that
 * have no meaning here are written back to the archive.
 *
 * Errors:
 * As for xvirt_xva_export(); or the VM's metadata is damaged.
 *
 * `output` is a descriptor, which is duplicated and stays open. `options` is NULL for the defaults. Free
 * `exported` with xvirt_exported_free(). `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_xva_export_stored(const struct XvirtStoredVm *vm,
                                    int output,
                                    const struct XvirtExport *options,
                                    const struct XvirtCall *call,
                                    struct XvirtExported **exported,
                                    struct XvirtError **error);

/**
 * Writes the disks of an archive as `disk-0.raw`, `disk-1.raw` … into `folder`, which is created if it does not
 * exist, and its metadata as `ova.xml`.
 *
 * Each chunk is checked before it is written. Until everything is complete and on stable storage, the files are
 * in a hidden folder inside `folder`.
 *
 * Errors:
 * The archive is damaged, incomplete or unsupported, or its window exceeds the limit; it does not have the disk
 * asked for; a file already exists, or cannot be written; the operation was cancelled. Then no new file is left.
 *
 * `input` is a descriptor, which is duplicated and stays open. `options` is NULL for the defaults. Free
 * `extracted` with xvirt_extracted_free(). `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_xva_extract(int input,
                              const char *folder,
                              const struct XvirtExtract *options,
                              const struct XvirtCall *call,
                              struct XvirtExtracted **extracted,
                              struct XvirtError **error);

/**
 * Imports an archive as a VM of `repository`, in one pass and in bounded memory.
 *
 * Each chunk is checked before it is written; zeroes become holes. When this returns, the VM is complete and on
 * stable storage. Data of the archive that has no meaning here is kept for a later xvirt_xva_export_stored().
 *
 * Errors:
 * The archive is damaged, incomplete or unsupported, and the message names the member;
 * XVIRT_STATUS_LIMIT_EXCEEDED if its window exceeds the limit; the repository cannot be written; a VM has the
 * UUID that is to be preserved; the operation was cancelled. Then nothing is left behind.
 *
 * `input` is a descriptor, which is duplicated and stays open. `options` is NULL for the defaults. Free
 * `imported` with xvirt_imported_free(). `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_xva_import(int input,
                             const struct XvirtRepository *repository,
                             const struct XvirtImport *options,
                             const struct XvirtCall *call,
                             struct XvirtImported **imported,
                             struct XvirtError **error);

/**
 * Describes an archive. Reads its metadata and the first chunk, at most a few MiB.
 *
 * Errors:
 * It is not an archive, or its start is damaged, or it cannot be read; the operation was cancelled;
 * XVIRT_STATUS_LIMIT_EXCEEDED if its window exceeds the limit in `options`.
 *
 * `input` is a descriptor, which is duplicated and stays open. `options` is NULL for the defaults. Free
 * `inspected` with xvirt_inspected_free(). `call` is NULL, or has a timeout, the means to cancel the call and a
 * callback for its progress.
 */
XvirtStatus xvirt_xva_inspect(int input,
                              const struct XvirtReadOptions *options,
                              const struct XvirtCall *call,
                              struct XvirtInspected **inspected,
                              struct XvirtError **error);

/**
 * Reads an archive and checks everything: compression, tar headers, `ova.xml`, and the positions and checksums
 * of all chunks. Takes one pass, and no more memory than any other way to read it.
 *
 * Errors:
 * It is not an archive, or cannot be read; the operation was cancelled; XVIRT_STATUS_LIMIT_EXCEEDED if its
 * window exceeds the limit in `options`. The report contains the defects of the archive.
 *
 * `input` is a descriptor, which is duplicated and stays open. `options` is NULL for the defaults. Free `report`
 * with xvirt_report_free(). `call` is NULL, or has a timeout, the means to cancel the call and a callback for
 * its progress.
 */
XvirtStatus xvirt_xva_verify(int input,
                             const struct XvirtReadOptions *options,
                             const struct XvirtCall *call,
                             struct XvirtReport **report,
                             struct XvirtError **error);

/**
 * Prepares a VM from an archive so that it can start immediately. The archive must be a file that is
 * uncompressed, or that this library exported with zstd, and must not change until all of it was copied.
 *
 * Errors:
 * XVIRT_STATUS_UNSUPPORTED_ARCHIVE if the archive supports only sequential reading (use xvirt_xva_import());
 * XVIRT_STATUS_ALREADY_EXISTS if its UUID is to be preserved and a VM has it. Otherwise as for
 * xvirt_xva_import(), except damaged chunks, which are I/O errors to the guest.
 *
 * `options` is NULL for the defaults. Free `streaming_import` with xvirt_streaming_import_free(). `call` is
 * NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_xva_import_streaming(const char *archive,
                                       const struct XvirtRepository *repository,
                                       const struct XvirtImport *options,
                                       const struct XvirtCall *call,
                                       struct XvirtStreamingImport **streaming_import,
                                       struct XvirtError **error);

/**
 * Checks everything that does not depend on the host.
 *
 * Errors:
 * A field is invalid; the message names it and the valid values.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_vm_config_check(const struct XvirtVmConfig *vm_config,
                                  const struct XvirtCall *call,
                                  struct XvirtError **error);

/**
 * Builds the VM, halted.
 *
 * Errors:
 * The configuration is invalid, or `host` cannot run VMs; the message states the remedy.
 *
 * Free `vm` with xvirt_vm_free(). `call` is NULL, or has a timeout, the means to cancel the call and a callback
 * for its progress.
 */
XvirtStatus xvirt_vm_config_build(const struct XvirtVmConfig *vm_config,
                                  const struct XvirtHost *host,
                                  const struct XvirtCall *call,
                                  struct XvirtVm **vm,
                                  struct XvirtError **error);

/**
 * How many file descriptors a VM of this configuration has open while it runs. All of them are opened by
 * xvirt_vm_config_build() and xvirt_vm_start(), or when a device is plugged in, which fail with
 * XVIRT_STATUS_OUT_OF_DESCRIPTORS if there are too few. Neither a reboot nor the guest opens more, except for
 * connections over its vsock device.
 *
 * | what | descriptors |
 * |---|---|
 * | the VM, also while it is halted | 3 |
 * | the VM while it runs | 6 |
 * | each vCPU | 1 |
 * | memory that is shared or in huge pages | 1, or 2 from 3 GiB on |
 * | the virtio console and the entropy source | 1 each |
 * | the memory balloon | 2 |
 * | each disk | 3, 1 for io_uring, and its files |
 * | each network interface | 1, and its tap or socket, or 4 for a user network |
 * | the vsock device | 3, and 1 for each connection |
 *
 * The files of a disk are its image and its backing files, each open twice if the disk is direct
 * (`direct`). Only the image itself is counted here, unless all files were given as descriptors, and
 * nothing is counted for a program's own backend. Descriptors from the program are duplicated while they are
 * used, and counted the same way.
 *
 * A VM whose memory is read while it runs (XVIRT_MEMORY_LOADING_LAZY) has 2 more, and until that is done one for
 * each file of its saved state.
 *
 * In addition, the program has those it requests: one for each XvirtEventReceiver, and those that it attaches to
 * consoles. A common soft limit is 1024; a program with many VMs raises it with `setrlimit(RLIMIT_NOFILE)`,
 * which this library leaves to it.
 */
XvirtStatus xvirt_vm_config_file_descriptors(const struct XvirtVmConfig *vm_config,
                                             size_t *count,
                                             struct XvirtError **error);

/**
 * Checks all fields.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_CONFIG if a field is invalid; the message names it and the valid values.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_seed_check(const struct XvirtSeed *seed,
                             const struct XvirtCall *call,
                             struct XvirtError **error);

/**
 * The disk image: a FAT file system with the label `CIDATA`, of one or a few MiB.
 *
 * Errors:
 * As for xvirt_seed_check(), and XVIRT_STATUS_INVALID_CONFIG if the contents exceed 14 MiB.
 *
 * Free `image` with xvirt_free(). `call` is NULL, or has a timeout, the means to cancel the call and a callback
 * for its progress.
 */
XvirtStatus xvirt_seed_image(const struct XvirtSeed *seed,
                             const struct XvirtCall *call,
                             uint8_t **image,
                             size_t *image_length,
                             struct XvirtError **error);

/**
 * Writes the disk image to a new file that only its owner may read, because it may contain password hashes.
 *
 * Add it to the VM as a read-only disk. When this returns, it is on stable storage.
 *
 * Errors:
 * As for xvirt_seed_image(); XVIRT_STATUS_ALREADY_EXISTS if `path` exists, which is then unchanged. On failure
 * no file is left behind.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_seed_write(const struct XvirtSeed *seed,
                             const char *path,
                             const struct XvirtCall *call,
                             struct XvirtError **error);

/**
 * Checks the compression level.
 *
 * Errors:
 * XVIRT_STATUS_INVALID_CONFIG if the compression does not have this level.
 *
 * `call` is NULL, or has a timeout, the means to cancel the call and a callback for its progress.
 */
XvirtStatus xvirt_export_check(const struct XvirtExport *export_,
                               const struct XvirtCall *call,
                               struct XvirtError **error);

/**
 * Frees it with all that is in it. NULL is fine.
 */
void xvirt_boot_entry_list_free(struct XvirtBootEntryList *list);

/**
 * Frees it with all that is in it. NULL is fine.
 */
void xvirt_network_interface_list_free(struct XvirtNetworkInterfaceList *list);

/**
 * Frees it with all that is in it. NULL is fine.
 */
void xvirt_host_problem_list_free(struct XvirtHostProblemList *list);

/**
 * Frees it with all that is in it. NULL is fine.
 */
void xvirt_snapshot_list_free(struct XvirtSnapshotList *list);

/**
 * Frees it with all that is in it. NULL is fine.
 */
void xvirt_template_list_free(struct XvirtTemplateList *list);

/**
 * Frees it with all that is in it. NULL is fine.
 */
void xvirt_stored_vm_list_free(struct XvirtStoredVmList *list);

/**
 * Frees it with all that is in it. NULL is fine.
 */
void xvirt_template_disk_list_free(struct XvirtTemplateDiskList *list);

/**
 * Frees it with all that is in it. NULL is fine.
 */
void xvirt_disk_status_list_free(struct XvirtDiskStatusList *list);

/**
 * Frees it with all that is in it. NULL is fine.
 */
void xvirt_snapshot_view_list_free(struct XvirtSnapshotViewList *list);

/**
 * Frees it with all that is in it. NULL is fine.
 */
void xvirt_size_list_free(struct XvirtSizeList *list);

/**
 * Frees it with all that is in it. NULL is fine.
 */
void xvirt_nic_status_list_free(struct XvirtNicStatusList *list);

/**
 * Frees it with all that is in it. NULL is fine.
 */
void xvirt_operation_list_free(struct XvirtOperationList *list);

/**
 * Frees it with all that is in it. NULL is fine.
 */
void xvirt_verb_list_free(struct XvirtVerbList *list);

/**
 * Frees it with all that is in it. NULL is fine.
 */
void xvirt_block_backend_list_free(struct XvirtBlockBackendList *list);

/**
 * Frees it with all that is in it. NULL is fine.
 */
void xvirt_string_list_free(struct XvirtStringList *list);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_agent_info_free(struct XvirtAgentInfo *agent_info);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_appliance_free(struct XvirtAppliance *appliance);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_boot_entry_free(struct XvirtBootEntry *boot_entry);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_boot_files_free(struct XvirtBootFiles *boot_files);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_check_free(struct XvirtCheck *check);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_checkpoint_report_free(struct XvirtCheckpointReport *checkpoint_report);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_command_output_free(struct XvirtCommandOutput *command_output);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_command_status_free(struct XvirtCommandStatus *command_status);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_cpu_limit_free(struct XvirtCpuLimit *cpu_limit);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_cpus_free(struct XvirtCpus *cpus);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_crash_free(struct XvirtCrash *crash);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_event_record_free(struct XvirtEventRecord *event_record);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_exported_free(struct XvirtExported *exported);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_extracted_free(struct XvirtExtracted *extracted);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_halted_free(struct XvirtHalted *halted);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_image_info_free(struct XvirtImageInfo *image_info);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_imported_free(struct XvirtImported *imported);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_inspected_free(struct XvirtInspected *inspected);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_kvm_status_free(struct XvirtKvmStatus *kvm_status);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_lineage_free(struct XvirtLineage *lineage);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_memory_free(struct XvirtMemory *memory);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_memory_statistics_free(struct XvirtMemoryStatistics *memory_statistics);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_migration_summary_free(struct XvirtMigrationSummary *migration_summary);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_rate_limit_free(struct XvirtRateLimit *rate_limit);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_report_free(struct XvirtReport *report);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_resume_report_free(struct XvirtResumeReport *resume_report);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_resume_times_free(struct XvirtResumeTimes *resume_times);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_statistics_free(struct XvirtStatistics *statistics);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_string_pair_list_free(struct XvirtStringPairList *string_pair_list);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_suspend_report_free(struct XvirtSuspendReport *suspend_report);

/**
 * Frees it with all that is in it. NULL is fine. Only for what a call has returned, not for a part of it.
 */
void xvirt_vm_config_free(struct XvirtVmConfig *vm_config);

/**
 * Reads the configuration of a VM from JSON: the names are those of the members of the structs, times are numbers of
 * seconds, and sizes are numbers of bytes or text such as "1GiB". Unknown names are errors.
 *
 * Free `vm_config` with xvirt_vm_config_free().
 */
XvirtStatus xvirt_vm_config_from_json(const char *json,
                                      struct XvirtVmConfig **vm_config,
                                      struct XvirtError **error);

/**
 * Writes the configuration of a VM as JSON. It fails if the configuration has parts that are no data, such as open
 * files. Free `json` with xvirt_free().
 */
XvirtStatus xvirt_vm_config_to_json(const struct XvirtVmConfig *vm_config,
                                    char **json,
                                    struct XvirtError **error);

/**
 * The buckets with requests in them, from the shortest times to the longest.
 *
 * Free `buckets` with xvirt_latency_bucket_list_free().
 */
XvirtStatus xvirt_latencies_buckets(const struct XvirtLatencies *latencies,
                                    struct XvirtLatencyBucketList **buckets,
                                    struct XvirtError **error);

/**
 * Frees it with all that is in it. NULL is fine.
 */
void xvirt_latency_bucket_list_free(struct XvirtLatencyBucketList *list);

/**
 * The version of the library, such as "0.1.0". The text is never freed.
 */
const char *xvirt_version(void);

/**
 * Frees text or bytes that a call has returned. NULL is fine.
 */
void xvirt_free(void *memory);

/**
 * The kernel of the demo guest, a small program that runs without an operating system, for trying this library: boot it
 * with a command line such as "mode=hello,poweroff". The bytes are never freed.
 */
XvirtStatus xvirt_demo_kernel(const uint8_t **kernel,
                              size_t *length,
                              struct XvirtError **error);

/**
 * Makes connections by TCP to a host and port, such as "host-b:7400".
 *
 * Free `channel` with xvirt_channel_free(). `call` is NULL, or has a timeout and the means to cancel the call, which
 * looks the name up.
 */
XvirtStatus xvirt_channel_connect_tcp(const char *address,
                                      const struct XvirtCall *call,
                                      struct XvirtChannel **channel,
                                      struct XvirtError **error);

/**
 * Makes connections to the unix socket at a path. Free `channel` with xvirt_channel_free().
 */
XvirtStatus xvirt_channel_connect_unix(const char *path,
                                       struct XvirtChannel **channel,
                                       struct XvirtError **error);

/**
 * Accepts connections of a socket that listens, a unix socket or one of TCP. `socket` is duplicated and stays open.
 *
 * Free `channel` with xvirt_channel_free().
 */
XvirtStatus xvirt_channel_listen(int socket,
                                 struct XvirtChannel **channel,
                                 struct XvirtError **error);

/**
 * Uses sockets that are connected, all unix sockets or all of TCP: as many as the migration uses connections. They are
 * duplicated and stay open, but nothing else may use them meanwhile.
 *
 * Free `channel` with xvirt_channel_free().
 */
XvirtStatus xvirt_channel_use(const int *sockets,
                              size_t socket_count,
                              struct XvirtChannel **channel,
                              struct XvirtError **error);

/**
 * Frees a channel. NULL is fine.
 */
void xvirt_channel_free(struct XvirtChannel *channel);

/**
 * Reads the files with the certificates and the key, in PEM. Free `tls` with xvirt_tls_free().
 */
XvirtStatus xvirt_tls_from_files(const char *chain,
                                 const char *key,
                                 const char *authorities,
                                 struct XvirtTls **tls,
                                 struct XvirtError **error);

/**
 * Takes the certificates and the key from memory, in PEM. Free `tls` with xvirt_tls_free().
 */
XvirtStatus xvirt_tls_from_pem(const uint8_t *chain,
                               size_t chain_length,
                               const uint8_t *key,
                               size_t key_length,
                               const uint8_t *authorities,
                               size_t authorities_length,
                               struct XvirtTls **tls,
                               struct XvirtError **error);

/**
 * Makes encrypted connections to a host and port, whose certificate must be for that host.
 *
 * Free `channel` with xvirt_channel_free(). `call` is NULL, or has a timeout and the means to cancel the call.
 */
XvirtStatus xvirt_tls_connect_tcp(const struct XvirtTls *tls,
                                  const char *address,
                                  const struct XvirtCall *call,
                                  struct XvirtChannel **channel,
                                  struct XvirtError **error);

/**
 * Encrypts the connections that `inner` makes to the host of this name.
 *
 * Free `channel` with xvirt_channel_free(); `inner` may be freed before.
 */
XvirtStatus xvirt_tls_connect(const struct XvirtTls *tls,
                              const char *name,
                              const struct XvirtChannel *inner,
                              struct XvirtChannel **channel,
                              struct XvirtError **error);

/**
 * Encrypts the connections that `inner` accepts.
 *
 * Free `channel` with xvirt_channel_free(); `inner` may be freed before.
 */
XvirtStatus xvirt_tls_accept(const struct XvirtTls *tls,
                             const struct XvirtChannel *inner,
                             struct XvirtChannel **channel,
                             struct XvirtError **error);

/**
 * Frees it. NULL is fine.
 */
void xvirt_tls_free(struct XvirtTls *tls);

/**
 * Checks whether a VM could migrate through a channel, without moving it. The target has to receive, and accepts or
 * refuses it.
 *
 * `settings` and `observer` may be NULL. `call` is NULL, or has a timeout and the means to cancel the call.
 *
 * Errors: XVIRT_STATUS_MIGRATION_REFUSED with all reasons of both sides.
 */
XvirtStatus xvirt_vm_check_migration(const struct XvirtVm *vm,
                                     const struct XvirtChannel *channel,
                                     const struct XvirtMigration *settings,
                                     const struct XvirtMigrationObserver *observer,
                                     const struct XvirtCall *call,
                                     struct XvirtError **error);

/**
 * Migrates a VM that runs to the host at the other end of a channel, where a program receives it. The VM is then halted
 * here.
 *
 * `settings`, `decision` and `observer` may be NULL. `summary` gets how it went; free it with
 * xvirt_migration_summary_free(). `call` is NULL, or has a timeout and the means to cancel the call.
 *
 * Errors: after XVIRT_STATUS_INDETERMINATE, the VM may run at the target: see xvirt_vm_resolve_migration(). After any
 * other error it runs here, or is paused and the message says why.
 */
XvirtStatus xvirt_vm_migrate(const struct XvirtVm *vm,
                             const struct XvirtChannel *channel,
                             const struct XvirtMigration *settings,
                             const struct XvirtCommitDecision *decision,
                             const struct XvirtMigrationObserver *observer,
                             const struct XvirtCall *call,
                             struct XvirtMigrationSummary **summary,
                             struct XvirtError **error);

/**
 * Receives a VM that migrates to this host. `accept` is called with the VM that arrives, on this thread, and returns the
 * configuration that it gets here, with the disks and networks of this host. To refuse it, it returns NULL, after it
 * has written the reason, NUL-terminated, into `reason`, which has `reason_size` bytes. It may change members of the
 * configuration that it gets, and return that; another one must be valid until this call returns.
 *
 * `settings`, `decision` and `observer` may be NULL. `vm` gets the VM, which runs; free it with xvirt_vm_free(). `call`
 * is NULL, or has a timeout and the means to cancel the call.
 */
XvirtStatus xvirt_migrate_receive(const struct XvirtChannel *channel,
                                  const struct XvirtHost *host,
                                  const struct XvirtReception *settings,
                                  const struct XvirtVmConfig *(*accept)(void *user_data,
                                                                        const struct XvirtArrivingVm *arriving,
                                                                        char *reason,
                                                                        size_t reason_size),
                                  void *user_data,
                                  const struct XvirtCommitDecision *decision,
                                  const struct XvirtMigrationObserver *observer,
                                  const struct XvirtCall *call,
                                  struct XvirtVm **vm,
                                  struct XvirtError **error);

/**
 * Makes a network that the program implements. If the call succeeds, `release` is called once in the end.
 *
 * Free `network` with xvirt_network_free().
 */
XvirtStatus xvirt_network_new(const struct XvirtNetworkOperations *operations,
                              struct XvirtNetwork **network,
                              struct XvirtError **error);

/**
 * The guest's end of the network, for the `connection` of an XvirtNicBackendConfig. It can be taken once.
 *
 * Free `frame_stream` with xvirt_frame_stream_free(); a VM that got it keeps it.
 */
XvirtStatus xvirt_network_frame_stream(const struct XvirtNetwork *network,
                                       struct XvirtFrameStream **frame_stream,
                                       struct XvirtError **error);

/**
 * Sends an Ethernet frame to the guest, without the checksum at its end.
 *
 * Errors: XVIRT_STATUS_BUSY if the guest has not taken earlier frames yet; a network drops the frame then.
 * XVIRT_STATUS_GONE if the VM was freed.
 */
XvirtStatus xvirt_network_send(const struct XvirtNetwork *network,
                               const uint8_t *frame,
                               size_t length,
                               struct XvirtError **error);

/**
 * Frees a network, which disconnects its NIC. It waits for the end of `transmit`, so it must not be called there. NULL
 * is fine.
 */
void xvirt_network_free(struct XvirtNetwork *network);

/**
 * Makes a connection that carries frames from a connected unix stream socket, which is duplicated. Each frame is preceded
 * by its length, four bytes in network order.
 *
 * Free `frame_stream` with xvirt_frame_stream_free(); a VM that got it keeps it.
 */
XvirtStatus xvirt_frame_stream_new(int socket,
                                   struct XvirtFrameStream **frame_stream,
                                   struct XvirtError **error);

/**
 * Sends one frame. Errors: as for xvirt_network_send().
 */
XvirtStatus xvirt_frame_stream_send(const struct XvirtFrameStream *frame_stream,
                                    const uint8_t *frame,
                                    size_t length,
                                    struct XvirtError **error);

/**
 * Receives one frame, without waiting. `length` gets its length, or 0 if there is none.
 *
 * Errors: XVIRT_STATUS_GONE if the other side has closed the connection.
 */
XvirtStatus xvirt_frame_stream_receive(const struct XvirtFrameStream *frame_stream,
                                       uint8_t *buffer,
                                       size_t size,
                                       size_t *length,
                                       struct XvirtError **error);

/**
 * Changes the configuration of a VM in a repository. `change` gets the present one, and returns another one, or NULL to
 * leave it as it is; the call then fails with XVIRT_STATUS_CANCELLED. It may change members of what it gets, and return
 * that. What it gets is valid until it returns, and another one that it returns must be valid until this call returns.
 * It is called again if another process has changed the VM meanwhile, always on this thread.
 *
 * `uuid` is the VM's. `vm` gets the changed VM; free it with xvirt_stored_vm_free(). `call` is NULL, or has a timeout
 * and the means to cancel the call.
 */
XvirtStatus xvirt_repository_update(const struct XvirtRepository *repository,
                                    const char *uuid,
                                    const struct XvirtVmConfig *(*change)(void *user_data,
                                                                          struct XvirtVmConfig *config),
                                    void *user_data,
                                    const struct XvirtCall *call,
                                    struct XvirtStoredVm **vm,
                                    struct XvirtError **error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* XVIRT_H */
