# A kernel that tells over the first serial port what it was started with, and ends the machine.
#
# Both ways in are there: `linux` of GRUB starts it in protected mode, `linux16` in real mode.

    .code16
    .text
    .org 0x1f1
    .byte 1                     # setup sectors after the first
    .word 0
    .long 0x100                 # the rest in paragraphs
    .word 0, 0, 0
    .word 0xaa55
    .byte 0xeb, real - 0x202    # a short jump
    .ascii "HdrS"
    .word 0x0206
    .long 0
    .word 0, 0
    .byte 0
    .byte 1                     # the kernel is loaded at 1 MiB
    .word 0
    .long 0x100000
    .long 0, 0, 0
    .word 0
    .byte 0, 0
    .long 0                     # 0x228: the address of the command line
    .long 0x7fffffff
    .long 0x1000
    .byte 0, 0
    .word 0
    .long 2047

# Real mode: the code segment starts here minus the two bytes of the jump, at 0x200 of the image.
real:
    cli
    movw %cs, %ax
    movw %ax, %ds
    movzwl %ax, %esi
    shll $4, %esi
    leal gdt - 0x200(%esi), %eax
    movl %eax, gdtr - 0x200 + 2
    subl $0x200, %esi           # the header, where the protected mode expects it
    lgdtl gdtr - 0x200
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $0x101c00, %esp       # inside of the file, which has 8 KiB
    ljmpl $8, $0x100000
    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9a000000ffff
    .quad 0x00cf92000000ffff
gdtr:
    .word 23
    .long 0

    .org 0x400
    .code32
# Protected mode, at 1 MiB; the boot parameters are at esi.
kernel:
    movl %esi, %ebp
    jmp begin
    .org 0x410
path:                           # filled in: the path of this kernel
    .fill 240, 1, 0
begin:
    movw $0x3f8, %dx
    call here
here:
    popl %ebx
    # The segments of `linux` have other selectors.
    leal table - here(%ebx), %eax
    movl %eax, tabler - here + 2(%ebx)
    cs lgdtl tabler - here(%ebx)
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $0x101c00, %esp       # inside of the file, which has 8 KiB
    leal kernel_text - here(%ebx), %esi
    call text
    leal path - here(%ebx), %esi
    call text
    leal line_text - here(%ebx), %esi
    call text
    movl 0x228(%ebp), %esi
    testl %esi, %esi
    jz 1f
    call text
1:  leal initrd_text - here(%ebx), %esi
    call text
    movl 0x218(%ebp), %esi
    movl 0x21c(%ebp), %ecx
    call bytes
    leal screen_text - here(%ebx), %esi
    call text
    movl $0xb8000, %esi
    movl $2000, %ecx
2:  lodsw
    outb %al, %dx
    loop 2b
    leal end_text - here(%ebx), %esi
    call text
    movw $0xf4, %dx
    outb %al, %dx
3:  hlt
    jmp 3b

text:                           # prints up to a zero byte
    lodsb
    testb %al, %al
    jz 4f
    outb %al, %dx
    jmp text
4:  ret

bytes:                          # prints ecx bytes
    jecxz 6f
5:  lodsb
    outb %al, %dx
    loop 5b
6:  ret

    .balign 8
table:
    .quad 0
    .quad 0x00cf9a000000ffff
    .quad 0x00cf92000000ffff
tabler:
    .word 23
    .long 0
kernel_text: .asciz "\n[kernel]"
line_text: .asciz "\n[line]"
initrd_text: .asciz "\n[initrd]"
screen_text: .asciz "\n[screen]"
end_text: .asciz "\n[end]\n"
    .balign 512
