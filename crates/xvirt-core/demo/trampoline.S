/* The entry point of another CPU: from real mode directly to long mode, and to C. smp.c copies this below 1 MiB. */
#include "boot.h"
#include "cpu.h"

    .section .rodata
    .globl smp_trampoline, smp_trampoline_end
    .code16
smp_trampoline:
    cli
    mov %cs, %ax
    mov %ax, %ds
    lgdtl gdt_here - smp_trampoline
    mov %cr4, %eax
    or $CR4_PAE, %eax
    mov %eax, %cr4
    mov $page_map, %eax
    mov %eax, %cr3
    mov $MSR_EFER, %ecx
    rdmsr
    or $EFER_LME, %eax
    wrmsr
    mov %cr0, %eax
    and $~(CR0_CD | CR0_NW), %eax       /* INIT leaves the caches disabled */
    or $(CR0_PG | CR0_PE), %eax
    mov %eax, %cr0
    ljmpl $SEGMENT_CODE, $enter_other
    .balign 8
gdt_here:
    .word gdt_limit
    .long gdt
smp_trampoline_end:

    .section .text
    .code64
enter_other:
    mov $SEGMENT_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov smp_stack, %rsp
    cld
    xor %ebp, %ebp
    call smp_main
