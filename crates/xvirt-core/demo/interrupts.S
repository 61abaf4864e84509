/* One stub per vector: they give every interrupt the same stack frame and call C. */
#include "interrupt.h"

    .section .text
    .balign INTERRUPT_STUB_SIZE
    .globl interrupt_stubs
interrupt_stubs:
    .set vector, 0
    .rept INTERRUPT_VECTORS
    .balign INTERRUPT_STUB_SIZE
    /* These exceptions push an error code themselves; for all others, the stub pushes zero. */
    .if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21
    push $0
    .endif
    push $vector
    jmp save_and_call
    .set vector, vector + 1
    .endr

save_and_call:
    push %rax
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    cld
    mov %rsp, %rdi
    call interrupt_handle
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rax
    add $16, %rsp
    iretq
