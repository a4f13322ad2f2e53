/* What main.c needs of the machine that it runs on. */

#ifndef MACHINE_H
#define MACHINE_H

#include <stdint.h>

void print_text(const char *text);
uint64_t read_clock(void); /* nanoseconds; in qemu with `-icount shift=0`, instructions */
uint64_t read_stack(void); /* bytes of stack that were used; 0 if unknown */

#endif
