/* Writes the image of a seed as a PGM or PPM file: ./main 7 > image.pgm, or ./main 7 3 > image.ppm for label 3. */
#include <stdio.h>
#include <stdlib.h>

#include "digits.h"

int main(int count, char **arguments)
{
    static float latent[GANPORT_LATENTS];
    static uint8_t image[GANPORT_IMAGE_SIZE];
    const uint64_t seed = count > 1 ? strtoull(arguments[1], NULL, 10) : 0;
    const int label = count > 2 ? atoi(arguments[2]) : 0;

    ganport_latent(seed, latent);
    ganport_generate(latent, label, image);
    printf("P%d\n%d %d\n255\n", GANPORT_CHANNELS == 1 ? 5 : 6, GANPORT_WIDTH, GANPORT_HEIGHT);
    return fwrite(image, 1, sizeof image, stdout) == sizeof image ? 0 : 1;
}
