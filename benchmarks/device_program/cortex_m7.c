/* A Cortex-M7 without an operating system, as `qemu-system-arm -M mps2-an500` emulates it.

   Text goes to the debugger, which is qemu, by semihosting (Arm, "Semihosting for AArch32 and AArch64"). */

#include "machine.h"

enum { SYS_WRITE0 = 0x04, SYS_EXIT = 0x18 };
#define EXIT_SUCCESS_REASON 0x20026u /* ADP_Stopped_ApplicationExit */
#define EXIT_FAULT_REASON 0x20023u   /* ADP_Stopped_RunTimeErrorUnknown */

#define PAINT 0xa5a5a5a5u           /* what the unused stack holds */
#define NANOSECONDS_PER_TICK 40u    /* the core's clock of this machine has 25 MHz */
#define SYSTICK_PERIOD (1u << 24)

#define CPACR (*(volatile uint32_t *)0xe000ed88u)
#define SYSTICK_CONTROL (*(volatile uint32_t *)0xe000e010u)
#define SYSTICK_RELOAD (*(volatile uint32_t *)0xe000e014u)
#define SYSTICK_VALUE (*(volatile uint32_t *)0xe000e018u)

/* memory.ld defines these. Only their addresses mean something. */
extern uint32_t data_begin[], data_end[], data_source[], bss_begin[], bss_end[], stack_end[];

int main(void);
void reset(void);
void fault(void);
void count_period(void);

static volatile uint32_t periods;

static void semihost(uintptr_t operation, uintptr_t argument)
{
    register uintptr_t r0 __asm__("r0") = operation;
    register uintptr_t r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void print_text(const char *text)
{
    semihost(SYS_WRITE0, (uintptr_t)text);
}

void count_period(void)
{
    periods++;
}

uint64_t read_clock(void)
{
    uint32_t before, ticks;
    do {
        before = periods;
        ticks = SYSTICK_PERIOD - 1 - SYSTICK_VALUE;
    } while (before != periods);
    return ((uint64_t)before * SYSTICK_PERIOD + ticks) * NANOSECONDS_PER_TICK;
}

uint64_t read_stack(void)
{
    const uint32_t *unused = bss_end;
    while (*unused == PAINT)
        unused++;
    return (uint64_t)((uintptr_t)stack_end - (uintptr_t)unused);
}

void fault(void)
{
    print_text("the processor reported a fault\n");
    semihost(SYS_EXIT, EXIT_FAULT_REASON);
    for (;;)
        ;
}

__attribute__((noreturn)) static void start(void)
{
    SYSTICK_RELOAD = SYSTICK_PERIOD - 1;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 7; /* on, with interrupts, on the core's clock */
    main();
    semihost(SYS_EXIT, EXIT_SUCCESS_REASON);
    for (;;)
        ;
}

void reset(void)
{
    CPACR |= 0xfu << 20; /* turn the floating-point unit on */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    for (uint32_t *to = data_begin, *from = data_source; to < data_end; to++, from++)
        *to = *from;
    for (uint32_t *to = bss_begin; to < bss_end; to++)
        *to = 0;
    uint32_t *pointer;
    __asm__ volatile("mov %0, sp" : "=r"(pointer));
    for (uint32_t *to = bss_end; to < pointer - 16; to++)
        *to = PAINT;
    start();
}

typedef void (*vector)(void);
__attribute__((section(".vectors"), used)) static const vector vectors[] = {
    (vector)stack_end, reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, count_period,
};
