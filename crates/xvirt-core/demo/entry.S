/*
 * The two entry points of the guest. A PVH loader enters `entry_pvh` in 32-bit protected mode without paging and with
 * EBX = start_info; a Linux 64-bit loader enters `entry_linux`, the ELF entry, in long mode with RSI = the zero page.
 * Both send one byte to COM1 before anything else, which marks the time of the first guest instruction.
 */
#include "boot.h"
#include "cpu.h"

#define COM1            0x3f8
#define STACK_SIZE      0x4000

    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 8, 18                      /* name size, value size, XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .quad entry_pvh

    .section .text.entry, "ax"
    .code32
    .globl entry_pvh
entry_pvh:
    mov $COM1, %edx
    mov $'\n', %al
    out %al, %dx

    mov $BOOT_PVH, %edi
    mov %ebx, %esi
    mov %cr4, %eax
    or $CR4_PAE, %eax
    mov %eax, %cr4
    mov $page_map, %eax
    mov %eax, %cr3
    mov $MSR_EFER, %ecx
    rdmsr
    or $EFER_LME, %eax
    wrmsr
    lgdt gdt_pointer
    mov %cr0, %eax
    or $(CR0_PG | CR0_PE), %eax
    mov %eax, %cr0
    ljmp $SEGMENT_CODE, $enter_c

    .code64
    .globl entry_linux
entry_linux:
    mov $COM1, %edx
    mov $'\n', %al
    out %al, %dx

    cli
    mov $BOOT_LINUX, %edi
    mov $page_map, %eax                 /* the loader's tables may map only the image */
    mov %rax, %cr3
    lgdt gdt_pointer
    mov $stack_top, %esp
    push $SEGMENT_CODE
    push $enter_c
    lretq

/* EDI = protocol, RSI = its parameters; both are kept in R12 and R13 while bss is cleared. */
enter_c:
    mov $SEGMENT_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $stack_top, %esp
    cld
    mov %edi, %r12d
    mov %rsi, %r13
    mov $bss_start, %edi
    mov $bss_end, %ecx
    sub %edi, %ecx
    shr $3, %ecx
    xor %eax, %eax
    rep stosq
    mov %r12d, %edi
    mov %r13, %rsi
    xor %ebp, %ebp
    call demo_main
1:  hlt
    jmp 1b

    .section .data
    .balign 8
    .globl gdt, gdt_limit, gdt_pointer
gdt:
    .quad 0
    .quad 0x00af9b000000ffff            /* SEGMENT_CODE: 64-bit code */
    .quad 0x00cf93000000ffff            /* SEGMENT_DATA: flat data */
gdt_pointer:
    .set gdt_limit, gdt_pointer - gdt - 1
    .word gdt_limit
    .quad gdt

/*
 * Page tables for the first 4 GiB, one to one in 2 MiB pages. They are part of the image, already filled in: the
 * loader copies 24 KiB much faster than an emulated CPU computes them.
 */
#define PAGE_TABLE      0x03            /* present, writable */
#define PAGE_LARGE      0x83            /* and 2 MiB in one entry */

    .section .data.pages, "aw"
    .balign 4096
    .globl page_map, page_directory_pointers
page_map:
    .quad page_directory_pointers + PAGE_TABLE
    .fill 511, 8, 0
page_directory_pointers:
    .quad page_directories + 0x0000 + PAGE_TABLE
    .quad page_directories + 0x1000 + PAGE_TABLE
    .quad page_directories + 0x2000 + PAGE_TABLE
    .quad page_directories + 0x3000 + PAGE_TABLE
    .fill 508, 8, 0
page_directories:
    .set address, 0
    .rept 2048
    .quad address + PAGE_LARGE
    .set address, address + 0x200000
    .endr

    .section .stack, "aw", @nobits
    .balign 16
    .skip STACK_SIZE
stack_top:
