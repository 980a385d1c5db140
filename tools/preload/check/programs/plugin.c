// SPDX-License-Identifier: GPL-2.0
/* A library with system call instructions of its own. */
#include <linux/futex.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

static long own(long number, void *word, long op, long value)
{
	long result;

	/* Without a time limit. */
	__asm__ volatile("xor %%r10d, %%r10d\n"
			 "syscall"
			 : "=a"(result)
			 : "a"(number), "D"(word), "S"(op), "d"(value)
			 : "rcx", "r10", "r11", "memory");
	return result;
}

long plugin_wait(_Atomic uint32_t *word, uint32_t value)
{
	return own(SYS_futex, (void *)word, FUTEX_WAIT_PRIVATE, value);
}

long plugin_wake(_Atomic uint32_t *word)
{
	return own(SYS_futex, (void *)word, FUTEX_WAKE_PRIVATE, 1);
}

/*
 * Fills every register, the bytes below the stack pointer and the flags, makes the call, and
 * stores what is there then. The state is as pthreads.c has it.
 */
long plugin_registers(void *state);

__asm__(".text\n"
	".globl plugin_registers\n"
	".type plugin_registers,@function\n"
	"plugin_registers:\n"
	".cfi_startproc\n"
	"	push %rbx\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	push %rbp\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	push %r12\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	push %r13\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	push %r14\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	push %r15\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	mov %rdi, %rbp\n"
	"	mov 256(%rbp), %rax\n"
	".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
	"	vmovdqu 32*\\n(%rax), %ymm\\n\n"
	".endr\n"
	"	mov 272(%rbp), %rdi\n"
	"	mov $128, %esi\n"
	"	mov $2, %edx\n"
	"	xor %r10d, %r10d\n"
	"	mov $0x8888, %r8\n"
	"	mov $0x9999, %r9\n"
	"	mov $0xbbbb, %rbx\n"
	"	mov $0xcccc, %r12\n"
	"	mov $0xdddd, %r13\n"
	"	mov $0xeeee, %r14\n"
	"	mov $0xffff, %r15\n"
	"	movq $0x1111, -8(%rsp)\n"
	"	movq $0x2222, -128(%rsp)\n"
	/* Carry, and the sign. */
	"	mov $0x8100, %eax\n"
	"	sahf\n"
	"	mov %rbx, 0(%rbp)\n"
	"	mov %rdx, 8(%rbp)\n"
	"	mov %rdi, 16(%rbp)\n"
	"	mov %rsi, 24(%rbp)\n"
	"	mov %r8, 32(%rbp)\n"
	"	mov %r9, 40(%rbp)\n"
	"	mov %r10, 48(%rbp)\n"
	"	mov %r12, 56(%rbp)\n"
	"	mov %r13, 64(%rbp)\n"
	"	mov %r14, 72(%rbp)\n"
	"	mov %r15, 80(%rbp)\n"
	"	movq $0x1111, 88(%rbp)\n"
	"	movq $0x2222, 96(%rbp)\n"
	"	movq $0x81, 104(%rbp)\n"
	"	mov %rsp, 112(%rbp)\n"
	"	mov $202, %eax\n"
	"	syscall\n"
	"	mov %rax, %r11\n"
	"	lahf\n"
	"	movzbl %ah, %eax\n"
	"	and $0xc1, %eax\n"
	"	mov %rax, 232(%rbp)\n"
	"	mov %rbx, 128(%rbp)\n"
	"	mov %rdx, 136(%rbp)\n"
	"	mov %rdi, 144(%rbp)\n"
	"	mov %rsi, 152(%rbp)\n"
	"	mov %r8, 160(%rbp)\n"
	"	mov %r9, 168(%rbp)\n"
	"	mov %r10, 176(%rbp)\n"
	"	mov %r12, 184(%rbp)\n"
	"	mov %r13, 192(%rbp)\n"
	"	mov %r14, 200(%rbp)\n"
	"	mov %r15, 208(%rbp)\n"
	"	mov -8(%rsp), %rax\n"
	"	mov %rax, 216(%rbp)\n"
	"	mov -128(%rsp), %rax\n"
	"	mov %rax, 224(%rbp)\n"
	"	mov %rsp, 240(%rbp)\n"
	"	mov 264(%rbp), %rax\n"
	".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
	"	vmovdqu %ymm\\n, 32*\\n(%rax)\n"
	".endr\n"
	"	vzeroupper\n"
	"	mov %r11, %rax\n"
	"	pop %r15\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	pop %r14\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	pop %r13\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	pop %r12\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	pop %rbp\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	pop %rbx\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	ret\n"
	".cfi_endproc\n"
	".size plugin_registers, . - plugin_registers\n");
