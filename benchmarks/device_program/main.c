/* Generates the images of some seeds with the C source that `ganport export --format c` wrote, and prints them.

   The compiler defines LATENTS, VALUES and LABELS, which are the sizes of the generator, SEEDS, a list of seeds, and
   RUNS, the number of runs that are measured. The files host.c and cortex_m7.c are two machines to run on. */

#include "generator.h"
#include "machine.h"

static float latent[LATENTS];
static uint8_t image[VALUES];

static void generate(uint64_t seed)
{
    ganport_latent(seed, latent);
    ganport_generate(latent, LABELS ? (int)(seed % (LABELS ? LABELS : 1)) : 0, image);
}

static void print_number(const char *name, uint64_t number)
{
    char digits[24], *first = digits + sizeof digits;
    *--first = 0;
    *--first = '\n';
    do {
        *--first = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    print_text(name);
    print_text(first);
}

static void print_image(void)
{
    static const char digits[] = "0123456789abcdef";
    char text[] = "..";
    print_text("image ");
    for (int i = 0; i < VALUES; i++) {
        text[0] = digits[image[i] >> 4];
        text[1] = digits[image[i] & 15];
        print_text(text);
    }
    print_text("\n");
}

int main(void)
{
    static const uint64_t seeds[] = {SEEDS};
    const int count = (int)(sizeof seeds / sizeof *seeds);
    for (int i = 0; i < count; i++) {
        generate(seeds[i]);
        print_image();
    }
    for (int run = 0; run < RUNS; run++) {
        const uint64_t started = read_clock();
        generate(seeds[run % count]);
        print_number("clock ", read_clock() - started);
    }
    print_number("stack ", read_stack());
    return 0;
}
