/* A machine with an operating system. */

#define _POSIX_C_SOURCE 200809L

#include "machine.h"

#include <stdio.h>
#include <time.h>

void print_text(const char *text)
{
    fputs(text, stdout);
}

uint64_t read_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t read_stack(void)
{
    return 0;
}
